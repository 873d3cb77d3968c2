import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, type Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';
import { errorCode } from '../errors.ts';
import { largeBytes } from '../process/own-turn.ts';
import { createLimit } from '../tasks.ts';
import type { HeldBody } from './body-budget.ts';
import { bodyTooLarge, HttpFault } from './http-fault.ts';
import { readScannedJson, readSmallJson, scanFor } from './json-body.ts';

const what = 'The body';

/** A body before it arrives. */
export interface ExpectedBody {
  readonly codings: ReturnType<typeof bodyCodings>;
  /** See `declaredCharset`. */
  readonly charset: string | undefined;
  /** Of a body that is kept as its bytes. */
  readonly formType?: string | undefined;
  /** As it was declared; 0 where it was not. */
  readonly declaredLength: number;
  readonly limit: number;
  /** Its bytes are counted there. */
  readonly held: HeldBody;
}

/**
 * Reads the body of a request and calls `done` once, with an HttpFault or what the body holds: the bytes of a form and its
 * content type, or the value of its JSON whatever its content type is, undefined for an empty one. Its bytes are counted as they
 * arrive. Usual bodies are read without a promise; those that may be large are scanned as they arrive for what must not be
 * parsed.
 */
export function readBody(
  request: IncomingMessage,
  { codings, charset, formType, declaredLength, limit, held }: ExpectedBody,
  done: (fault: unknown, body?: unknown) => void,
): void {
  if (formType !== undefined && !/^multipart\/form-data\s*;/i.test(formType)) {
    done(new HttpFault('invalid_body', 'The body must be multipart/form-data with a boundary.'));
    return;
  }
  const parts = new BodyParts();
  const isPlain = codings.length === 0;
  const isSmall = isPlain && declaredLength > 0 && declaredLength < largeBytes;
  const scan = isSmall || formType !== undefined ? undefined : scanFor(what, charset);
  let isArriving = true;
  // Its bytes are held until it is read, even if its client has left.
  held.share();

  function end(fault: unknown, body?: unknown): void {
    isArriving = false;
    held.release();
    done(fault, body);
  }

  function take(piece: Buffer): void {
    held.add(piece.length);
    parts.add(piece);
    if (parts.length > limit) throw bodyTooLarge();
  }

  function takeText(piece: Buffer): void {
    take(piece);
    scan?.(piece);
  }

  /** What the body holds, or a promise of it where it is large. */
  function whole(): unknown {
    const { length } = parts;
    if (formType !== undefined) return { bytes: Buffer.concat(parts.take()), contentType: formType };
    const json = { parts: parts.take(), what, charset, held };
    return length < largeBytes ? readSmallJson(json) : readScannedJson(json, length);
  }

  async function decompressed(): Promise<unknown> {
    const compressedLength = parts.length;
    await decompress(parts.take(), codings, limit, takeText);
    held.add(-compressedLength);
    return whole();
  }

  request.on('data', (piece: Buffer) => {
    if (!isArriving) return;
    try {
      if (isPlain) takeText(piece);
      else take(piece);
    } catch (fault) {
      end(fault);
    }
  });
  request.on('end', () => {
    if (!isArriving) return;
    isArriving = false;
    let body: unknown;
    try {
      body = isPlain ? whole() : decompressed();
    } catch (fault) {
      end(fault);
      return;
    }
    if (body instanceof Promise) body.then((value: unknown) => end(undefined, value), end);
    else end(undefined, body);
  });
  // A client that breaks off later breaks nothing.
  request.on('error', (fault) => {
    if (isArriving) end(fault);
  });
}

/** Smaller pieces are copied together: each has the cost of an object, and a sender may send one byte at a time. */
const smallBytes = 4 * 1024;
const blockBytes = 64 * 1024;

/** The pieces of a body in the order they came. */
export class BodyParts {
  readonly #parts: Buffer[] = [];
  #block: Buffer | undefined;
  #blockLength = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#parts.length === 0 || piece.length >= smallBytes) {
      this.#endBlock();
      this.#parts.push(piece);
      return;
    }
    if (this.#blockLength + piece.length > blockBytes) this.#endBlock();
    this.#block ??= Buffer.allocUnsafeSlow(blockBytes);
    piece.copy(this.#block, this.#blockLength);
    this.#blockLength += piece.length;
  }

  /** Hands over all pieces, and holds none of them any more. */
  take(): Buffer[] {
    this.#endBlock();
    this.#length = 0;
    return this.#parts.splice(0);
  }

  #endBlock(): void {
    if (this.#block) this.#parts.push(this.#block.subarray(0, this.#blockLength));
    this.#block = undefined;
    this.#blockLength = 0;
  }
}

/** Request bodies compressed with a Content-Encoding (RFC 9110, section 8.4), bounded as they are decompressed. */

type Bytes = AsyncGenerator<Buffer, void>;

const outputChunk = { chunkSize: 64 * 1024 };
/** log2 of the most memory a zstd frame may ask for: 32 MiB, four times what RFC 9659 lets a sender use. */
const maxZstdWindow = 25;

