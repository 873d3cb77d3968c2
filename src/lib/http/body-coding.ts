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
import { createLimit } from '../limit.ts';
import { bodyTooLarge, HttpFault } from './http-fault.ts';

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

/** The codings of a body in the order they were applied. Throws HttpFault. */
export function bodyCodings(header: string | undefined): readonly Coding[] {
  if (header === undefined) return noCodings;
  const codings = header
    .split(',')
    .map((name) => name.trim().toLowerCase().replace(/^x-/, ''))
    .filter((name) => name !== '' && name !== 'identity');
  const unknown = codings.find((name) => !Object.hasOwn(decompressors, name));
  if (unknown !== undefined || codings.length > maxLayers) {
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
export async function decompress(
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
