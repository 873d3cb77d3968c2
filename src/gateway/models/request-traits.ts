import { hash } from 'node:crypto';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';

/** What configured routes judge a request by. */
export interface RequestTraits {
  readonly hasTools: boolean;
  readonly hasImages: boolean;
  /** Estimated by the length of its texts. */
  readonly tokens: number;
  /** A digest of what its conversation began with; undefined where that is not text. */
  readonly opening: string | undefined;
  /** The model has answered in its conversation before. */
  readonly isAnswered: boolean;
}

const bytesOfToken = 4;
/** What vendors count for an image, roughly. */
const tokensOfImage = 1_000;
const longestOpening = 8_192;

/** Of a decoded request, or of the body of one that is passed on as it is, whatever its dialect: as text or parsed. */
export function traitsOf(request: unknown): RequestTraits {
  const body = typeof request === 'string' ? parseJson(request) : request;
  const { tools, messages, contents, input } = isJsonObject(body) ? body : ({} as JsonObject);
  const found = { bytes: 0, images: 0 };
  measure(body, undefined, found);
  return {
    hasTools: Array.isArray(tools) && tools.length > 0,
    hasImages: found.images > 0,
    tokens: Math.ceil(found.bytes / bytesOfToken) + found.images * tokensOfImage,
    ...beginningOf([messages ?? contents ?? input].flat().map(asMessage).filter(isJsonObject)),
  };
}

const imageTypes: ReadonlySet<unknown> = new Set(['image', 'image-url', 'image_url', 'input_image']);
/** Fields that hold no text. */
const files: ReadonlySet<string | undefined> = new Set([
  'data',
  'url',
  'image_url',
  'file_data',
  'encrypted_content',
  'signature',
]);

function measure(value: unknown, field: string | undefined, found: { bytes: number; images: number }): void {
  if (typeof value === 'string') {
    if (!files.has(field)) found.bytes += Buffer.byteLength(value);
  } else if (Array.isArray(value)) {
    for (const item of value) measure(item, field, found);
  } else if (isJsonObject(value)) {
    const mediaType = value['mimeType'] ?? value['mime_type'];
    const isInlineImage = typeof mediaType === 'string' && mediaType.startsWith('image/');
    if (imageTypes.has(value['type']) || isInlineImage) found.images += 1;
    for (const [name, inner] of Object.entries(value)) {
      found.bytes += name.length;
      measure(inner, name, found);
    }
  }
}

/** A text alone is the user's, as is what a client of Gemini's sends without a role. */
function asMessage(item: unknown): unknown {
  if (typeof item === 'string') return { role: 'user', content: item };
  const isWithoutRole = isJsonObject(item) && item['role'] === undefined && item['parts'] !== undefined;
  return isWithoutRole ? { ...item, role: 'user' } : item;
}

function beginningOf(messages: readonly JsonObject[]): Pick<RequestTraits, 'opening' | 'isAnswered'> {
  const answer = messages.findIndex(({ role }) => role === 'assistant' || role === 'model');
  const isAnswered = answer !== -1;
  const first = isAnswered ? messages.slice(0, answer) : messages;
  const said = first.filter(({ role }) => role === 'user').map(textIn);
  const text = said.join('\n').slice(0, longestOpening);
  return { opening: text === '' ? undefined : hash('sha256', text, 'base64url'), isAnswered };
}

/** Texts alone: what is marked for the cache changes from turn to turn. */
function textIn(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map(textIn).join('\n');
  return isJsonObject(value) ? textIn(value['text'] ?? value['content'] ?? value['parts']) : '';
}
