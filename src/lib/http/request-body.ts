import type { IncomingMessage } from 'node:http';
import type { HeldBody } from './body-budget.ts';
import { type bodyCodings, decompress } from './body-coding.ts';
import { BodyParts } from './body-parts.ts';
import { bodyTooLarge, HttpFault } from './http-fault.ts';
import { readJsonParts, scanFor } from './json-body.ts';

const what = 'The body';

/** What the headers of a body say of its bytes. */
export interface BodyForm {
  readonly codings: ReturnType<typeof bodyCodings>;
  /** See `declaredCharset`. */
  readonly charset: string | undefined;
}

/**
 * The JSON value of a request's body, whatever its content type is; undefined for an empty one. Its bytes are counted, and
 * scanned for what must not be parsed, as they arrive. Throws HttpFault.
 */
export async function readBody(
  request: IncomingMessage,
  form: BodyForm,
  limit: number,
  held: HeldBody,
  keepsText = false,
): Promise<unknown> {
  // Its bytes are held until it is read, even if its client has left.
  held.share();
  try {
    return await read(request, form, limit, held, keepsText);
  } finally {
    held.release();
  }
}

/** The bytes of a body of `multipart/form-data`, counted as they arrive. Throws HttpFault. */
export async function readFormBody(
  request: IncomingMessage,
  contentType: string,
  { codings }: BodyForm,
  limit: number,
  held: HeldBody,
): Promise<{ readonly bytes: Buffer; readonly contentType: string }> {
  if (!/^multipart\/form-data\s*;/i.test(contentType)) {
    throw new HttpFault('invalid_body', 'The body must be multipart/form-data with a boundary.');
  }
  held.share();
  try {
    const parts = await receiveParts(request, codings, limit, held);
    return { bytes: Buffer.concat(parts.take()), contentType };
  } finally {
    held.release();
  }
}

async function read(
  request: IncomingMessage,
  { codings, charset }: BodyForm,
  limit: number,
  held: HeldBody,
  keepsText: boolean,
): Promise<unknown> {
  const parts = await receiveParts(request, codings, limit, held, scanFor(what, charset));
  const goOn = (): void => {
    if (held.hasOneHolder) throw new HttpFault('client_left', 'The client left before its request was read.');
  };
  const onText = (text: string): void => {
    if (keepsText) held.text = text;
  };
  return readJsonParts(parts.take(), what, charset, goOn, onText);
}

/** A whole body, decompressed and within its limit; `scan` gets each piece. */
async function receiveParts(
  request: IncomingMessage,
  codings: BodyForm['codings'],
  limit: number,
  held: HeldBody,
  scan?: (piece: Buffer) => void,
): Promise<BodyParts> {
  const parts = new BodyParts();
  const take = (piece: Buffer): void => {
    held.add(piece.length);
    parts.add(piece);
    if (parts.length > limit) throw bodyTooLarge();
  };
  const takeText = (piece: Buffer): void => {
    take(piece);
    scan?.(piece);
  };
  if (codings.length === 0) await receive(request, takeText);
  else {
    await receive(request, take);
    const compressedLength = parts.length;
    await decompress(parts.take(), codings, limit, takeText);
    held.add(-compressedLength);
  }
  return parts;
}

/** Takes a body as it comes. */
function receive(request: IncomingMessage, take: (piece: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const onData = (piece: Buffer): void => {
      try {
        take(piece);
      } catch (error) {
        end();
        reject(error);
      }
    };
    const onEnd = (): void => {
      end();
      resolve();
    };
    const onError = (error: Error): void => {
      end();
      reject(error);
    };
    function end(): void {
      request.off('data', onData).off('end', onEnd).off('error', onError);
      // A client that breaks off later breaks nothing.
      request.on('error', () => {});
    }
    request.on('data', onData).on('end', onEnd).on('error', onError);
  });
}
