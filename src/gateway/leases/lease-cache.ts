import { randomUUID } from 'node:crypto';
import type { ProviderAccount } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { isShort, PoolError, shortToo } from '../../pool-api/errors.ts';
import type { LeaseDemand } from '../../pool-api/held-lease.ts';
import { LeaseEngine } from '../../pool-api/lease-engine.ts';
import type { Pool } from '../../pool-api/pool.ts';
import type { LeasedAccount } from '../../pool-api/schema.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';

/** Their requests are held in memory meanwhile. */
const mostWaiting = 1_000;
/** When to ask again for accounts that are busy, at the earliest: turns end all the time. */
const busyRetryMs = 2_000;

/** The accounts this gateway has borrowed: shared, with a session for each, so that they come and go with conversations. */
export class LeaseCache extends LeaseEngine {
  constructor(pool: Pick<Pool, 'allocate' | 'release' | 'subscribe'>, clock: Clock, logger: Logger) {
    const instance = randomUUID().slice(0, 8);
    let sessions = 0;
    super({
      pool,
      timing: clock,
      request: { exclusive: false, slots: 1, ttl_seconds: 120 },
      sessions: {
        each() {
          sessions += 1;
          return `gateway:${instance}:${sessions}`;
        },
      },
      count: Number.POSITIVE_INFINITY,
      minimum: 0,
      idleMs: 60_000,
      answerLimitMs: 10_000,
      waitsForPool: false,
      mostWaiting,
      onReleaseFailed: (sessionId, err) =>
        logger.warn({ err, session_id: sessionId }, 'could not give an account back; it lapses by itself'),
    });
    this.follow();
  }

  /** Throws PoolError, or the signal's reason when it aborts. */
  override async acquire(demand: LeaseDemand): Promise<TurnLease> {
    try {
      return await super.acquire(demand);
    } catch (error) {
      // The pool was asked for other accounts than the busy ones held here.
      const busy = this.held.suiting(demand).size;
      if (busy === 0 || !isShort(error) || !error.shortage) throw error;
      throw shortToo(error, 'leased', busy, Math.max(busyRetryMs, this.expectedWaitMs(demand)));
    }
  }

  /** Gives everything back. */
  override close(): Promise<void> {
    return super.close(new PoolError('shutting_down', 'The gateway is stopping.'));
  }
}

/** A leased account as its provider needs it. */
export function providerAccountOf({ id_token, team_uid }: LeasedAccount): ProviderAccount {
  return { bearer: id_token, teamUid: team_uid ?? undefined };
}
