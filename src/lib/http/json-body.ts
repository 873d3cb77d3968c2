import { isUtf8 } from 'node:buffer';
import { checkJsonLimits, JsonLimitError, JsonScan } from '../parse-json.ts';
import { ownTurn } from '../process/own-turn.ts';
import type { HeldBody } from './body-budget.ts';
import { HttpFault } from './http-fault.ts';

/** The most bytes of a text in another charset than UTF-8: it cannot be scanned before it is decoded. */
const largestForeign = 4 * 1024 * 1024;
const scannedBytes = 4 * 1024 * 1024;

/** A JSON text in pieces. */
export interface JsonParts {
  /** Emptied by reading them. */
  readonly parts: Buffer[];
  /** Names the text in what is thrown. */
  readonly what: string;
  /** See `declaredCharset`. */
  readonly charset?: string | undefined;
  /** Of a request; gets the text where it wants that. */
  readonly held?: HeldBody;
}

/**
 * The value of a JSON text smaller than `largeBytes`, with or without a byte order mark. Undefined for an empty one. Throws
 * HttpFault.
 */
export function readSmallJson(json: JsonParts): unknown {
  const text = textOf(json);
  withinLimits(json.what, () => checkJsonLimits(text));
  return parsed(text, json);
}

/** The same for a large text in UTF-8: each step has its own turn of the event loop. Throws HttpFault. */
export async function readLargeJson(bytes: Buffer, what: string): Promise<unknown> {
  const scan = scanFor(what, undefined);
  for (let start = 0; start < bytes.length; start += scannedBytes) {
    if (start > 0) await ownTurn(scannedBytes);
    scan?.(bytes.subarray(start, start + scannedBytes));
  }
  return readScannedJson({ parts: [bytes], what }, bytes.length);
}

/** Scans a text as it arrives for what must not be parsed. Undefined where its charset does not allow that. */
export function scanFor(what: string, charset: string | undefined): ((piece: Buffer) => void) | undefined {
  if (charset !== undefined) return undefined;
  const scan = new JsonScan();
  return (piece) => withinLimits(what, () => scan.addBytes(piece));
}

/** The same for a large text that `scanFor` has seen, or in the charset that its sender declared. */
export async function readScannedJson(json: JsonParts, length: number): Promise<unknown> {
  const { what, charset, held } = json;
  if (charset !== undefined && length > largestForeign) {
    const megabytes = largestForeign / 1024 / 1024;
    throw new HttpFault(
      'too_large',
      `${what} is larger than ${megabytes} MB, the most in another charset than UTF-8: encode the JSON as UTF-8.`,
    );
  }
  const nextStep = async (): Promise<void> => {
    await ownTurn(length);
    if (held?.hasOneHolder)
      throw new HttpFault('client_left', 'The client left before its request was read.');
  };
  await nextStep();
  // In a list of one, so that the text can be freed while its value is being made.
  const text = [textOf(json)];
  await nextStep();
  if (charset !== undefined) withinLimits(what, () => checkJsonLimits(text[0] ?? ''));
  const value = parsed(text.pop() ?? '', json);
  await ownTurn(length);
  return value;
}

/** The charset a Content-Type declares; undefined where it declares none or UTF-8. */
export function declaredCharset(contentType: string | undefined): string | undefined {
  if (!contentType?.includes(';')) return undefined;
  const charset = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;]*))/i.exec(contentType);
  const name = (charset?.[1] ?? charset?.[2] ?? '').trim();
  return /^(utf-?8)?$/i.test(name) ? undefined : name;
}

function parsed(text: string, { what, held }: JsonParts): unknown {
  if (held?.keepsText) held.text = text;
  if (text === '') return undefined;
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

function textOf({ parts, what, charset }: JsonParts): string {
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
