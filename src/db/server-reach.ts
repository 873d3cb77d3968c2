import { withJitter } from '../lib/backoff.ts';
import { systemClock, within } from '../lib/clock.ts';

/** Without an answer to anything, the server is asked so often whether it is there. */
const lookEveryMs = 2000;
/** One question that takes longer counts as not answered. */
const lookLimitMs = 3000;
/** A database that has answered nothing for so long counts as unreachable: a restart is over by then. */
export const awayAfterMs = 5000;
const lookAgainMs = 500;
/** While it is unreachable; a third more or less, so that many instances do not return together. */
const lookWhileAwayMs = 1000;

export interface ServerReachOptions {
  /** One cheap question to the server. */
  look(): Promise<unknown>;
  /** Calls fail at once from now on, until it answers. */
  onAway(cause: unknown): void;
  onBack(awayForMs: number): void;
}

/**
 * Whether a database server answers. Calls say what they met; while there are none, or none of them is answered, it looks
 * for itself. So one place decides when to stop waiting: no call waits longer for a server that is known to be unreachable.
 */
export class ServerReach {
  readonly #options: ServerReachOptions;
  #answeredAt = performance.now();
  /** What went wrong since the last answer; undefined while it answers. */
  failure: unknown;
  /** Nothing was answered for seconds. */
  isAway = false;
  #awaySince = 0;
  #isLooking = false;
  #isClosed = false;
  #lookTimer: NodeJS.Timeout | undefined;
  #awayTimer: NodeJS.Timeout | undefined;
  #back = Promise.withResolvers<void>();

  constructor(options: ServerReachOptions) {
    this.#options = options;
    this.#lookAfter(lookEveryMs);
  }

  /** False from the first failure to the next answer. */
  get isReachable(): boolean {
    return this.failure === undefined;
  }

  /** Resolves when the server is not, or no longer, away, and when this is closed. */
  async whenBack(): Promise<void> {
    if (this.isAway) await this.#back.promise;
  }

  /** The server has answered, be it with an error. */
  answered(): void {
    this.#answeredAt = performance.now();
    if (this.failure === undefined && this.#awayTimer === undefined) return;
    this.failure = undefined;
    clearTimeout(this.#awayTimer);
    this.#awayTimer = undefined;
    if (!this.isAway) return;
    this.isAway = false;
    this.#back.resolve();
    this.#back = Promise.withResolvers();
    this.#options.onBack(performance.now() - this.#awaySince);
  }

  /** A connection was lost, or could not be made. */
  failed(error: unknown): void {
    this.#doubt();
    this.failure ??= error;
    if (!this.isAway) void this.#look();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#lookTimer);
    clearTimeout(this.#awayTimer);
    this.#back.resolve();
  }

  #doubt(): void {
    if (this.isAway || this.#isClosed) return;
    // A process that was suspended reads first what has arrived meanwhile.
    this.#awayTimer ??= setTimeout(() => setImmediate(() => this.#giveUp()), awayAfterMs).unref();
  }

  #giveUp(): void {
    if (this.#awayTimer === undefined || this.#isClosed) return;
    this.#awayTimer = undefined;
    this.failure ??= noAnswer(awayAfterMs);
    this.isAway = true;
    this.#awaySince = this.#answeredAt;
    this.#options.onAway(this.failure);
  }

  #lookAfter(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#lookTimer);
    this.#lookTimer = setTimeout(() => void this.#look(), delayMs).unref();
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return;
    const idleMs = performance.now() - this.#answeredAt;
    if (this.failure === undefined && idleMs < lookEveryMs) {
      this.#lookAfter(lookEveryMs - idleMs);
      return;
    }
    this.#isLooking = true;
    this.#doubt();
    try {
      // An answer that comes too late is one, too.
      const looking = this.#options.look().then(() => this.answered());
      await within(looking, systemClock, lookLimitMs, () => {
        throw noAnswer(lookLimitMs);
      });
      this.#lookAfter(lookEveryMs);
    } catch (error) {
      this.failure = error;
      const pauseMs = this.isAway ? lookWhileAwayMs : lookAgainMs;
      this.#lookAfter(withJitter(pauseMs, 2 / 3, 4 / 3));
    } finally {
      this.#isLooking = false;
    }
  }
}

function noAnswer(limitMs: number): Error {
  return new Error(`no answer within ${limitMs / 1000} s`);
}
