import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import { sleep, systemClock } from '../lib/clock.ts';
import { parseJson } from '../lib/parse-json.ts';
import { isPoolError, retryDelayMs } from './errors.ts';
import type { Transport } from './http-transport.ts';
import { type PoolEvent, poolEvent } from './schema.ts';

/** What a listener hears. `reset`: some events were missed for good, so what was known has to be asked for again. */
export type PoolNews = PoolEvent | { readonly type: 'reset' };

/** Silence after which the connection counts as dead; the pool sends a comment more often than that. */
const usualSilenceMs = 60_000;
const firstDelayMs = 250;
const longestDelayMs = 15_000;

/** Longer than any event of the pool; more means something else is sending. */
const maxEventLength = 1024 * 1024;
/** The pool's own ids have this form; any other could not be sent back in a header. */
const eventId = /^[\x21-\x7e]{1,128}$/;

/**
 * Follows the pool's events until the signal aborts. It does not keep the process alive, and a pool that refuses the key is
 * asked again and again. Events that were missed for good look like an outage.
 */
export async function followEvents(
  transport: Transport,
  silenceMs: number | undefined,
  onEvent: (event: PoolEvent) => void,
  onState: (isConnected: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const news of readNews(transport, { silenceMs, isBackground: true, onState, signal })) {
    if (news.type !== 'reset') {
      onEvent(news);
    } else {
      onState(false);
      onState(true);
    }
  }
}

/**
 * `GET /api/events` for a loop, from the first `next()` on, reconnecting for ever. A reconnect names the last event seen, so
 * that the pool can send what was missed. A slow loop slows the reading; if it falls so far behind that the pool cuts it off,
 * it hears `reset`. Ends with the signal; in the foreground it throws PoolError when the key is refused.
 */
export async function* readNews(
  transport: Transport,
  options: {
    readonly onState: (isConnected: boolean) => void;
    readonly signal: AbortSignal;
    readonly silenceMs?: number | undefined;
    readonly isBackground?: boolean;
  },
): AsyncGenerator<PoolNews, void, undefined> {
  const { onState, signal, silenceMs = usualSilenceMs, isBackground = false } = options;
  let lastEventId: string | undefined;
  let attempt = 0;
  while (!signal.aborted) {
    let isConnected = false;
    try {
      const answer = await transport.open({
        method: 'GET',
        path: '/api/events',
        headers: { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) },
        timeoutMs: silenceMs,
        signal,
      });
      if (isBackground) answer.socket.unref();
      isConnected = true;
      onState(true);
      const onId = (id: string) => {
        attempt = 0;
        lastEventId = id;
      };
      for await (const news of readAnswer(answer, silenceMs, onId)) {
        if (signal.aborted) return;
        yield news;
      }
    } catch (error) {
      const isRefused = isPoolError(error, 'invalid_key', 'forbidden', 'host_not_allowed');
      if (isRefused && !isBackground) throw error;
      // Whatever else ended the stream, what follows is the same: connect again.
    } finally {
      if (isConnected) onState(false);
    }
    const delayMs = retryDelayMs(attempt, firstDelayMs, longestDelayMs);
    attempt += 1;
    await sleep(systemClock, delayMs, signal, !isBackground);
  }
}

async function* readAnswer(
  answer: IncomingMessage,
  silenceMs: number,
  /** Also called for an id without an event, by which the pool tells where to go on from. */
  onId: (id: string) => void,
): AsyncGenerator<PoolNews, void, undefined> {
  const unread: PoolNews[] = [];
  const parser = createParser({
    maxBufferSize: maxEventLength,
    onId: (id) => {
      if (eventId.test(id)) onId(id);
    },
    onEvent(message) {
      const news =
        message.event === 'reset'
          ? ({ type: 'reset' } as const)
          : poolEvent.safeParse(parseJson(message.data)).data;
      if (news !== undefined) unread.push(news);
    },
  });
  const decoder = new TextDecoder();
  let watchdog = setTimeout(() => answer.destroy(), silenceMs);
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      // While the loop is busy, silence is no sign of a dead connection.
      clearTimeout(watchdog);
      yield* unread.splice(0);
      watchdog = setTimeout(() => answer.destroy(), silenceMs);
    }
  } finally {
    clearTimeout(watchdog);
    answer.destroy();
  }
}
