// Puts the steps of a script on an HTTP response, at the pace of the reader.
import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { setTimeout as delay, setImmediate as nextRound } from 'node:timers/promises';
import { bodyOf, breakOff, type Connection } from './connections.ts';
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
  {
    framing,
    pacer,
    connection,
    listener,
  }: { framing: Framing; pacer: Pacer; connection: Connection; listener: Listener },
): Promise<PlayEnd> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  // The connection may have closed while the request was looked at.
  if (bodyOf(response).destroyed) gone.abort();
  const writer = createWriter(response, framing, connection);
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
        if (step.everyMs) await pacer.run(frames, step.everyMs, bodyOf(response), gone.signal);
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
        await until(gone.signal);
        return 'client-left';
      case 'destroy':
        await flushed(response);
        breakOff(response);
        return 'destroyed';
      case 'reset':
        await flushed(response);
        breakOff(response, step.code);
        return 'destroyed';
      case 'go-away':
        connection.goAway();
        break;
      case 'go-away-below':
        await flushed(response);
        connection.goAwayBelow(response);
        await until(gone.signal);
        return 'destroyed';
      case 'destroy-session':
        await flushed(response);
        connection.destroy();
        return 'destroyed';
      case 'freeze':
        await flushed(response);
        // Over HTTP/1.1 there is no other stream to go on, and no PING: silence is the same, and ends with the client.
        if (connection.protocol === 'h2') connection.freeze();
        await until(gone.signal);
        return 'client-left';
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

function createWriter(response: ServerResponse, framing: Framing, connection: Connection): Writer {
  const held: Buffer[] = [];
  const sendHeaders = (): void => {
    if (response.headersSent) return;
    response.writeHead(200, headers);
    response.flushHeaders();
  };
  const put = async (bytes: Buffer): Promise<void> => {
    // Nothing leaves a dead connection: this writer waits with all others on it.
    if (connection.isFrozen) await new Promise((resolve) => response.once('close', resolve));
    if (bodyOf(response).destroyed || response.write(bytes)) return;
    await drained(bodyOf(response));
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

function drained(response: Writable): Promise<void> {
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

/** Resolves when everything written has been sent. */
async function flushed(response: ServerResponse): Promise<void> {
  if (!response.headersSent || bodyOf(response).destroyed) return;
  // An empty write is dropped by Node without a callback; a comment line disturbs no reader.
  await new Promise((resolve) => response.write(':\n', resolve));
  await nextRound();
}

function until(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
