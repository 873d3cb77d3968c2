import type { Clock } from '../lib/clock.ts';
import { sleep } from '../lib/sleep.ts';
import { isAway, PoolError } from './errors.ts';
import type { HeldSession } from './held-session.ts';
import type { LeasedAccount } from './schema.ts';

/** What to send to the provider, and on whose account. */
export interface Bearer {
  readonly token: string;
  /** Null for a bearer that does not expire. */
  readonly expiresAt: Date | null;
  readonly account: LeasedAccount;
}

export interface BearerDemand {
  /** This account of the session; absent: the first with a bearer that lasts. */
  readonly accountId?: string | undefined;
  /** How long the bearer has to last, in milliseconds. */
  readonly validForMs: number;
  readonly waitMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** An answer of the pool this young is believed without asking. */
const confirmedForMs = 15_000;
/** How long to wait for another account before the own ones are looked at again. */
const lookAgainMs = 2_000;

/**
 * A bearer that has not run out: from memory, from the pool, or from another account when the pool has no fresh one for
 * those that are held. While the pool is unreachable it goes on with what it has until that lapses.
 */
export async function findBearer(session: HeldSession, timing: Clock, demand: BearerDemand): Promise<Bearer> {
  const { accountId, validForMs, signal } = demand;
  const deadline = timing.monotonic() + demand.waitMs;
  const ours = () => session.matching.filter(({ id }) => accountId === undefined || id === accountId);
  const fresh = () => {
    const account = session.isLive()
      ? ours().find((candidate) => session.isFresh(candidate, validForMs))
      : undefined;
    return account === undefined ? undefined : bearerOf(account);
  };

  const remembered = fresh();
  if (remembered && timing.monotonic() - session.confirmedAt < confirmedForMs) return remembered;
  try {
    if (session.isLive()) await session.confirm(signal);
    const confirmed = fresh();
    if (confirmed) return confirmed;
    if (!session.isLive()) await session.ensure({ wait_ms: leftMs() }, signal);
  } catch (error) {
    const present = fresh();
    if (present && isAway(error)) return present;
    throw error;
  }

  for (;;) {
    const found = fresh();
    if (found) return found;
    if (accountId !== undefined && ours().length === 0) throw noSuchLease(accountId);
    const waitMs = Math.min(leftMs(), lookAgainMs);
    const stale = ours();
    if (accountId === undefined) {
      await replace(stale, waitMs);
    } else {
      await waitFor(waitMs);
      await session.confirm(signal);
    }
    const later = fresh();
    if (later) return later;
    if (leftMs() === 0) throw aboutToLapse();
  }

  function leftMs(): number {
    return Math.max(0, Math.floor(deadline - timing.monotonic()));
  }

  /** Another account for those whose bearers run out; they go back once it is there. */
  async function replace(stale: readonly LeasedAccount[], waitMs: number): Promise<void> {
    const { exclude = [] } = session.request;
    try {
      const ids = stale.map(({ id }) => id);
      await session.ensure({ exclude: [...new Set([...exclude, ...ids])], wait_ms: waitMs }, signal);
    } catch (error) {
      if (!(error instanceof PoolError) || error.code !== 'no_account_available') throw error;
      // None can be had now: where that was said at once, the own accounts' refresh is waited for.
      await waitFor(Math.min(waitMs, leftMs()));
      return session.confirm(signal);
    }
    if (stale.length === 0) return;
    await session.giveBackLapsed(stale);
  }

  async function waitFor(waitMs: number): Promise<void> {
    signal?.throwIfAborted();
    await sleep(timing, waitMs, signal, true);
    signal?.throwIfAborted();
  }
}

function bearerOf(account: LeasedAccount): Bearer {
  const { token_expires_at: expiresAt } = account;
  return {
    token: account.id_token,
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
    account,
  };
}

function noSuchLease(accountId: string): PoolError {
  return new PoolError('account_not_found', `This session does not hold account ${accountId} any more.`, {
    param: 'accountId',
  });
}

function aboutToLapse(): PoolError {
  const message = 'The bearers that could be had are about to lapse and cannot be refreshed yet; try again.';
  return new PoolError('no_account_available', message, { retryAfterMs: 5_000 });
}
