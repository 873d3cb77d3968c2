export interface DataUrl {
  /** Lower case, without parameters; empty where the address names none. */
  readonly mediaType: string;
  /** Undefined: not valid base64. */
  readonly base64: string | undefined;
}

/** What stands before the comma is a media type and a few parameters; a longer one is that of no data URL. */
const longestHead = 1_000;

/** What a data URL (RFC 2397) holds; undefined for any other text. */
export function readDataUrl(url: string): DataUrl | undefined {
  const comma = url.indexOf(',');
  if (comma > longestHead) return undefined;
  const [, head] = /^\s*data:([^,]*)$/i.exec(url.slice(0, Math.max(comma, 0))) ?? [];
  if (head === undefined) return undefined;
  const [type = '', ...parameters] = head.split(';').map((part) => part.trim().toLowerCase());
  const body = url.slice(comma + 1);
  return {
    mediaType: type,
    base64: parameters.includes('base64')
      ? normalBase64(body.includes('%') ? percentDecoded(body).toString('latin1') : body)
      : percentDecoded(body).toString('base64'),
  };
}

/**
 * Base64 in its standard form: padded, without white space, with `+` and `/`. Undefined where it is not valid; the empty
 * text is.
 */
export function normalBase64(text: string): string | undefined {
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
