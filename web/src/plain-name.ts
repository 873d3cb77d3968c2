/** A name from outside, with what a browser obeys or hides as `\u{202e}`, as commands show it. Joined emoji and scripts stay. */
export function plainName(name: string): string {
  return name.replace(
    /(?!\u200c|\u200d)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}
