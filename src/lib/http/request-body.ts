import type { IncomingMessage } from 'node:http';
import { largeBytes } from '../process/own-turn.ts';
import type { HeldBody } from './body-budget.ts';
import { type bodyCodings, decompress } from './body-coding.ts';
import { BodyParts } from './body-parts.ts';
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
