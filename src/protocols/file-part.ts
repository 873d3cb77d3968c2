import type { AnyImage, TextPart } from '../core/turn.ts';
import { imageFromUrl } from './image-source.ts';
import { textOfFile } from './text-file.ts';

/**
 * A file as both OpenAI dialects send it, base64 or a data URL: text, or an image. Undefined when it is neither. Throws
 * AppError `invalid_request` for a broken image.
 */
export function partOfFile(
  data: string,
  name: string | null | undefined,
  param: string,
): TextPart | AnyImage | undefined {
  const [, mediaType, inline] = /^data:([^;,]*)[^,]*;base64,(.*)$/s.exec(data) ?? [];
  if (mediaType?.startsWith('image/')) return imageFromUrl(data, param);
  const text = textOfFile(inline ?? data, name);
  return text === undefined ? undefined : { type: 'text', text };
}
