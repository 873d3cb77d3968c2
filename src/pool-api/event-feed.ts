import type { PoolError } from './errors.ts';
import { type EventStreamOptions, followEvents } from './event-stream.ts';
import type { Transport } from './http-transport.ts';
import type { PoolEvent } from './schema.ts';

/** What a listener hears. `reset`: some events were missed for good, so what was known has to be asked for again. */
export type PoolNews = PoolEvent | { readonly type: 'reset' };

/** So many unread events, and those of one more read, are kept; then the pool is left to wait. */
const mostUnread = 256;

/**
 * The pool's events for a loop, from the first `next()` on. A slow loop slows the reading, not memory down; if it falls
 * so far behind that the pool cuts it off, it hears `reset`. Ends with the signal; throws PoolError when the key is refused.
 */
export async function* readNews(
  transport: Transport,
  options: EventStreamOptions,
  onState: (isConnected: boolean) => void,
  signal: AbortSignal,
): AsyncGenerator<PoolNews, void, undefined> {
  const unread: PoolNews[] = [];
  let refusal: PoolError | undefined;
  let wakeReader = () => {};
  let wakeWriter = () => {};
  const push = (news: PoolNews): void => {
    unread.push(news);
    wakeReader();
  };
  const leaving = new AbortController();
  const either = AbortSignal.any([signal, leaving.signal]);
  const onAbort = () => {
    wakeReader();
    wakeWriter();
  };
  either.addEventListener('abort', onAbort, { once: true });
  const following = followEvents(
    transport,
    options,
    {
      onEvent: push,
      onState,
      onReset: () => push({ type: 'reset' }),
      onRefused(error) {
        refusal = error;
        wakeReader();
      },
      whenReady() {
        if (unread.length < mostUnread || either.aborted) return undefined;
        return new Promise((resolve) => {
          wakeWriter = resolve;
        });
      },
    },
    either,
  );
  try {
    while (!signal.aborted) {
      const news = unread.shift();
      if (news !== undefined) {
        if (unread.length === 0) wakeWriter();
        yield news;
      } else if (refusal !== undefined) {
        throw refusal;
      } else {
        await new Promise<void>((resolve) => {
          wakeReader = resolve;
        });
      }
    }
  } finally {
    leaving.abort();
    await following;
  }
}
