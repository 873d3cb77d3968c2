import type { Citation } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { objectsIn } from '../shared/json-values.ts';

/** The sources in `groundingMetadata`, with the piece of the text that each supports. Google counts bytes. */
export function citationsIn(metadata: unknown, text: string): Citation[] {
  if (!isJsonObject(metadata)) return [];
  const sources = objectsIn(metadata['groundingChunks']).map(sourceOf);
  const supports = objectsIn(metadata['groundingSupports']);
  const segments = supports.map(({ segment }) => {
    const { startIndex = 0, endIndex } = isJsonObject(segment) ? segment : {};
    return { startIndex, endIndex };
  });
  const characters = charactersUpTo(
    segments.flatMap(({ startIndex, endIndex }) => [startIndex, endIndex]),
    text,
  );
  const cited = supports.flatMap(({ groundingChunkIndices }, at) => {
    const start = characters.get(segments[at]?.startIndex);
    const end = characters.get(segments[at]?.endIndex);
    const indices: unknown[] = Array.isArray(groundingChunkIndices) ? groundingChunkIndices : [];
    return indices.flatMap((index) => {
      const source = typeof index === 'number' ? sources[index] : undefined;
      if (!source) return [];
      return [{ ...source, ...(start !== undefined && end !== undefined && { start, end }) }];
    });
  });
  // Without supports the sources stand for the whole text.
  return supports.length > 0 ? cited : sources.filter((source) => source !== undefined);
}

/** How many characters of the text are in its first so many bytes, for each number among `counts`: it is gone through once for all. */
function charactersUpTo(counts: readonly unknown[], text: string): ReadonlyMap<unknown, number> {
  const found = new Map<unknown, number>();
  const isCount = (count: unknown): count is number => typeof count === 'number' && count >= 0;
  const sorted = [...new Set(counts.filter(isCount))].toSorted((a, b) => a - b);
  if (sorted.length === 0) return found;
  const bytes = Buffer.from(text);
  let from = 0;
  let characters = 0;
  for (const count of sorted) {
    // To the end of a character: the next number goes on from there.
    let to = Math.min(Math.floor(count), bytes.length);
    while (to < bytes.length && ((bytes[to] ?? 0) & 0xc0) === 0x80) to += 1;
    characters += bytes.toString('utf8', from, Math.max(from, to)).length;
    from = Math.max(from, to);
    found.set(count, characters);
  }
  return found;
}

function sourceOf({ web }: JsonObject): Citation | undefined {
  if (!isJsonObject(web) || typeof web['uri'] !== 'string' || web['uri'] === '') return undefined;
  const { uri: url, title } = web;
  return { url, ...(typeof title === 'string' && title !== '' && { title }) };
}
