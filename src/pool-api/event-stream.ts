import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import { isPoolError, type PoolError } from './errors.ts';
import type { Transport } from './http-transport.ts';
import { pause, retryDelayMs } from './retry.ts';
import { type PoolEvent, poolEvent } from './schema.ts';

/** Longer than any event of the pool; more means something else is sending. */
const maxEventLength = 1024 * 1024;
/** The pool's own ids have this form; any other could not be sent back in a header. */
const eventId = /^[\x21-\x7e]{1,128}$/;

export interface EventHandlers {
  onEvent(event: PoolEvent): void;
  /** Whether events are flowing. */
  onState(isConnected: boolean): void;
  /** Some events were missed, and the pool cannot send them any more. */
  onReset(): void;
  /** The pool does not let this key listen. Absent: it is tried again and again. */
  onRefused?(error: PoolError): void;
  /** Asked after each read; nothing more is read until it is done. */
  whenReady?(): Promise<void> | undefined;
}

export interface EventStreamOptions {
  /** Silence after which the connection counts as dead; the pool sends a comment more often than that. */
  readonly silenceMs: number;
  /** The wait before the first reconnect; doubles up to `maxMs`. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** Following events alone does not keep the process alive. */
  readonly isBackground?: boolean;
}

/**
 * Follows `GET /api/events` until the signal aborts, reconnecting for ever. A reconnect names the last event seen, so
 * that the pool can send what was missed. Events of a kind this version does not know are passed over.
 */
export async function followEvents(
  transport: Transport,
  options: EventStreamOptions,
  handlers: EventHandlers,
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
      if (options.isBackground) answer.socket.unref();
      isConnected = true;
      handlers.onState(true);
      await readEvents(answer, options.silenceMs, handlers, (id) => {
        attempt = 0;
        lastEventId = id;
      });
    } catch (error) {
      // Whatever else ended the stream, the answer is the same: say so below and connect again.
      if (handlers.onRefused && isPoolError(error, 'invalid_key', 'forbidden', 'host_not_allowed')) {
        return handlers.onRefused(error);
      }
    }
    if (isConnected) handlers.onState(false);
    if (signal.aborted) return;
    const delayMs = retryDelayMs(attempt, options.baseMs, options.maxMs);
    attempt += 1;
    await pause(delayMs, signal, options.isBackground).catch(() => undefined);
  }
}

async function readEvents(
  answer: IncomingMessage,
  silenceMs: number,
  handlers: EventHandlers,
  /** Also called for an id without an event, by which the pool tells where to go on from. */
  onId: (id: string) => void,
): Promise<void> {
  const parser = createParser({
    maxBufferSize: maxEventLength,
    onId: (id) => {
      if (eventId.test(id)) onId(id);
    },
    onEvent(message) {
      if (message.event === 'reset') return handlers.onReset();
      const event = readEvent(message.data);
      if (event !== undefined) handlers.onEvent(event);
    },
  });
  const decoder = new TextDecoder();
  let watchdog = setTimeout(() => answer.destroy(), silenceMs);
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      // While nobody reads, silence is no sign of a dead connection.
      clearTimeout(watchdog);
      await handlers.whenReady?.();
      watchdog = setTimeout(() => answer.destroy(), silenceMs);
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
