import type { AnyImage, ImagePart } from '../core/turn.ts';
import type { Unshown } from './content-notes.ts';
import { normalBase64, readDataUrl } from './data-url.ts';
import { imageTypeOf, imageTypesText, otherTypeOf } from './image-type.ts';

/** Longer addresses than any server takes. */
const longestUrl = 8192;

/**
 * An image by one string: a data URL, or an address on the web. `param` is where the client wrote it, `field` that place
 * below the part.
 */
export function imageFromUrl(url: string, param: string, field?: string): AnyImage | Unshown {
  const inline = readDataUrl(url);
  if (inline) return imageOf(inline.base64, param, field);
  const address = url.trim();
  if (isWebAddress(address)) return { type: 'image-url', url: address, param };
  const why = 'is neither inline nor at an http or https address';
  return unshown(why, 'send a data URL (data:image/png;base64,...) or an address', field);
}

/** An image by its base64, which some clients send as a data URL. Its type follows from its first bytes. */
export function imageFromBase64(data: string, param: string, field?: string): ImagePart | Unshown {
  const inline = readDataUrl(data);
  return imageOf(inline ? inline.base64 : normalBase64(data), param, field);
}

function imageOf(data: string | undefined, param: string, field?: string): ImagePart | Unshown {
  if (data === undefined) return unshown('is not valid base64', 'send its bytes as base64', field);
  if (data === '') return unshown('is empty', 'send the whole image', field);
  // A multiple of four characters.
  const start = Buffer.from(data.slice(0, 344), 'base64');
  const mediaType = imageTypeOf(start);
  if (mediaType !== undefined) return { type: 'image', mediaType, data, param };
  const other = otherTypeOf(start);
  const why = other === undefined ? 'has no bytes of an image' : `is ${other}`;
  return unshown(why, `only ${imageTypesText} can be sent`, field);
}

function unshown(why: string, advice: string, field: string | undefined): Unshown {
  return { what: 'an image', why, advice, ...(field === undefined ? {} : { field }) };
}

function isWebAddress(url: string): boolean {
  return url.length <= longestUrl && /^https?:\/\//i.test(url) && URL.canParse(url);
}
