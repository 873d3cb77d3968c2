/** Where the client library takes time from, so that tests can move it; the services' own clock fits. */
export interface Timing {
  /** Milliseconds since 1970: for times that are shown or stored. */
  now(): number;
  /** Milliseconds since some moment, for intervals: no step of the wall clock moves it. */
  monotonic(): number;
  /** Runs `task` once after `delayMs`; the answer cancels it. Keeps the process alive only where somebody waits for it. */
  after(delayMs: number, task: () => void, isAwaited?: boolean): () => void;
}

export const systemTiming: Timing = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, task, isAwaited = false) {
    const timer = setTimeout(task, delayMs);
    if (!isAwaited) timer.unref();
    return () => clearTimeout(timer);
  },
};
