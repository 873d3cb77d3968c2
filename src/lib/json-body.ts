import { isUtf8 } from 'node:buffer';
import { HttpFault } from './http-fault.ts';
import { checkJsonLimits, JsonLimitError } from './json-limits.ts';

/**
 * The value of a JSON text in UTF-8, with or without a byte order mark, or in the charset its sender declared.
 * Undefined for an empty one. Throws HttpFault; `what` names the text in its message.
 */
export function readJson(bytes: Buffer, what: string, charset?: string): unknown {
  const text = textOf(bytes, what, charset);
  if (text === '') return undefined;
  try {
    checkJsonLimits(text);
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof JsonLimitError) throw new HttpFault('invalid_body', `${what} ${error.message}.`);
    throw new HttpFault('invalid_body', `${what} is not valid JSON${placeIn(error)}.`);
  }
}

/** The charset a Content-Type declares; undefined where it declares none or UTF-8. */
export function declaredCharset(contentType: string | undefined): string | undefined {
  const charset = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;]*))/i.exec(contentType ?? '');
  const name = (charset?.[1] ?? charset?.[2] ?? '').trim();
  return /^(utf-?8)?$/i.test(name) ? undefined : name;
}

function textOf(bytes: Buffer, what: string, charset: string | undefined): string {
  if (charset !== undefined) return decoded(bytes, what, charset);
  if (!isUtf8(bytes)) {
    throw new HttpFault('invalid_body', `${what} is not valid UTF-8: encode the JSON as UTF-8.`);
  }
  const hasByteOrderMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return bytes.toString('utf8', hasByteOrderMark ? 3 : 0);
}

function decoded(bytes: Buffer, what: string, charset: string): string {
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(charset, { fatal: true });
  } catch {
    throw new HttpFault(
      'unsupported_encoding',
      `The charset "${charset.slice(0, 40)}" of the Content-Type is unknown: encode the JSON as UTF-8.`,
    );
  }
  try {
    return decoder.decode(bytes);
  } catch {
    throw new HttpFault(
      'invalid_body',
      `${what} is not valid ${charset}, the charset of its Content-Type: encode the JSON as UTF-8.`,
    );
  }
}

/** Where JSON broke off. The parser's own message quotes the text around it, which may hold a key. */
function placeIn(error: unknown): string {
  const place =
    error instanceof Error && /at position \d+( \(line \d+ column \d+\))?/.exec(error.message)?.[0];
  return place ? `: it breaks off ${place}` : '';
}
