import type { LeaseDemand } from './held-lease.ts';
import type { TurnLease } from './turn-lease.ts';

const none: ReadonlySet<string> = new Set();

/** A turn for which no place was free when it came. */
export class Waiter {
  readonly answer: Promise<TurnLease>;
  readonly outagesBefore: number;
  lastError: unknown;
  /** Accounts its call at the pool left out because they were held here. */
  leftOut = none;
  /** Ends its call at the pool or its pause, and begins another call. */
  askAgain: () => void = () => {};
  /** Ends the wait; does nothing once it is over. */
  readonly resolve: (lease: TurnLease) => void;
  readonly reject: (error: unknown) => void;
  #demand: LeaseDemand;
  readonly #over = new AbortController();

  constructor(demand: LeaseDemand, outagesBefore: number) {
    this.#demand = demand;
    this.outagesBefore = outagesBefore;
    let resolveAnswer!: (lease: TurnLease) => void;
    let rejectAnswer!: (error: unknown) => void;
    this.answer = new Promise((resolve, reject) => {
      resolveAnswer = resolve;
      rejectAnswer = reject;
    });
    const onAbort = () => this.reject(demand.signal?.reason);
    const end = (answer: () => void) => {
      if (this.isOver) return;
      demand.signal?.removeEventListener('abort', onAbort);
      answer();
      this.#over.abort();
    };
    this.resolve = (lease) => end(() => resolveAnswer(lease));
    this.reject = (error) => end(() => rejectAnswer(error));
    demand.signal?.addEventListener('abort', onAbort, { once: true });
  }

  get demand(): LeaseDemand {
    return this.#demand;
  }

  /** Aborts when the wait is over, however it ended. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** The preferred account is not to be had. */
  forgetPreference(): void {
    this.#demand = { ...this.#demand, prefer: undefined };
  }
}
