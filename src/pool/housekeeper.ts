import type { PoolContext } from './pool-context.ts';
import { retireDead } from './removal.ts';
import type { Replenisher } from './replenish.ts';
import { logFailure } from './server-errors.ts';
import type { WriteWatch } from './write-watch.ts';

/** The timer that ends what is over, fills the pool, and asks again about accounts that are out or unproved. */
export interface Housekeeper {
  start(): void;
  /** Answers when the round under way has ended. */
  stop(): Promise<void>;
}

const roundEveryMs = 5000;
const queryLimitMs = 5000;
const queriesAtOnce = 3;

export function createHousekeeper(
  context: PoolContext,
  replenisher: Pick<Replenisher, 'tend'>,
  writes: Pick<WriteWatch, 'isProbeDue' | 'probe'>,
): Housekeeper {
  const { clock, logger, store } = context;
  let stopTimer = (): void => {};
  let isStopped = false;
  let round = Promise.resolve();

  const doRound = async (): Promise<void> => {
    if (writes.isProbeDue) await writes.probe(store);
    const lending = context.lending();
    context.tell(await store.housekeep(clock.now()));
    if (lending !== store) context.tell(await lending.housekeep(clock.now()));
    await retireDead(context);
    replenisher.tend();
    const due = await store.claimQuotaChecks(clock.now(), queriesAtOnce);
    await Promise.all(
      due.map((account) =>
        context.checkQuota(account, account.probe === 'proved' ? 'recheck' : 'proof', queryLimitMs),
      ),
    );
  };

  const schedule = (): void => {
    if (isStopped) return;
    stopTimer = clock.after(roundEveryMs, () => {
      round = doRound()
        .catch((error: unknown) =>
          logFailure(logger, error, 'a round of housekeeping failed; the next one follows'),
        )
        .then(schedule);
    });
  };

  return {
    start: schedule,
    stop() {
      isStopped = true;
      stopTimer();
      return round;
    },
  };
}
