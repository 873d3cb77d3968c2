import { uptime } from 'node:os';

/** Where time comes from, so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970 in UTC, without steps: for times that are shown, stored or compared with another process. */
  now(): number;
  /** Milliseconds since some moment, for intervals: no step of the wall clock moves it. */
  monotonic(): number;
  /** Milliseconds since the machine started, its sleep included: for what has to be so far apart whatever the wall clock does. */
  elapsed(): number;
  /** Runs `task` once after `delayMs`; the answer cancels it. Keeps the process alive only where a caller waits for it. */
  after(delayMs: number, task: () => void, isAwaited?: boolean): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  elapsed: () => uptime() * 1_000,
  after(delayMs, task, isAwaited = false) {
    // Of a time that has passed meanwhile Node warns.
    const timer = setTimeout(task, Math.max(0, delayMs));
    if (!isAwaited) timer.unref();
    return () => clearTimeout(timer);
  },
};

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
export function createSteadyClock(machine: Clock = systemClock): Clock {
  let at = machine.now();
  let seenAt = machine.monotonic();
  let aheadMs = machine.elapsed() - seenAt;
  let sleptAt = seenAt;

  function sleptMs(seen: number): number {
    // It is read from the system: not for every call.
    if (seen - sleptAt < 1_000) return 0;
    sleptAt = seen;
    const slept = machine.elapsed() - seen - aheadMs;
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

/** Between two ticks no more than this counts. */
const mostBetweenTicksMs = 2_000;

/**
 * The time in which this process could receive data, in milliseconds. A pause of the process (a stopped or sleeping
 * machine, a long block) hardly counts, so that silence is judged only after what came meanwhile has been read.
 */
export class ListeningTime {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #counted = 0;
  #tickedAt: number;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
    this.#tickedAt = clock.monotonic();
  }

  readonly now = (): number =>
    this.#counted + Math.min(mostBetweenTicksMs, this.#clock.monotonic() - this.#tickedAt);

  /** To be called several times in that span. Answers `now`. */
  tick(): number {
    this.#counted = this.now();
    this.#tickedAt = this.#clock.monotonic();
    return this.#counted;
  }
}

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

/**
 * Runs `onLate` once after `limitMs`; the answer cancels it. After a pause of this process its limits are over before it has read
 * what came meanwhile: that is read first, and an answer among it can still cancel.
 */
export function afterReading(
  clock: Pick<Clock, 'after'>,
  limitMs: number,
  onLate: () => void,
  isAwaited = false,
): () => void {
  let late: NodeJS.Immediate | undefined;
  const cancel = clock.after(
    limitMs,
    () => {
      late = setImmediate(onLate);
    },
    isAwaited,
  );
  return () => {
    cancel();
    clearImmediate(late);
  };
}

const isLate = Symbol('late');

/** What `task` answers; what `onLate` returns, or throws, when that takes longer than `limitMs`. The task itself goes on. */
export async function within<Value, Late = undefined>(
  task: Promise<Value>,
  clock: Pick<Clock, 'after'>,
  limitMs: number,
  onLate: () => Late = () => undefined as Late,
): Promise<Value | Late> {
  let cancel = () => {};
  const late = new Promise<typeof isLate>((resolve) => {
    cancel = afterReading(clock, limitMs, () => resolve(isLate));
  });
  try {
    const first = await Promise.race([task, late]);
    return first === isLate ? onLate() : first;
  } finally {
    cancel();
  }
}

/** Whether it is the name of a time zone, such as Europe/Berlin. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
