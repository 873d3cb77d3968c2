import { randomUUID } from 'node:crypto';
import type { ProviderAccount } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { AccountDemand, LeaseDemand } from '../../pool-api/held-lease.ts';
import { isShort, LeaseEngine, type TurnLease } from '../../pool-api/lease-engine.ts';
import type { Pool } from '../../pool-api/pool.ts';
import type { LeasedAccount, ReportAnswer } from '../../pool-api/schema.ts';

export type { LeaseDemand } from '../../pool-api/held-lease.ts';
export type { TurnLease } from '../../pool-api/lease-engine.ts';

/** When to ask again for accounts that are busy: turns end all the time. */
const busyRetryMs = 2_000;

/** The accounts this gateway has borrowed: shared, with a session for each, so that they come and go with conversations. */
export class LeaseCache {
  readonly #engine: LeaseEngine;

  constructor(pool: Pick<Pool, 'allocate' | 'release' | 'subscribe'>, clock: Clock, logger: Logger) {
    const instance = randomUUID().slice(0, 8);
    let sessions = 0;
    this.#engine = new LeaseEngine({
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
      onReleaseFailed: (sessionId, err) =>
        logger.warn({ err, session_id: sessionId }, 'could not give an account back; it lapses by itself'),
    });
    this.#engine.follow();
  }

  /** Accounts borrowed at this moment. */
  get count(): number {
    return this.#engine.held.accounts.length;
  }

  /** A place that needs no call to the pool. Throws PoolError. */
  take(demand: AccountDemand): TurnLease | undefined {
    return this.#engine.take(demand);
  }

  /** Throws PoolError, or the signal's reason when it aborts. */
  async acquire(demand: LeaseDemand): Promise<TurnLease> {
    try {
      return await this.#engine.acquire(demand);
    } catch (error) {
      throw isShort(error) ? withHeldHere(error, this.#engine.held.countLive(demand)) : error;
    }
  }

  /** Call when an account of this provider ran out and is a free one: no other free one may replace it. */
  retireFree(provider: string): void {
    this.#engine.held.retireFree(provider);
  }

  /** The account is held here, and every place on it is taken. */
  isFull(accountId: string): boolean {
    return this.#engine.held.isFull(accountId);
  }

  /** What the pool answered to reports of that session. */
  noteReport(sessionId: string, results: ReportAnswer['results']): void {
    this.#engine.held.noteReport(sessionId, results);
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    await this.#engine.close(new PoolError('shutting_down', 'The gateway is stopping.'));
  }
}

/** A leased account as its provider needs it. */
export function providerAccountOf({ id_token, team_uid }: LeasedAccount): ProviderAccount {
  return { bearer: id_token, teamUid: team_uid ?? undefined };
}

/** The pool was asked for other accounts than the busy ones held here: its answer is completed with these. */
function withHeldHere(error: PoolError, busy: number): PoolError {
  const { shortage } = error;
  if (busy === 0 || !shortage) return error;
  const reasons = { ...shortage.reasons, leased: (shortage.reasons['leased'] ?? 0) + busy };
  return new PoolError('no_account_available', error.message, {
    cause: error,
    retryAfterMs: busyRetryMs,
    shortage: { ...shortage, reasons },
  });
}
