import type { Citation } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { objectsIn } from '../shared/json-values.ts';

/** The sources in `groundingMetadata`, with the piece of the text that each supports. Google counts bytes. */
export function citationsIn(metadata: unknown, text: string): Citation[] {
  if (!isJsonObject(metadata)) return [];
  const sources = objectsIn(metadata['groundingChunks']).map(sourceOf);
  const supports = objectsIn(metadata['groundingSupports']);
  const bytes = Buffer.from(text);
  const characters = (count: unknown) =>
    typeof count === 'number' && count >= 0 ? bytes.subarray(0, count).toString().length : undefined;
  const cited = supports.flatMap(({ segment, groundingChunkIndices }) => {
    const { startIndex = 0, endIndex } = isJsonObject(segment) ? segment : {};
    const start = characters(startIndex);
    const end = characters(endIndex);
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

function sourceOf({ web }: JsonObject): Citation | undefined {
  if (!isJsonObject(web) || typeof web['uri'] !== 'string' || web['uri'] === '') return undefined;
  const { uri: url, title } = web;
  return { url, ...(typeof title === 'string' && title !== '' && { title }) };
}
