import type { AnyImage } from '../core/turn.ts';
import { refused } from './refused.ts';

const dataUrl = /^data:([a-z]+\/[a-z0-9.+-]+);base64,([A-Za-z0-9+/]+={0,2})$/i;
/** Longer addresses than any server takes. */
const longestUrl = 8192;

/** An image by the one string both OpenAI dialects have for it: a data URL, or an address on the web. */
export function imageFromUrl(url: string, param: string): AnyImage {
  const match = dataUrl.exec(url);
  if (match?.[1] && match[2]) return { type: 'image', mediaType: match[1].toLowerCase(), data: match[2] };
  if (isWebAddress(url)) return { type: 'image-url', url, param };
  const reason = 'is neither an inline image (data:image/png;base64,...) nor an http or https address';
  throw refused(param, reason);
}

export function isWebAddress(url: string): boolean {
  return url.length <= longestUrl && /^https?:\/\//i.test(url) && URL.canParse(url);
}
