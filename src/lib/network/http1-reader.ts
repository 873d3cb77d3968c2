import type { IncomingHttpHeaders } from 'node:http';
import { mostAnnouncements } from './exchange.ts';

/** Hears what one answer over HTTP/1.1 says. */
export interface Http1Listener {
  /** An interim answer, of a status below 200, may come before the answer itself. */
  onHead(status: number, headers: IncomingHttpHeaders): void;
  /** All of the body that came with one read. */
  onBody(bytes: Buffer): void;
  onEnd(trailers: IncomingHttpHeaders): void;
}

/** The other side sent what is no answer of HTTP/1.1. */
export class UnreadableAnswerError extends Error {
  constructor(what: string) {
    super(`The answer does not follow HTTP/1.1: ${what}.`);
    this.name = 'UnreadableAnswerError';
  }
}

/** As many bytes as Node takes for a head. */
const mostHeadBytes = 16 * 1024;
const mostChunkLineBytes = 4 * 1024;
const mostChunkBytes = 2 ** 48;

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
/** What no line of headers holds. */
const notInHeaders = /[^\t\x20-\x7e\x80-\xff]/;
const chunkExtension = /^[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

/**
 * Reads one answer (RFC 9112) from the reads of its connection. It is strict: what could be taken for the end of one answer here and
 * for the middle of it there is no answer.
 */
export class Http1Reader {
  readonly #listener: Http1Listener;
  readonly #method: string;
  #state: 'head' | 'length' | 'until-close' | 'chunk-line' | 'chunk' | 'chunk-end' | 'trailers' | 'over' =
    'head';
  /** Of the body or of its chunk. */
  #left = 0;
  /** A line that has not ended. */
  #rest: Buffer | undefined;
  /** Of the body, from this read. */
  #pieces: Buffer[] = [];
  /** Those of an end that the listener has not been told of. */
  #trailers: IncomingHttpHeaders | undefined;
  #announcements = 0;
  /** For how long the other side keeps the connection after this answer, in its own words; undefined: it did not say. */
  keepAlive: string | undefined;
  /** The connection can carry another request. Known at the end. */
  isKept = false;

  constructor(listener: Http1Listener, method: string) {
    this.#listener = listener;
    this.#method = method;
  }

  /** Throws UnreadableAnswerError. */
  read(given: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, given]) : given;
    this.#rest = undefined;
    let at = 0;
    try {
      while (at < bytes.length && this.#state !== 'over') at = this.#step(bytes, at);
    } catch (error) {
      // The listener still gets what came before the fault.
      this.#tell();
      throw error;
    }
    // An answer that nothing asked for.
    if (at < bytes.length) this.isKept = false;
    this.#tell();
  }

  /** The other side has closed. False: in the middle of the answer. */
  end(): boolean {
    if (this.#state !== 'until-close') return false;
    this.#end({});
    this.#tell();
    return true;
  }

  /** Returns where the next step begins; the end of the bytes where more are needed. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head': {
        // Some servers leave one behind the answer before.
        if (isLineEnd(bytes, at)) return at + 2;
        const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
        if (end === -1) return this.#wait(bytes, at, mostHeadBytes);
        if (end - at > mostHeadBytes) throw new UnreadableAnswerError('its head is too long');
        this.#takeHead(bytes.toString('latin1', at, end));
        return end + 4;
      }
      case 'length':
      case 'chunk': {
        const end = Math.min(bytes.length, at + this.#left);
        this.#left -= end - at;
        this.#pieces.push(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
        if (this.#left === 0) {
          if (this.#state === 'length') this.#end({});
          else this.#state = 'chunk-end';
        }
        return end;
      }
      case 'until-close':
        this.#pieces.push(bytes.subarray(at));
        return bytes.length;
      case 'chunk-line':
        return this.#takeChunkLine(bytes, at);
      case 'chunk-end':
        if (bytes.length - at < 2) return this.#wait(bytes, at, 2);
        if (!isLineEnd(bytes, at)) throw new UnreadableAnswerError('a chunk is longer than it says');
        this.#state = 'chunk-line';
        return at + 2;
      default: {
        if (bytes.length - at < 2) return this.#wait(bytes, at, 2);
        if (isLineEnd(bytes, at)) {
          this.#end({});
          return at + 2;
        }
        const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
        if (end === -1) return this.#wait(bytes, at, mostHeadBytes);
        this.#end(headersIn(bytes.toString('latin1', at, end).split('\r\n')));
        return end + 4;
      }
    }
  }

  #wait(bytes: Buffer, at: number, most: number): number {
    if (bytes.length - at > most) throw new UnreadableAnswerError('a line has no end');
    this.#rest = bytes.subarray(at);
    return bytes.length;
  }

  #takeHead(head: string): void {
    const [first = '', ...lines] = head.split('\r\n');
    const [, minor, digits] = statusLine.exec(first) ?? [];
    if (digits === undefined) throw new UnreadableAnswerError('it begins with no status');
    const status = Number(digits);
    const headers = headersIn(lines);
    if (status < 200) {
      this.#announcements += 1;
      if (status === 101 || this.#announcements > mostAnnouncements)
        throw new UnreadableAnswerError('it announces what was not asked for');
      this.#listener.onHead(status, headers);
      return;
    }
    const { connection = '', 'transfer-encoding': coding, 'content-length': length } = headers;
    const options = String(connection)
      .toLowerCase()
      .split(',')
      .map((option) => option.trim());
    const keeps = minor === '1' || (options.includes('keep-alive') && coding === undefined);
    this.isKept = keeps && !options.includes('close');
    this.keepAlive = headers['keep-alive']?.toString();
    this.#begin(status, coding === undefined ? undefined : String(coding), length);
    this.#listener.onHead(status, headers);
    if (this.#state === 'length' && this.#left === 0) this.#end({});
  }

  /** How the body ends. */
  #begin(status: number, coding: string | undefined, length: unknown): void {
    if (coding !== undefined && length !== undefined)
      throw new UnreadableAnswerError('its length is said in two ways');
    if (length !== undefined && !(typeof length === 'string' && /^\d{1,15}$/.test(length)))
      throw new UnreadableAnswerError('its length is no number');
    const size = length === undefined ? undefined : Number(length);
    if (this.#method === 'HEAD' || status === 204 || status === 304) {
      // There is no body, but some servers send one.
      if (this.#method === 'HEAD' || coding !== undefined || (size ?? 0) > 0) this.isKept = false;
      this.#state = 'length';
    } else if (coding !== undefined && /(?:^|,)[\t ]*chunked$/i.test(coding)) this.#state = 'chunk-line';
    else if (size !== undefined) {
      this.#state = 'length';
      this.#left = size;
    } else {
      this.#state = 'until-close';
      this.isKept = false;
    }
  }

  #takeChunkLine(bytes: Buffer, at: number): number {
    let size = 0;
    let next = at;
    for (; next < bytes.length; next += 1) {
      const digit = hexDigit(bytes[next] ?? 0);
      if (digit === -1) break;
      size = size * 16 + digit;
      if (size > mostChunkBytes) throw new UnreadableAnswerError('a chunk is too long');
    }
    const end = isLineEnd(bytes, next) ? next : bytes.indexOf('\r\n', next, 'latin1');
    if (end === -1) return this.#wait(bytes, at, mostChunkLineBytes);
    if (next === at || (end > next && !chunkExtension.test(bytes.toString('latin1', next, end))))
      throw new UnreadableAnswerError('a chunk has no length');
    this.#left = size;
    this.#state = size === 0 ? 'trailers' : 'chunk';
    return end + 2;
  }

  #end(trailers: IncomingHttpHeaders): void {
    this.#state = 'over';
    this.#trailers = trailers;
  }

  /** What of the body came with this read, and its end. */
  #tell(): void {
    const [first] = this.#pieces;
    if (first) {
      const body = this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.#listener.onBody(body);
    }
    const trailers = this.#trailers;
    if (!trailers) return;
    this.#trailers = undefined;
    this.#listener.onEnd(trailers);
  }
}

