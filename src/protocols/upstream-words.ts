import { beginningOf } from '../lib/shown-text.ts';

const mostCharacters = 300;
/** Blanks may stand in front of the words. */
const longestText = 8_000;

/** What the upstream wrote for a person to read, as one short line. */
export function upstreamWords(text: string): string {
  const start = text.slice(0, longestText);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
  const line = start.replace(/[\u0000-\u001f\u007f\s]+/g, ' ').trim();
  return beginningOf(line, mostCharacters);
}
