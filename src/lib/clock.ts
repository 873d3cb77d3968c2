import { uptime } from 'node:os';

/** Where time comes from, so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970 in UTC, without steps: for times that are shown, stored or compared with another process. */
  now(): number;
  /** Milliseconds since some moment, for intervals: no step of the wall clock moves it. */
  monotonic(): number;
  /** Runs `task` once after `delayMs`; the answer cancels it. Keeps the process alive only where a caller waits for it. */
  after(delayMs: number, task: () => void, isAwaited?: boolean): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, task, isAwaited = false) {
    const timer = setTimeout(task, delayMs);
    if (!isAwaited) timer.unref();
    return () => clearTimeout(timer);
  },
};

let shownSecond = Number.NaN;
let shownUntilSecond = '';

/** A time in milliseconds as ISO 8601 has it, as `toISOString` writes it: the calendar is asked once a second. */
export function isoTime(at: number): string {
  const second = Math.floor(at / 1000);
  if (second !== shownSecond) {
    shownUntilSecond = new Date(second * 1000).toISOString().slice(0, -4);
    shownSecond = second;
  }
  return `${shownUntilSecond}${String(Math.floor(at) - second * 1000).padStart(3, '0')}Z`;
}

/** How much of the time that passes goes into following a wall clock that was set. */
const followingShare = 0.1;
/** A wall clock further off than this was wrong before it was set, as on a machine that boots in 1970 without a clock. */
const longestToFollowMs = 24 * 60 * 60_000;
/** Less than this is how coarse the uptime is, and no sleep. */
const shortestSleepMs = 2_000;

/**
 * The machine's clock without its steps. When the wall clock is set, this one follows at a tenth of the speed of time, so
 * that no session, rest or bearer ends early or lasts for hours. A step of more than a day is taken over at once. While
 * the machine sleeps it goes on.
 */
export function createSteadyClock(
  machine: Clock = systemClock,
  /** Milliseconds since the machine started, its sleep included. */
  uptimeMs: () => number = () => uptime() * 1_000,
): Clock {
  let at = machine.now();
  let seenAt = machine.monotonic();
  let aheadMs = uptimeMs() - seenAt;
  let sleptAt = seenAt;

  function sleptMs(seen: number): number {
    // The uptime is read from the system: not for every call.
    if (seen - sleptAt < 1_000) return 0;
    sleptAt = seen;
    const slept = uptimeMs() - seen - aheadMs;
    if (Math.abs(slept) < shortestSleepMs) return 0;
    aheadMs += slept;
    return Math.max(0, slept);
  }

  return {
    ...machine,
    now() {
      const seen = machine.monotonic();
      const passed = seen - seenAt + sleptMs(seen);
      seenAt = seen;
      at += passed;
      const off = machine.now() - at;
      const most = Math.abs(off) > longestToFollowMs ? Number.POSITIVE_INFINITY : passed * followingShare;
      at += Math.max(-most, Math.min(most, off));
      return Math.round(at);
    },
  };
}
