/** The longest message of an error, and the longest name of a field: both may quote what came from outside. */
export const longestMessage = 2_000;
export const longestParam = 256;

/** A text, or its beginning where it is longer. */
export function shortened(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
