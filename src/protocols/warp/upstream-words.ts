import { beginningOf } from '../../lib/shown-text.ts';

const mostCharacters = 300;

/** What the upstream wrote for a person to read, as one short line. */
export function upstreamWords(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
  const line = text.replace(/[\u0000-\u001f\u007f\s]+/g, ' ').trim();
  return beginningOf(line, mostCharacters);
}
