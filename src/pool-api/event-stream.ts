import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import type { Transport } from './http-transport.ts';
import { pause, retryDelayMs } from './retry.ts';
import { type PoolEvent, poolEvent } from './schema.ts';

/** Longer than any event of the pool; more means something else is sending. */
const maxEventLength = 1024 * 1024;

export interface EventStreamOptions {
  /** Silence after which the connection counts as dead; the pool sends a comment more often than that. */
  readonly silenceMs: number;
  /** The wait before the first reconnect; doubles up to `maxMs`. */
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * Follows `GET /api/events` until the signal aborts, reconnecting for ever. A reconnect names the last event seen,
 * so that the pool can send what was missed; when it cannot, `onState` goes through false once more.
 * Events of a kind this version does not know are passed over.
 */
export async function followEvents(
  transport: Transport,
  options: EventStreamOptions,
  onEvent: (event: PoolEvent) => void,
  onState: (isConnected: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  let lastEventId: string | undefined;
  let attempt = 0;
  while (!signal.aborted) {
    let isConnected = false;
    try {
      const answer = await transport.open({
        method: 'GET',
        path: '/api/events',
        headers: {
          accept: 'text/event-stream',
          ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
        },
        timeoutMs: options.silenceMs,
        signal,
      });
      isConnected = true;
      onState(true);
      await readEvents(answer, options.silenceMs, {
        onEvent,
        onId(id) {
          attempt = 0;
          lastEventId = id;
        },
        onReset() {
          onState(false);
          onState(true);
        },
      });
    } catch {
      // Whatever ended the stream, the answer is the same: say so below and connect again.
    }
    if (isConnected) onState(false);
    if (signal.aborted) return;
    const delayMs = retryDelayMs(attempt, options.baseMs, options.maxMs);
    attempt += 1;
    await pause(delayMs, signal).catch(() => undefined);
  }
}

async function readEvents(
  answer: IncomingMessage,
  silenceMs: number,
  handlers: {
    onEvent(event: PoolEvent): void;
    /** Also called for an id without an event, by which the pool tells where to go on from. */
    onId(id: string): void;
    onReset(): void;
  },
): Promise<void> {
  const parser = createParser({
    maxBufferSize: maxEventLength,
    onId: handlers.onId,
    onEvent(message) {
      if (message.event === 'reset') return handlers.onReset();
      const event = readEvent(message.data);
      if (event !== undefined) handlers.onEvent(event);
    },
  });
  const decoder = new TextDecoder();
  const watchdog = setTimeout(() => answer.destroy(), silenceMs);
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      watchdog.refresh();
      parser.feed(decoder.decode(chunk, { stream: true }));
    }
  } finally {
    clearTimeout(watchdog);
    answer.destroy();
  }
}

function readEvent(data: string): PoolEvent | undefined {
  try {
    return poolEvent.safeParse(JSON.parse(data)).data;
  } catch {
    return undefined;
  }
}