function isLineEnd(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0x0d && bytes[at + 1] === 0x0a;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Names in lower case; one that is there several times has all its values. */
function headersIn(lines: readonly string[]): IncomingHttpHeaders {
  const headers: Record<string, string | string[]> = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = headerName(line.slice(0, Math.max(0, colon)));
    if (name === undefined || notInHeaders.test(line))
      throw new UnreadableAnswerError('a line of its head is no header');
    const value = withoutSpaceAround(line, colon + 1);
    const known = headers[name];
    if (typeof known === 'object') known.push(value);
    else headers[name] = known === undefined ? value : [known, value];
  }
  return headers;
}

/** Not `trim`, which takes characters of Latin-1 for space. */
function withoutSpaceAround(text: string, from: number): string {
  let start = from;
  let end = text.length;
  while (isSpace(text.charCodeAt(start))) start += 1;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const mostKnown = 500;
const longestKnown = 64;
/** As they came, and in lower case. Servers send the same ones again and again. */
const known = new Map<string, string>();

/** The name of a header in lower case; undefined where it is none. */
export function headerName(given: string): string | undefined {
  const seen = known.get(given);
  if (seen !== undefined) return seen;
  if (!token.test(given)) return undefined;
  const name = given.toLowerCase();
  // A copy: a part of a text keeps all of it.
  if (known.size < mostKnown && given.length <= longestKnown) known.set(Buffer.from(given).toString(), name);
  return name;
}