/** By coding: a decompressor for a body that begins with that byte. */
const decompressors = {
  zstd: () =>
    createZstdDecompress({ ...outputChunk, params: { [constants.ZSTD_d_windowLogMax]: maxZstdWindow } }),
  gzip: () => createGunzip(outputChunk),
  // Some senders leave out the zlib header, whose first byte ends in 8.
  deflate: (first) => ((first & 0x0f) === 8 ? createInflate(outputChunk) : createInflateRaw(outputChunk)),
  br: () => createBrotliDecompress(outputChunk),
} as const satisfies Record<string, (first: number) => Transform>;
type Coding = keyof typeof decompressors;

/** What a sender may use, as an Accept-Encoding names it. */
export const acceptedCodings = Object.keys(decompressors).join(', ');
const atATime = createLimit(2);
/** Each layer costs a decompressor; no sender has a use for more. */
const maxLayers = 3;

const noCodings: readonly Coding[] = [];

/** The codings of a body in the order they were applied. Throws HttpFault, after `onUnknown`. */
export function bodyCodings(header: string | undefined, onUnknown: () => void): readonly Coding[] {
  if (header === undefined) return noCodings;
  const codings = header
    .split(',')
    .map((name) => name.trim().toLowerCase().replace(/^x-/, ''))
    .filter((name) => name !== '' && name !== 'identity');
  const unknown = codings.find((name) => !Object.hasOwn(decompressors, name));
  if (unknown !== undefined || codings.length > maxLayers) {
    onUnknown();
    const reason =
      unknown === undefined
        ? `The body is compressed ${codings.length} times`
        : `The body's Content-Encoding "${unknown.slice(0, 40)}" is not supported`;
    throw new HttpFault(
      'unsupported_encoding',
      `${reason}: send it uncompressed, or compress it once with one of ${acceptedCodings}.`,
    );
  }
  return codings as Coding[];
}

/**
 * A body without its codings. No layer may become larger than `limit`, and `take` gets each piece of the last one as it
 * comes. Few bodies are decompressed at a time, each once it is here whole, so that neither many small ones that become large
 * nor a slow client take all memory and every thread. Throws HttpFault, and what `take` throws.
 */
async function decompress(
  parts: readonly Buffer[],
  codings: readonly Coding[],
  limit: number,
  take: (piece: Buffer) => void,
): Promise<void> {
  await atATime(async () => {
    const layers = codings.reduceRight(
      (source, coding) => decompressed(source, coding, limit),
      inOrder(parts),
    );
    for await (const piece of layers) take(piece);
  });
}

async function* inOrder(chunks: readonly Buffer[]): Bytes {
  yield* chunks;
}

async function* decompressed(source: Bytes, coding: Coding, limit: number): Bytes {
  const { value: first } = await source.next();
  if (first === undefined) return;
  async function* whole(): Bytes {
    yield first as Buffer;
    yield* source;
  }
  const decompressor = decompressors[coding](first[0] ?? 0);
  // The loop below gets every error.
  pipeline(whole(), decompressor, () => {});
  let length = 0;
  try {
    for await (const chunk of decompressor) {
      length += chunk.length;
      if (length > limit) throw bodyTooLarge();
      yield chunk;
    }
  } catch (error) {
    throw isDataError(error)
      ? new HttpFault(
          'invalid_body',
          `The body is not valid ${coding}: compress it as its Content-Encoding says, or leave that header out.`,
          {
            cause: error,
          },
        )
      : error;
  }
}

/** zlib, zstd and brotli each have their own codes. */
function isDataError(error: unknown): boolean {
  return /^(Z_|ZSTD_|ERR__)/.test(errorCode(error) ?? '');
}

/** Twice the largest body that is accepted: a client that sends too much can still read the answer that says so. */
const mostBytes = 64 * 1024 * 1024;
const longestMs = 30_000;
/** Each piece costs the parser about the same, whatever its size: a megabyte in pieces of one byte would cost a second. */
const tinyBytes = 256;
const mostTinyPieces = 4_000;

/**
 * For a request that is answered while its body is still arriving. Many clients read the answer only after they have sent
 * everything, and closing their connection meanwhile resets it, which can overtake the answer. So the rest is discarded as it
 * arrives, for half a minute or 64 MB at most, and less in tiny pieces; then the connection is cut.
 */
export function discardRest(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  // A server that closes says so in the header alone.
  const isLast = !response.shouldKeepAlive || response.getHeader('connection') === 'close';
  // Node closes a connection that is not kept alive as soon as the answer is written; here it waits for the rest.
  if (isLast) socket.destroySoon = () => {};
  let bytesLeft = mostBytes;
  let tinyLeft = mostTinyPieces;
  request.on('data', ({ length }: Buffer) => {
    bytesLeft -= length;
    if (length < tinyBytes) tinyLeft -= 1;
    if (bytesLeft < 0 || tinyLeft < 0) socket.destroy();
  });
  const timer = setTimeout(() => socket.destroy(), longestMs).unref();
  request.once('close', () => {
    clearTimeout(timer);
    if (!isLast) return;
    Reflect.deleteProperty(socket, 'destroySoon');
    socket.destroySoon();
  });
}
