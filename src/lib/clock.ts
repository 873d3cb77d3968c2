/** Where time comes from, so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970 in UTC. */
  now(): number;
  /** Runs `task` once after `delayMs`; the answer cancels it. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
