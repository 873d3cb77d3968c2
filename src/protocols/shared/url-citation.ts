import type { Citation } from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';

/** A page that an answer cites; undefined without an address. `start`: where the text begins that the positions count in. */
export function citationIn(value: unknown, start = 0): Citation | undefined {
  if (!isJsonObject(value)) return undefined;
  const { url, title, start_index: from, end_index: to } = value;
  if (typeof url !== 'string' || url === '') return undefined;
  return {
    url,
    ...(typeof title === 'string' && { title }),
    ...(typeof from === 'number' && { start: start + from }),
    ...(typeof to === 'number' && { end: start + to }),
  };
}
