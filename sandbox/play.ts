// Puts the steps of a script on an HTTP response, at the pace of the reader.
import type { ServerResponse } from 'node:http';
import { setTimeout as delay, setImmediate as nextRound } from 'node:timers/promises';
import { base64url, type Framing, frame, oddPieces } from './frames.ts';
import type { Pacer } from './pacer.ts';
import { encodeEvent } from './schema.ts';
import type { Step } from './script.ts';
import type { ClientAction, ResponseEvent } from './wire.ts';

export interface Listener {
  /** Called for every event once it is written. */
  onEvent(event: ResponseEvent, byteLength: number): void;
  onFrames(actions: readonly ClientAction[], count: number, byteLength: number): void;
}

export type PlayEnd = 'ended' | 'destroyed' | 'client-left';

const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' };

/** Resolves when the response is over, whoever ended it. */
export async function play(
  steps: Iterable<Step>,
  response: ServerResponse,
  { framing, pacer, listener }: { framing: Framing; pacer: Pacer; listener: Listener },
): Promise<PlayEnd> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  // The connection may have closed while the request was looked at.
  if (response.destroyed) gone.abort();
  const writer = createWriter(response, framing);
  let eventIndex = 0;

  for (const step of steps) {
    if (gone.signal.aborted) return 'client-left';
    switch (step.kind) {
      case 'event': {
        const framed = Buffer.from(frame(base64url(encodeEvent(step.event)), framing, eventIndex));
        eventIndex += 1;
        await writer.write(framed);
        listener.onEvent(step.event, framed.length);
        break;
      }
      case 'frames': {
        const { frames, joined, actions } = step.frames;
        writer.sendHeaders();
        if (step.everyMs) await pacer.run(frames, step.everyMs, response, gone.signal);
        else await writer.write(joined);
        if (gone.signal.aborted) return 'client-left';
        listener.onFrames(actions, frames.length, joined.length);
        break;
      }
      case 'raw':
        await writer.write(Buffer.from(step.text));
        break;
      case 'headers':
        writer.sendHeaders();
        break;
      case 'wait':
        await delay(step.ms, undefined, { signal: gone.signal }).catch(() => undefined);
        break;
      case 'silence':
        await new Promise((resolve) => gone.signal.addEventListener('abort', resolve, { once: true }));
        return 'client-left';
      case 'destroy':
        await destroy(response);
        return 'destroyed';
    }
  }
  if (gone.signal.aborted) return 'client-left';
  writer.sendHeaders();
  await writer.flush();
  response.end();
  return 'ended';
}

interface Writer {
  sendHeaders(): void;
  /** Resolves when the reader has taken enough to be given more, or is gone. */
  write(bytes: Buffer): Promise<void>;
  flush(): Promise<void>;
}

function createWriter(response: ServerResponse, framing: Framing): Writer {
  const held: Buffer[] = [];
  const sendHeaders = (): void => {
    if (response.headersSent) return;
    response.writeHead(200, headers);
    response.flushHeaders();
  };
  const put = async (bytes: Buffer): Promise<void> => {
    if (response.destroyed || response.write(bytes)) return;
    await drained(response);
  };
  /** Each piece in a round of its own, so that it also travels alone. */
  const putPieces = async (pieces: Iterable<Buffer>): Promise<void> => {
    for (const piece of pieces) {
      await put(piece);
      await nextRound();
    }
  };
  return {
    sendHeaders,
    async write(bytes) {
      sendHeaders();
      if (framing === 'multiline') held.push(bytes);
      else if (framing === 'split') await putPieces(Array.from(bytes, (byte) => Buffer.from([byte])));
      else await put(bytes);
    },
    flush: () => putPieces(oddPieces(Buffer.concat(held.splice(0)))),
  };
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
    if (response.destroyed) done();
  });
}

/** Closes the connection without the mark that ends a chunked body, after what was written has left. */
async function destroy(response: ServerResponse): Promise<void> {
  // An empty write is dropped by Node without a callback; a comment line disturbs no reader.
  await new Promise((resolve) => response.write(':\n', resolve));
  response.destroy();
}
