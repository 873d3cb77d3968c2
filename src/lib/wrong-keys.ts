import type { Clock } from './clock.ts';
import type { Logger } from './logger.ts';

const quietMs = 60_000;

/** Logs requests with wrong keys, so that guessing is noticed: the first immediately, then at most one line a minute. */
export function createWrongKeyLog(logger: Logger, clock: Pick<Clock, 'monotonic'>): () => void {
  let count = 0;
  let quietUntil = Number.NEGATIVE_INFINITY;
  return () => {
    count += 1;
    if (clock.monotonic() < quietUntil) return;
    logger.warn({ requests: count }, 'requests with a wrong key were refused');
    count = 0;
    quietUntil = clock.monotonic() + quietMs;
  };
}
