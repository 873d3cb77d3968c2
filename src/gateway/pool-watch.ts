import type { Clock } from '../lib/clock.ts';
import type { Pool } from '../pool-api/pool.ts';

/** What the gateway knows of the pool as a whole. */
export interface PoolWatch {
  readonly isReachable: boolean;
  /** True while the pool lends sandbox accounts because it has no real one. */
  readonly isSandbox: boolean;
  /** Asks the pool now. */
  look(): Promise<void>;
  close(): void;
}

const lookEveryMs = 5_000;

export function createPoolWatch(pool: Pool, clock: Clock): PoolWatch {
  let isReachable = true;
  let isSandbox = false;
  const stop = new AbortController();
  let cancel = clock.after(lookEveryMs, tick);

  // A real account that comes ends the sandbox: any news is a reason to look.
  pool.subscribe(
    (event) => {
      if (event.type === 'account-removed' || isSandbox) void look();
    },
    (isConnected) => {
      if (isConnected) void look();
    },
    stop.signal,
  );

  async function look(): Promise<void> {
    const answer = await pool.health();
    isReachable = answer.isReachable;
    if (answer.isReachable) isSandbox = answer.isSandbox;
  }

  function tick(): void {
    void look().finally(() => {
      if (!stop.signal.aborted) cancel = clock.after(lookEveryMs, tick);
    });
  }

  return {
    get isReachable() {
      return isReachable;
    },
    get isSandbox() {
      return isSandbox;
    },
    look,
    close() {
      cancel();
      stop.abort();
    },
  };
}
