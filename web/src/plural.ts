/** `1 turn`, `2 turns`: in English, of a number as it is shown. */
export function plural(count: string, word: string): string {
  return `${count} ${word}${count === '1' ? '' : 's'}`;
}
