// One timer for every paced stream: thousands of them must not mean thousands of timers.
import { performance } from 'node:perf_hooks';
import type { Writable } from 'node:stream';

export interface Pacer {
  /** Writes one buffer every `everyMs` (a multiple of 5) and resolves after the last, or when `signal` aborts.
   *  A late timer catches up; a reader that does not keep up is waited for. */
  run(buffers: readonly Buffer[], everyMs: number, to: Writable, signal: AbortSignal): Promise<void>;
  close(): void;
}

interface Stream {
  buffers: readonly Buffer[];
  everyMs: number;
  to: Writable;
  signal: AbortSignal;
  startedAt: number;
  next: number;
  resolve(): void;
}

const tickMs = 5;

export function createPacer(): Pacer {
  const streams = new Set<Stream>();
  let timer: NodeJS.Timeout | undefined;

  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  const tick = (): void => {
    const now = performance.now();
    for (const stream of streams) {
      if (!stream.signal.aborted) advance(stream, now);
      if (!stream.signal.aborted && stream.next < stream.buffers.length) continue;
      streams.delete(stream);
      stream.resolve();
    }
    if (streams.size === 0) stop();
  };

  return {
    run: (buffers, everyMs, to, signal) =>
      new Promise((resolve) => {
        streams.add({ buffers, everyMs, to, signal, startedAt: performance.now(), next: 0, resolve });
        timer ??= setInterval(tick, tickMs);
      }),
    close() {
      stop();
      for (const stream of streams) stream.resolve();
      streams.clear();
    },
  };
}

function advance(stream: Stream, now: number): void {
  const due = Math.floor((now - stream.startedAt) / stream.everyMs);
  while (stream.next < Math.min(due, stream.buffers.length) && !stream.to.writableNeedDrain) {
    stream.to.write(stream.buffers[stream.next]);
    stream.next += 1;
  }
}
