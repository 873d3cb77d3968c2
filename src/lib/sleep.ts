import type { Clock } from './clock.ts';

/** Resolves after `delayMs`, or when `signal` aborts; the signal says which. */
export function sleep(
  clock: Pick<Clock, 'after'>,
  delayMs: number,
  signal?: AbortSignal,
  isAwaited = false,
): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.after(delayMs, end, isAwaited);
    signal?.addEventListener('abort', end, { once: true });
  });
}
