import type { Quota } from '../accounts/quota.ts';
import { type Origin, retireDead } from '../accounts/removal.ts';
import type { Basics } from '../base/basics.ts';
import { logFailure } from '../base/failures.ts';
import type { StoreHealth } from '../base/observed-store.ts';
import type { LendingStore } from '../lending/lending-store.ts';
import type { Replenisher } from '../replenish/replenish.ts';

const roundEveryMs = 5000;
const queryLimitMs = 5000;
const queriesAtOnce = 3;

interface Tended {
  readonly lending: LendingStore;
  readonly quota: Quota;
  readonly sources: readonly Origin[];
  readonly replenisher: Replenisher;
  readonly storeHealth: StoreHealth;
}

/** The timer that ends what has expired, fills the pool, and asks again about accounts that are out or unproved. */
export class Housekeeper {
  readonly #basics: Basics;
  readonly #tended: Tended;
  #stopTimer = (): void => {};
  #isStopped = false;
  #round = Promise.resolve();

  constructor(basics: Basics, tended: Tended) {
    this.#basics = basics;
    this.#tended = tended;
  }

  start(): void {
    if (this.#isStopped) return;
    const { clock, logger } = this.#basics;
    this.#stopTimer = clock.after(roundEveryMs, () => {
      this.#round = this.#doRound()
        .catch((error: unknown) =>
          logFailure(logger, error, 'a round of housekeeping failed; the next one follows'),
        )
        .then(() => this.start());
    });
  }

  /** Answers when the present round has ended. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopTimer();
    return this.#round;
  }

  async #doRound(): Promise<void> {
    const { store, clock } = this.#basics;
    const { lending, quota, sources, replenisher, storeHealth } = this.#tended;
    await storeHealth.probe(store);
    for (const one of new Set([store, lending.current])) await one.housekeep(clock.now());
    await retireDead(this.#basics, sources);
    replenisher.tend();
    const due = await store.claimQuotaChecks(clock.now(), queriesAtOnce);
    await Promise.all(
      due.map((account) =>
        quota.check(account, account.probe === 'proved' ? 'recheck' : 'proof', queryLimitMs),
      ),
    );
  }
}
