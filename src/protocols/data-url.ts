export interface DataUrl {
  /** Lower case, without parameters; empty where the address names none. */
  readonly mediaType: string;
  /** Undefined: not valid base64. */
  readonly base64: string | undefined;
}

/** What a data URL (RFC 2397) holds; undefined for any other text. */
export function readDataUrl(url: string): DataUrl | undefined {
  const comma = url.indexOf(',');
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
  const plain = text
    .replaceAll(/\s+/g, '')
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '');
  if (!/^[A-Za-z0-9+/]*$/.test(plain)) return undefined;
  // One letter more than whole bytes have says nothing.
  const whole = plain.length % 4 === 1 ? plain.slice(0, -1) : plain;
  return whole.padEnd(Math.ceil(whole.length / 4) * 4, '=');
}

function percentDecoded(text: string): Buffer {
  const bytes = Buffer.from(text).toString('latin1');
  const decoded = bytes.replaceAll(/%([0-9a-f]{2})/gi, (_match, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(decoded, 'latin1');
}
