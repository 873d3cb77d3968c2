import type { Clock } from '../../lib/clock.ts';
import type { Pool, PoolHealth } from '../../pool-api/pool.ts';
import type { Readiness } from '../../pool-api/readiness.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';

const lookEveryMs = 3_000;
const lookWhileAwayMs = 1_000;
/** Changes of accounts come in crowds: one look tells of all that came within this time. */
const lookSoonMs = 250;

/** Whom the pool takes this gateway for, and how many accounts it withholds for that reason. */
export type PoolStanding = Pick<PoolHealth, 'caller' | 'gatewayOnly'>;

export interface PoolWatchHandlers {
  /** Called whenever that changes; at first the pool counts as reachable. `lacksStore`: its database does not answer. */
  onReach?(isReachable: boolean, lacksStore: boolean): void;
  /** Called with the first answer, and whenever it changes. */
  onStanding?(standing: PoolStanding): void;
}

/** What the gateway knows of the pool as a whole. */
export class PoolWatch {
  /** At first the pool counts as reachable. */
  isReachable = true;
  /** The pool answers, and its database does not. */
  lacksStore = false;
  /** False while the pool's database takes no changes. */
  isWritable = true;
  /** True while the pool lends sandbox accounts because it has no real one. */
  isSandbox = false;
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #handlers: PoolWatchHandlers;
  readonly #stop = new AbortController();
  #standing: PoolStanding = { caller: undefined, gatewayOnly: 0 };
  #providers: ReadonlySet<string> | undefined;
  #accounts: Readiness | undefined;
  #looks = 0;
  #lastAnswered = 0;
  #isTicking = false;
  #isDueSoon = false;
  #cancel = () => {};

  constructor(pool: Pool, clock: Clock, handlers: PoolWatchHandlers = {}) {
    this.#pool = pool;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#schedule();
    pool.subscribe(
      (event) => {
        if (this.#isTelling(event)) void this.look();
        else if (event.type === 'account-changed') this.#lookSoon();
      },
      () => void this.look(),
      this.#stop.signal,
    );
  }

  /** False while the pool answers and does not take this gateway's key. */
  get isAccepted(): boolean {
    return this.#standing.caller !== 'unknown';
  }

  /** How its accounts stand to this gateway; undefined while that is not known, and where the sandbox answers. */
  get accounts(): Readiness | undefined {
    return this.isSandbox ? undefined : this.#accounts;
  }

  /** Whether it has accounts of that provider which are not given up; undefined while that is not known. */
  hasAccounts(provider: string): boolean | undefined {
    return this.#providers?.has(provider);
  }

  /** Asks the pool now. */
  async look(): Promise<void> {
    this.#looks += 1;
    const number = this.#looks;
    const answer = await this.#pool.health();
    // A later question has been answered meanwhile.
    if (number < this.#lastAnswered) return;
    this.#lastAnswered = number;
    const hasChanged = answer.isReachable !== this.isReachable;
    this.isReachable = answer.isReachable;
    this.lacksStore = answer.lacksStore === true;
    this.isWritable = answer.isReadOnly !== true;
    if (hasChanged) this.#handlers.onReach?.(this.isReachable, this.lacksStore);
    if (!answer.isReachable) return;
    const { caller, gatewayOnly } = answer;
    const before = this.#standing;
    this.#standing = { caller, gatewayOnly };
    const isOther = caller !== before.caller || gatewayOnly > 0 !== before.gatewayOnly > 0;
    if (isOther) this.#handlers.onStanding?.(this.#standing);
    this.isSandbox = answer.isSandbox;
    this.#providers = answer.providers && new Set(answer.providers);
    this.#accounts = answer.accounts;
  }

  close(): void {
    this.#cancel();
    this.#stop.abort();
  }

  /** An account that comes may end the sandbox or be the first of its provider; one that goes may be the last. */
  #isTelling(event: PoolEvent): boolean {
    if (this.isSandbox || event.type === 'account-removed') return true;
    if (event.type !== 'account-changed') return false;
    const isGivenUp = event.status === 'disabled' || event.status === 'reauth_required';
    return this.#providers?.has(event.provider) === isGivenUp;
  }

  #lookSoon(): void {
    if (this.#isDueSoon) return;
    this.#isDueSoon = true;
    if (!this.#isTicking) this.#schedule();
  }

  #schedule(): void {
    this.#cancel();
    const delayMs = this.#isDueSoon ? lookSoonMs : this.isReachable ? lookEveryMs : lookWhileAwayMs;
    this.#cancel = this.#clock.after(delayMs, () => {
      this.#isTicking = true;
      this.#isDueSoon = false;
      void this.look().finally(() => {
        this.#isTicking = false;
        if (!this.#stop.signal.aborted) this.#schedule();
      });
    });
  }
}
