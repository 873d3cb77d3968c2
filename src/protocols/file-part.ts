import type { ImagePart, TextPart } from '../core/turn.ts';
import type { Unshown } from './content-notes.ts';
import { normalBase64, readDataUrl } from './data-url.ts';
import { imageTypeOf, otherTypeOf } from './image-type.ts';
import { textOfBytes, titled } from './text-file.ts';

const advice = 'take the text out of it first, or send it as an image';

/**
 * A file by its base64 or data URL: text, with its name in front, or an image. `param` is where the client wrote it,
 * `field` that place below the part.
 */
export function partOfFile(
  data: string,
  name: string | null | undefined,
  param: string,
  field?: string,
): TextPart | ImagePart | Unshown {
  const inline = readDataUrl(data);
  const base64 = inline ? inline.base64 : normalBase64(data);
  if (base64 === undefined)
    return unshownFile(name, 'is not valid base64', 'send its bytes as base64', field);
  const bytes = Buffer.from(base64, 'base64');
  const mediaType = imageTypeOf(bytes);
  if (mediaType !== undefined) return { type: 'image', mediaType, data: base64, param };
  const text = textOfBytes(bytes);
  if (text !== undefined && text !== '') return { type: 'text', text: titled(text, name) };
  const why = bytes.length === 0 ? 'is empty' : `is ${otherTypeOf(bytes) ?? 'neither text nor an image'}`;
  return unshownFile(name, why, advice, field);
}

/** A file that is not in the request itself. */
export function fileElsewhere(name: string | null | undefined, field?: string): Unshown {
  return unshownFile(
    name,
    'is not in the request',
    'only text files and images can be sent, as base64',
    field,
  );
}

function unshownFile(name: string | null | undefined, why: string, tip: string, field?: string): Unshown {
  const what = name ? `the file ${JSON.stringify(name.slice(0, 200))}` : 'a file';
  return { what, why, advice: tip, ...(field === undefined ? {} : { field }) };
}
