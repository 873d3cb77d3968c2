import type { AnyImage, ImagePart } from '../../core/turn.ts';
import type { ContentNotes, InputPart, Place, Unshown } from './read-messages.ts';

const advice = 'take the text out of it first, or send it as an image';

export interface GivenFile {
  /** Base64 or a data URL. Absent: the file is not in the request itself. */
  readonly data: string | null | undefined;
  readonly name: string | null | undefined;
  /** Where the client wrote it, below the part. */
  readonly dataField: string;
  /** What an error names, below the part. */
  readonly field?: string;
}

/** A file: text, with its name in front, an image or a document; else the note that replaces it. */
export function filePart(
  { data, name, dataField, field }: GivenFile,
  notes: ContentNotes,
  place: Place,
  kind: string,
): InputPart {
  const unshown = (why: string, tip: string): Unshown => ({
    what: name ? `the file ${JSON.stringify(name.slice(0, 200))}` : 'a file',
    why,
    advice: tip,
    ...(field !== undefined && { field }),
  });
  if (!data) {
    const tip = 'only text files and images can be sent, as base64';
    return notes.replace(unshown('is not in the request', tip), place, kind);
  }
  const inline = readDataUrl(data);
  const base64 = inline ? inline.base64 : normalBase64(data);
  if (base64 === undefined)
    return notes.replace(unshown('is not valid base64', 'send its bytes as base64'), place, kind);
  const bytes = Buffer.from(base64, 'base64');
  const mediaType = imageTypeOf(bytes);
  if (mediaType !== undefined)
    return { type: 'image', mediaType, data: base64, param: `${place.path}.${dataField}` };
  const text = textOfBytes(bytes);
  if (text !== undefined && text !== '') return { type: 'text', text: titled(text, name) };
  const other = bytes.length === 0 ? 'empty' : (otherTypeOf(bytes) ?? 'neither text nor an image');
  const reason = unshown(`is ${other}`, advice);
  if (other !== 'a PDF') return notes.replace(reason, place, kind);
  const file = { mediaType: 'application/pdf', data: base64, ...(name && { name: name.slice(0, 200) }) };
  return notes.document(file, reason, place, kind);
}

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

/** What upstreams and their models take. */
const imageTypesText = 'PNG, JPEG, GIF and WebP';

/** The media type of an image that can be shown, by its first bytes: what clients and servers call a file is often wrong. */
export function imageTypeOf(bytes: Buffer): string | undefined {
  const start = bytes.toString('latin1', 0, 12);
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (start.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (start.startsWith('GIF87a') || start.startsWith('GIF89a')) return 'image/gif';
  if (start.startsWith('RIFF') && start.endsWith('WEBP')) return 'image/webp';
  return undefined;
}

/** What another file is, by its first bytes; undefined where they do not show it. */
function otherTypeOf(bytes: Buffer): string | undefined {
  const start = bytes.toString('latin1', 0, 256);
  if (start.startsWith('%PDF-')) return 'a PDF';
  if (start.startsWith('BM')) return 'a BMP image';
  if (start.startsWith('II*\0') || start.startsWith('MM\0*')) return 'a TIFF image';
  if (/^.{4}ftypavi[fs]/s.test(start)) return 'an AVIF image';
  if (/^.{4}ftyp(?:hei|hev|mif|msf)/s.test(start)) return 'a HEIC image';
  if (start.startsWith('\0\0\x01\0')) return 'an icon';
  if (/^\s*(?:<\?xml|<!--|<svg)/i.test(start)) return 'an SVG image';
  if (/^\s*<(?:!doctype|html)/i.test(start)) return 'an HTML page';
  return undefined;
}

/** What stands before the comma is a media type and a few parameters; a longer one is that of no data URL. */
const longestHead = 1_000;

/** What a data URL (RFC 2397) holds, undefined where that is not valid base64; undefined for any other text. */
function readDataUrl(url: string): { readonly base64: string | undefined } | undefined {
  const comma = url.indexOf(',');
  if (comma > longestHead) return undefined;
  const [, head] = /^\s*data:([^,]*)$/i.exec(url.slice(0, Math.max(comma, 0))) ?? [];
  if (head === undefined) return undefined;
  const [, ...parameters] = head.split(';').map((part) => part.trim().toLowerCase());
  const body = url.slice(comma + 1);
  return {
    base64: parameters.includes('base64')
      ? normalBase64(body.includes('%') ? percentDecoded(body).toString('latin1') : body)
      : percentDecoded(body).toString('base64'),
  };
}

/**
 * Base64 in its standard form: padded, without white space, with `+` and `/`. Undefined where it is not valid; the empty
 * text is.
 */
function normalBase64(text: string): string | undefined {
  if (text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)) return text;
  const plain = withoutSpaces(text)
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '');
  if (!/^[A-Za-z0-9+/]*$/.test(plain)) return undefined;
  // One letter more than whole bytes have says nothing.
  const whole = plain.length % 4 === 1 ? plain.slice(0, -1) : plain;
  return whole.padEnd(Math.ceil(whole.length / 4) * 4, '=');
}

// Both below go over the bytes themselves: a pattern that matches every second letter of some megabytes takes seconds.

/** Space, tab and the ends of lines. */
const isSpace = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);

function withoutSpaces(text: string): string {
  if (!/\s/.test(text)) return text;
  const bytes = Buffer.from(text);
  let length = 0;
  for (const byte of bytes) {
    if (isSpace(byte)) continue;
    bytes[length] = byte;
    length += 1;
  }
  return bytes.toString('utf8', 0, length);
}

function percentDecoded(text: string): Buffer {
  const bytes = Buffer.from(text);
  let length = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] ?? 0;
    const high = byte === 0x25 ? hexDigit(bytes[index + 1]) : -1;
    const low = high === -1 ? -1 : hexDigit(bytes[index + 2]);
    const isEscape = low !== -1;
    bytes[length] = isEscape ? high * 16 + low : byte;
    if (isEscape) index += 2;
    length += 1;
  }
  return bytes.subarray(0, length);
}

/** The value of a hexadecimal digit by its character code; -1 for anything else. */
function hexDigit(code = 0): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** The text of a file by its bytes; undefined when it is no text. */
function textOfBytes(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // A document of another kind may by chance be readable.
    return text.includes('\0') || text.startsWith('%PDF-') ? undefined : text;
  } catch {
    return undefined;
  }
}

/** A document as the model reads it: its name, a blank line, its text. */
export function titled(text: string, title: string | null | undefined): string {
  return title ? `${title}\n\n${text}` : text;
}

export function dataUrl({ mediaType, data }: { readonly mediaType: string; readonly data: string }): string {
  return `data:${mediaType};base64,${data}`;
}
