import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { createLimit } from '../src/lib/tasks.ts';
import { createHttpReader, statusOf } from './http-reader.ts';

export interface Load {
  readonly url: string;
  /** The bytes of the next request, whole. */
  readonly nextRequest: () => Buffer;
  /** What is wrong with an answer; undefined when it is right. */
  readonly faultIn: (body: string) => string | undefined;
  readonly connections: number;
  readonly count: number;
  /** Requests begin at that rate, whether or not answers come; unset: the next one as soon as an answer has ended. */
  readonly perSecond?: number | undefined;
}

export interface LoadResult {
  /** Milliseconds from sending to the end of the answer, one a turn. */
  readonly wholeMs: readonly number[];
  /** Milliseconds from sending to the first bytes of the answer's body. */
  readonly firstMs: readonly number[];
  readonly elapsedMs: number;
}

const deadlineMs = 60_000;
const arrivalMs = 2;

/**
 * Sends `count` requests over a few kept connections, one at a time on each, and reads every answer to its end. At a fixed
 * rate a request that finds no free connection waits, and its time counts from when it was due.
 * Rejects at the first answer that is not right.
 */
export function runLoad({
  url,
  nextRequest,
  faultIn,
  connections,
  count,
  perSecond,
}: Load): Promise<LoadResult> {
  const { hostname, port } = new URL(url);
  const wholeMs: number[] = [];
  const firstMs: number[] = [];
  const startedAt = performance.now();
  let sent = 0;

  return new Promise((resolve, reject) => {
    const sockets = new Set<net.Socket>();
    const idle: ((at: number) => void)[] = [];
    const due: number[] = [];
    let begun = 0;
    const arrivals = perSecond === undefined ? undefined : setInterval(arrive, arrivalMs);
    const timer = setTimeout(() => fail(new Error(`${url}: no end within ${deadlineMs} ms`)), deadlineMs);
    let isOver = false;

    function leave(): void {
      isOver = true;
      clearTimeout(timer);
      clearInterval(arrivals);
      for (const socket of sockets) socket.destroy();
    }
    function fail(error: Error): void {
      if (isOver) return;
      leave();
      reject(error);
    }

    function arrive(): void {
      const now = performance.now();
      for (; begun < count; begun += 1) {
        const at = startedAt + (begun * 1_000) / (perSecond ?? 1);
        if (at > now) return;
        const send = idle.pop();
        if (send) send(at);
        else due.push(at);
      }
    }

    for (let number = 0; number < connections; number += 1) {
      const socket = net.connect({ host: hostname, port: Number(port), noDelay: true });
      sockets.add(socket);
      let sentAt = 0;
      let status = 0;
      let pieces: Buffer[] = [];

      function next(): void {
        const at = perSecond === undefined ? performance.now() : due.shift();
        if (at === undefined) idle.push(send);
        else send(at);
      }
      function send(at: number): void {
        if (sent === count) return;
        sent += 1;
        pieces = [];
        sentAt = at;
        socket.write(nextRequest());
      }
      const read = createHttpReader({
        onHead(head) {
          status = statusOf(head);
        },
        onBody(piece) {
          if (pieces.length === 0) firstMs.push(performance.now() - sentAt);
          pieces.push(piece);
        },
        onEnd() {
          wholeMs.push(performance.now() - sentAt);
          const body = Buffer.concat(pieces).toString();
          const fault = status === 200 ? faultIn(body) : `status ${status}`;
          if (fault !== undefined) fail(new Error(`${url}: ${fault}: ${body.slice(0, 300)}`));
          else if (wholeMs.length === count) {
            leave();
            resolve({ wholeMs, firstMs, elapsedMs: performance.now() - startedAt });
          } else next();
        },
      });
      socket.on('connect', next);
      socket.on('data', (bytes) => {
        try {
          read(bytes);
        } catch (error) {
          fail(error instanceof Error ? error : new Error(String(error)));
        }
      });
      socket.on('error', fail);
      socket.on('close', () => fail(new Error(`${url}: the connection was closed`)));
    }
  });
}

/**
 * Opens streams that begin and then say nothing. Resolves when every one has said something; `close` ends them all.
 */
export async function openStreams(
  load: Pick<Load, 'url' | 'nextRequest'> & { readonly count: number },
): Promise<{ close(): void }> {
  const { hostname, port } = new URL(load.url);
  const sockets: net.Socket[] = [];
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const openOne = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ host: hostname, port: Number(port), noDelay: true }, () =>
        socket.write(load.nextRequest()),
      );
      sockets.push(socket);
      socket.setTimeout(deadlineMs, () => reject(new Error(`${load.url}: a stream did not begin`)));
      let head = '';
      socket.on('data', (bytes) => {
        head = (head + bytes.toString('latin1')).slice(0, 4096);
        if (head.includes('"content":"The first part')) resolve();
        else if (statusOf(head) !== 200) reject(new Error(`${load.url}: ${head.slice(0, 300)}`));
      });
      socket.on('error', reject);
      socket.on('close', () => reject(new Error(`${load.url}: a stream was closed`)));
    });
  try {
    // Only so many turns of one client may wait for an account: a thousand at once would be refused.
    const limit = createLimit(100);
    await Promise.all(Array.from({ length: load.count }, () => limit(openOne)));
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}
