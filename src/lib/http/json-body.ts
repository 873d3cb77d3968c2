import { isUtf8 } from 'node:buffer';
import { checkJsonLimits, JsonLimitError, JsonScan } from '../json-limits.ts';
import { largeBytes, ownTurn } from '../process/own-turn.ts';
import { HttpFault } from './http-fault.ts';

/** The most bytes of a text in another charset than UTF-8: it cannot be scanned before it is decoded. */
const largestForeign = 4 * 1024 * 1024;
const scannedBytes = 4 * 1024 * 1024;

/**
 * The value of a small JSON text in UTF-8, with or without a byte order mark. Undefined for an empty one. Throws HttpFault;
 * `what` names the text in its message.
 */
export function readSmallJson(bytes: Buffer, what: string): unknown {
  scanFor(what, undefined)?.(bytes);
  return parse(textOf([bytes], what, undefined), what, undefined);
}

/** The same for one of any size: each step of a large one has its own turn of the event loop. Throws HttpFault. */
export async function readJson(bytes: Buffer, what: string): Promise<unknown> {
  const scan = scanFor(what, undefined);
  for (let start = 0; start < bytes.length; start += scannedBytes) {
    if (start > 0) await ownTurn(scannedBytes);
    scan?.(bytes.subarray(start, start + scannedBytes));
  }
  return readJsonParts([bytes], what, undefined);
}

/** Scans a text as it arrives for what must not be parsed. Undefined where its charset does not allow that. */
export function scanFor(what: string, charset: string | undefined): ((piece: Buffer) => void) | undefined {
  if (charset !== undefined) return undefined;
  const scan = new JsonScan();
  return (piece) => withinLimits(what, () => scan.addBytes(piece));
}

/**
 * The same for a text in pieces that `scanFor` has seen, or in the charset that its sender declared. Empties `parts`. `goOn`
 * is called before each step of a large one, and throws if the value is no longer wanted; `onText` gets the text.
 */
export async function readJsonParts(
  parts: Buffer[],
  what: string,
  charset: string | undefined,
  goOn: () => void = () => {},
  onText: (text: string) => void = () => {},
): Promise<unknown> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length === 0) return undefined;
  if (length < largeBytes) {
    const small = textOf(parts, what, charset);
    onText(small);
    return parse(small, what, charset);
  }
  if (charset !== undefined && length > largestForeign) {
    const megabytes = largestForeign / 1024 / 1024;
    throw new HttpFault(
      'too_large',
      `${what} is larger than ${megabytes} MB, the most in another charset than UTF-8: encode the JSON as UTF-8.`,
    );
  }
  await ownTurn(length);
  goOn();
  // In a list of one, so that the text can be freed while its value is being made.
  const text = [textOf(parts, what, charset)];
  await ownTurn(length);
  goOn();
  onText(text[0] ?? '');
  const value = parse(text.pop() ?? '', what, charset);
  await ownTurn(length);
  return value;
}

/** The charset a Content-Type declares; undefined where it declares none or UTF-8. */
export function declaredCharset(contentType: string | undefined): string | undefined {
  const charset = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;]*))/i.exec(contentType ?? '');
  const name = (charset?.[1] ?? charset?.[2] ?? '').trim();
  return /^(utf-?8)?$/i.test(name) ? undefined : name;
}

function parse(text: string, what: string, charset: string | undefined): unknown {
  if (text === '') return undefined;
  if (charset !== undefined) withinLimits(what, () => checkJsonLimits(text));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpFault('invalid_body', `${what} is not valid JSON${placeIn(error)}.`);
  }
}

function withinLimits(what: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw error instanceof JsonLimitError
      ? new HttpFault('invalid_body', `${what} ${error.message}.`)
      : error;
  }
}

function textOf(parts: Buffer[], what: string, charset: string | undefined): string {
  const [first] = parts;
  const bytes = parts.length === 1 && first ? first : Buffer.concat(parts);
  parts.length = 0;
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
