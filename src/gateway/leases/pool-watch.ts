import type { Clock } from '../../lib/clock.ts';
import type { Pool, PoolHealth } from '../../pool-api/pool.ts';
import type { Readiness } from '../../pool-api/readiness.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';

/** What the gateway knows of the pool as a whole. */
export interface PoolWatch {
  readonly isReachable: boolean;
  /** The pool answers, and its database does not. */
  readonly lacksStore?: boolean;
  /** False while the pool's database takes no changes. */
  readonly isWritable: boolean;
  /** False while the pool answers and does not take this gateway's key. */
  readonly isAccepted: boolean;
  /** True while the pool lends sandbox accounts because it has no real one. */
  readonly isSandbox: boolean;
  /** How its accounts stand to this gateway; undefined while that is not known, and where the sandbox answers. */
  readonly accounts?: Readiness | undefined;
  /** Whether it has accounts of that provider which are not given up; undefined while that is not known. */
  hasAccounts(provider: string): boolean | undefined;
  /** Asks the pool now. */
  look(): Promise<void>;
  close(): void;
}

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

export function createPoolWatch(pool: Pool, clock: Clock, handlers: PoolWatchHandlers = {}): PoolWatch {
  let isReachable = true;
  let lacksStore = false;
  let isWritable = true;
  let standing: PoolStanding = { caller: undefined, gatewayOnly: 0 };
  let isSandbox = false;
  let providers: ReadonlySet<string> | undefined;
  let accounts: Readiness | undefined;
  let looks = 0;
  let lastAnswered = 0;
  let isTicking = false;
  let isDueSoon = false;
  const stop = new AbortController();
  let cancel = clock.after(lookEveryMs, tick);

  pool.subscribe(
    (event) => {
      if (isTelling(event)) void look();
      else if (event.type === 'account-changed') lookSoon();
    },
    () => void look(),
    stop.signal,
  );

  /** An account that comes may end the sandbox or be the first of its provider; one that goes may be the last. */
  function isTelling(event: PoolEvent): boolean {
    if (isSandbox || event.type === 'account-removed') return true;
    if (event.type !== 'account-changed') return false;
    const isGivenUp = event.status === 'disabled' || event.status === 'reauth_required';
    return providers?.has(event.provider) === isGivenUp;
  }

  async function look(): Promise<void> {
    looks += 1;
    const number = looks;
    const answer = await pool.health();
    // A later question has been answered meanwhile.
    if (number < lastAnswered) return;
    lastAnswered = number;
    const hasChanged = answer.isReachable !== isReachable;
    isReachable = answer.isReachable;
    lacksStore = answer.lacksStore === true;
    isWritable = answer.isReadOnly !== true;
    if (hasChanged) handlers.onReach?.(isReachable, lacksStore);
    if (!answer.isReachable) return;
    const { caller, gatewayOnly } = answer;
    const isOther = caller !== standing.caller || gatewayOnly > 0 !== standing.gatewayOnly > 0;
    standing = { caller, gatewayOnly };
    if (isOther) handlers.onStanding?.(standing);
    isSandbox = answer.isSandbox;
    providers = answer.providers && new Set(answer.providers);
    accounts = answer.accounts;
  }

  function lookSoon(): void {
    if (isDueSoon) return;
    isDueSoon = true;
    if (!isTicking) schedule();
  }

  function schedule(): void {
    cancel();
    cancel = clock.after(isDueSoon ? lookSoonMs : isReachable ? lookEveryMs : lookWhileAwayMs, tick);
  }

  function tick(): void {
    isTicking = true;
    isDueSoon = false;
    void look().finally(() => {
      isTicking = false;
      if (!stop.signal.aborted) schedule();
    });
  }

  return {
    get isReachable() {
      return isReachable;
    },
    get lacksStore() {
      return lacksStore;
    },
    get isWritable() {
      return isWritable;
    },
    get isAccepted() {
      return standing.caller !== 'unknown';
    },
    get isSandbox() {
      return isSandbox;
    },
    get accounts() {
      return isSandbox ? undefined : accounts;
    },
    hasAccounts: (provider) => providers?.has(provider),
    look,
    close() {
      cancel();
      stop.abort();
    },
  };
}
