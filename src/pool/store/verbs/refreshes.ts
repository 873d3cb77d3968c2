import { randomUUID } from 'node:crypto';
import type { Queries } from '../../../db/database.ts';
import { isOutOfService, withDeadToken, withFreshToken } from '../../standing/standing.ts';
import {
  type AccountRow,
  accountFrom,
  asFlag,
  failureOf,
  failuresInARow,
  standingFrom,
} from '../rules/rows.ts';
import type {
  Credential,
  RefreshDemand,
  RefreshedCredential,
  RefreshFailed,
  RefreshFailure,
  StoredAccount,
} from '../store.ts';
import { lastAttempt, notCounted, rememberCredential } from './accounts.ts';
import {
  isLastActive,
  lockAccount,
  mustHaveRow,
  saveStanding,
  type Transaction,
  updateAccount,
} from './transaction.ts';

/** The journal of refreshes. All of it happens under the account's lock, so that instances take turns. */

interface AttemptRow {
  readonly seq: number;
  readonly id: string;
  readonly account_id: string;
  readonly actor: string;
  readonly intent_at: number;
  readonly opens_at: number;
  readonly limit_at: number;
  readonly token_version: number;
  readonly state: string;
}

/** Ended attempts are kept for so long, at least. */
const attemptsKeptMs = 48 * 60 * 60_000;

const interruptedMessage = 'The process ended between asking for a token and storing the answer.';

/**
 * Writes the intent to refresh, durably, before the token endpoint is called; or answers why not. One at a time for an
 * account, and never two intents that count within `minIntervalMs`. An intent counts unless it ended as `unsent` or
 * `refused`, and goes on counting for its credentials when the account is removed and added again. `too_early` moves the
 * account's next refresh to that time if it was due before.
 */
export async function claimRefresh(tx: Transaction, demand: RefreshDemand) {
  const { db, now } = tx;
  /** No such account, an API key, or out of service. */
  const refused = (reason: string) => ({ result: 'not_refreshable' as const, reason });
  const found = await lockAccount(tx, demand.accountId);
  if (found === undefined) return refused('no such account');
  if (found.credential_kind === 'api_key') return refused('API key: nothing to refresh');
  if (isOutOfService(found)) return refused(`the account is ${found.state}`);
  await followClockBack(tx, found.id);
  const underWay = await db.get<AttemptRow>(
    "SELECT * FROM refreshes /* INDEXED BY refreshes_under_way */ WHERE account_id = $1 AND state = 'intent'",
    found.id,
  );
  // Another caller or instance is refreshing it.
  if (underWay !== undefined && underWay.limit_at > now) return { result: 'under_way' as const };
  if (underWay !== undefined) await markInterrupted(tx, underWay);

  const row = await mustHaveRow(tx, found.id);
  const ceiling = ((await lastAttempt(tx, row.id)) ?? Number.NEGATIVE_INFINITY) + demand.minIntervalMs;
  const backoff = failureOf(row)?.retryAt ?? Number.NEGATIVE_INFINITY;
  const nextAt = Math.max(ceiling, backoff);
  if (!demand.force && nextAt > now) {
    if ((row.next_refresh_at ?? 0) < nextAt) await moveRefresh(tx, row.id, nextAt);
    const reason = ceiling >= backoff ? ('ceiling' as const) : ('backoff' as const);
    return { result: 'too_early' as const, reason, nextAt };
  }
  const refreshId = randomUUID();
  await db.run(
    "DELETE FROM refreshes WHERE account_id = $1 AND intent_at < $2 AND state <> 'intent'",
    row.id,
    now - Math.max(attemptsKeptMs, 2 * demand.minIntervalMs),
  );
  await db.run(
    `INSERT INTO refreshes (id, account_id, instance, actor, forced, intent_at, opens_at, limit_at, token_version, state)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'intent')`,
    refreshId,
    row.id,
    demand.instance,
    demand.actor,
    asFlag(demand.force),
    now,
    now + demand.minIntervalMs,
    now + demand.limitMs,
    row.token_version,
  );
  if (nextAt > now) {
    const detail = { past_ceiling: ceiling > now, past_backoff: backoff > now };
    await tx.audit({ actor: demand.actor, action: 'ceiling-passed', accountId: row.id, detail });
  }
  return {
    result: 'claimed' as const,
    refreshId,
    /** When the intent was written: the ceiling counts from here. */
    intentAt: now,
    account: accountFrom(row),
    /**
     * Since the last token of this credential an attempt was interrupted or ended `unknown`: a token may have been issued and
     * lost, which would explain an `invalid_grant`.
     */
    followsInterruption: await followsInterruption(tx, row),
    /** No other account of the provider is active, or rests until some time. */
    isLastUsable: (await isLastActive(tx, row)) && (await hasNoneResting(tx, row)),
  };
}

/** Attempts in the future were made before the clock was set back: their times are moved back by as much. */
async function followClockBack(tx: Transaction, id: string): Promise<void> {
  const last = await tx.db.get<{ at: number | null }>(
    'SELECT MAX(COALESCE(finished_at, intent_at)) AS at FROM refreshes WHERE account_id = $1',
    id,
  );
  const aheadMs = (last?.at ?? tx.now) - tx.now;
  if (aheadMs <= 0) return;
  await tx.db.run(
    `UPDATE refreshes SET intent_at = intent_at - $2, finished_at = finished_at - $2, opens_at = opens_at - $2,
       limit_at = limit_at - $2 WHERE account_id = $1`,
    id,
    aheadMs,
  );
  const failure = failureOf(await mustHaveRow(tx, id));
  if (!failure?.retryAt) return;
  const earlier = { ...failure, retryAt: failure.retryAt - aheadMs };
  await updateAccount(tx, id, { refresh_failure: JSON.stringify(earlier satisfies RefreshFailure) });
}

/**
 * The fingerprint a rotated credential is known by. Where another account has this very one (added twice), the account
 * keeps its own: the token must be stored whatever else.
 */
async function fingerprintFor(
  tx: Transaction,
  row: AccountRow,
  credential: Credential | undefined,
): Promise<string> {
  if (credential === undefined) return row.credential_fingerprint;
  const other = await tx.db.get(
    'SELECT 1 FROM accounts WHERE provider = $1 AND credential_fingerprint = $2 AND id <> $3',
    row.provider,
    credential.fingerprint,
    row.id,
  );
  return other === undefined ? credential.fingerprint : row.credential_fingerprint;
}

/** Whether no other account of its provider recovers at a known time. */
async function hasNoneResting(tx: Transaction, row: AccountRow): Promise<boolean> {
  const other = await tx.db.get(
    `SELECT 1 FROM accounts /* INDEXED BY accounts_resting_by_provider */ WHERE state_until IS NOT NULL AND provider = $1 AND id <> $2
       AND state IN ('cooldown', 'exhausted') LIMIT 1`,
    row.provider,
    row.id,
  );
  return other === undefined;
}

/**
 * Stores what the token endpoint gave, durably, before it is used. Raises the token version, ends a cooldown that a missing,
 * lapsed or rejected bearer caused, forgets the failure. An attempt that was taken for interrupted is welcome as well, as
 * long as no later one was begun. Null when nothing was stored: the account or the attempt is gone, a later one was begun,
 * or its owner has replaced the credential meanwhile.
 */
export async function commitRefresh(
  tx: Transaction,
  refreshId: string,
  refreshed: RefreshedCredential,
): Promise<{ readonly account: StoredAccount } | null> {
  const attempt = await lockAttempt(tx, refreshId);
  if (attempt === undefined) return null;
  const row = await mustHaveRow(tx, attempt.account_id);
  const { bearer, credential } = refreshed;
  // The answer to the first try may have been lost.
  if (attempt.state === 'committed' && row.bearer === bearer.sealed) {
    return { account: accountFrom(row) };
  }
  if (!(await isOpen(tx, attempt))) return null;
  if (attempt.token_version !== row.token_version) {
    await endAttempt(tx, attempt, 'superseded');
    return null;
  }
  await endAttempt(tx, attempt, 'committed');
  const updated = await updateAccount(tx, row.id, {
    bearer: bearer.sealed,
    bearer_expires_at: bearer.expiresAt,
    credential: credential?.sealed ?? row.credential,
    credential_fingerprint: await fingerprintFor(tx, row, credential),
    credential_hint: credential?.hint ?? row.credential_hint,
    email: row.email ?? refreshed.email ?? null,
    next_refresh_at: isOutOfService(row)
      ? null
      : Math.max(refreshed.nextRefreshAt, await ceilingOf(tx, row.id)),
    refresh_failure: null,
    token_version: row.token_version + 1,
    last_refresh_time: tx.now,
    updated_at: tx.now,
  });
  if (credential !== undefined) await rememberCredential(tx, row, credential.fingerprint, false);
  let fresh = await saveStanding(tx, updated, withFreshToken(standingFrom(updated), tx.now));
  // It could not be asked before.
  if (fresh.probe === 'unproved' && fresh.state === 'active') {
    fresh = await updateAccount(tx, row.id, { next_check_at: tx.now, checks: 0 });
  }
  tx.freed();
  return { account: accountFrom(fresh) };
}

/**
 * Ends an attempt that gave no token, durably. `isCurrent` is false when the credential that failed is no longer the
 * account's: then nothing else changes. Null when the account or the attempt is gone.
 */
export async function failRefresh(
  tx: Transaction,
  refreshId: string,
  failed: RefreshFailed,
): Promise<{ readonly account: StoredAccount; readonly isCurrent: boolean } | null> {
  const attempt = await lockAttempt(tx, refreshId);
  if (attempt === undefined || !(await isOpen(tx, attempt))) return null;
  await endAttempt(tx, attempt, failed.failure);
  const { failure, message, givenUp } = failed;
  let row = await mustHaveRow(tx, attempt.account_id);
  const isCurrent = attempt.token_version === row.token_version;
  if (isCurrent && givenUp !== null) {
    row = await setFailure(tx, row, { failure, message, retryAt: null });
    const evidence = { failure, message, at: new Date(tx.now).toISOString() };
    row = await saveStanding(tx, row, withDeadToken(standingFrom(row), givenUp, evidence));
    const detail = { reason: givenUp, failure };
    await tx.audit({ actor: attempt.actor, action: 'account-given-up', accountId: row.id, detail });
  } else if (isCurrent) {
    const retryAt = Math.max(failed.retryAt, await ceilingOf(tx, row.id));
    await setFailure(tx, row, { failure, message, retryAt });
    row = await moveRefresh(tx, row.id, retryAt);
  }
  return { account: accountFrom(row), isCurrent };
}

/**
 * Marks attempts that can no longer end as interrupted, durably: those past their limit and, unless it is null, all of
 * `goneInstance`, which begins again now. Each is answered once, written to the audit trail, and set down as the account's
 * failure; the next attempt is due when the ceiling opens. Some at a time, past what another instance is at.
 */
export async function findInterruptedRefreshes(tx: Transaction, goneInstance: string | null) {
  const rows = await tx.db.all<AttemptRow>(
    `SELECT refreshes.* FROM refreshes /* INDEXED BY refreshes_by_limit */ JOIN accounts ON accounts.id = refreshes.account_id
     WHERE refreshes.state = 'intent' AND (limit_at <= $1 OR instance = $2)
     ORDER BY refreshes.account_id LIMIT 100 FOR UPDATE OF accounts SKIP LOCKED`,
    tx.now,
    goneInstance,
  );
  const interrupted: { refreshId: string; accountId: string; intentAt: number }[] = [];
  for (const { id } of rows) {
    // Only now that the account is locked is it sure how the attempt stands.
    const attempt = await attemptRow(tx, id);
    if (attempt?.state !== 'intent') continue;
    await markInterrupted(tx, attempt);
    interrupted.push({ refreshId: id, accountId: attempt.account_id, intentAt: attempt.intent_at });
  }
  return { interrupted };
}

const hasNoAttempt = `NOT EXISTS (SELECT 1 FROM refreshes /* INDEXED BY refreshes_under_way */
  WHERE refreshes.account_id = accounts.id AND refreshes.state = 'intent')`;

/** Accounts whose `nextRefreshAt` has come and that have no running attempt, the longest due first. */
export async function dueForRefresh(db: Queries, now: number, limit: number): Promise<StoredAccount[]> {
  const rows = await db.all<AccountRow>(
    `SELECT * FROM accounts /* INDEXED BY accounts_to_refresh */ WHERE next_refresh_at IS NOT NULL AND next_refresh_at <= $1 AND ${hasNoAttempt}
     ORDER BY next_refresh_at LIMIT $2`,
    now,
    limit,
  );
  return rows.map(accountFrom);
}

/** When the next account falls due, or an attempt passes its limit; null when neither will. */
export async function nextRefreshDue(db: Queries): Promise<number | null> {
  const next = await db.get<{ at: number | null }>(
    `SELECT MIN(at) AS at FROM (
       SELECT * FROM (
         SELECT next_refresh_at AS at FROM accounts /* INDEXED BY accounts_to_refresh */
         WHERE next_refresh_at IS NOT NULL AND ${hasNoAttempt} ORDER BY next_refresh_at LIMIT 1
       ) AS due
       UNION ALL SELECT MIN(limit_at) AS at FROM refreshes /* INDEXED BY refreshes_by_limit */ WHERE state = 'intent'
     ) AS times`,
  );
  return next?.at ?? null;
}

/** Moves an account's next refresh; earlier ones stay when `onlyEarlier`. Not for one out of service. */
export async function scheduleRefresh(
  tx: Transaction,
  id: string,
  at: number,
  onlyEarlier: boolean,
): Promise<void> {
  const row = await lockAccount(tx, id);
  const isRefreshable = row?.credential_kind === 'refresh_token' && !isOutOfService(row);
  if (isRefreshable && !(onlyEarlier && (row.next_refresh_at ?? at) < at)) await moveRefresh(tx, id, at);
}

function attemptRow(tx: Transaction, refreshId: string): Promise<AttemptRow | undefined> {
  return tx.db.get<AttemptRow>('SELECT * FROM refreshes WHERE id = $1', refreshId);
}

/** An attempt, and its account locked. */
async function lockAttempt(tx: Transaction, refreshId: string): Promise<AttemptRow | undefined> {
  const attempt = await attemptRow(tx, refreshId);
  if (attempt === undefined) return undefined;
  const row = await lockAccount(tx, attempt.account_id);
  if (row === undefined) return undefined;
  await followClockBack(tx, row.id);
  // Read again: the former holder of the lock may have ended it.
  return attemptRow(tx, refreshId);
}

/** It can still end: it was not ended, but perhaps taken for interrupted, and no later one was begun. */
async function isOpen(tx: Transaction, attempt: AttemptRow): Promise<boolean> {
  if (attempt.state !== 'intent' && attempt.state !== 'interrupted') return false;
  const later = await tx.db.get(
    'SELECT 1 FROM refreshes WHERE account_id = $1 AND seq > $2 LIMIT 1',
    attempt.account_id,
    attempt.seq,
  );
  return later === undefined;
}

/** The ceiling opens later by the time the attempt took. */
async function endAttempt(tx: Transaction, attempt: AttemptRow, state: string): Promise<void> {
  const finishedAt = Math.max(attempt.intent_at, tx.now);
  const countedFrom = state === 'interrupted' ? Math.min(attempt.limit_at, finishedAt) : finishedAt;
  await tx.db.run(
    'UPDATE refreshes SET state = $1, finished_at = $2, opens_at = $3 WHERE id = $4',
    state,
    finishedAt,
    attempt.opens_at + countedFrom - attempt.intent_at,
    attempt.id,
  );
}

async function markInterrupted(tx: Transaction, attempt: AttemptRow): Promise<void> {
  await endAttempt(tx, attempt, 'interrupted');
  const detail = { intent_at: new Date(attempt.intent_at).toISOString(), begun_by: attempt.actor };
  const { account_id: accountId } = attempt;
  await tx.audit({ actor: 'housekeeper', action: 'refresh-interrupted', accountId, detail });
  const row = await mustHaveRow(tx, accountId);
  if (row.token_version !== attempt.token_version) return;
  const retryAt = Math.max(await ceilingOf(tx, row.id), tx.now);
  await setFailure(tx, row, { failure: 'interrupted', message: interruptedMessage, retryAt });
  if (!isOutOfService(row)) await moveRefresh(tx, row.id, retryAt);
}

/** When the ceiling opens by the intervals that the attempts were made with. */
async function ceilingOf(tx: Transaction, id: string): Promise<number> {
  const ceiling = await tx.db.get<{ at: number | null }>(
    `SELECT MAX(opens_at) AS at FROM refreshes WHERE account_id = $1 AND state NOT IN ${notCounted}`,
    id,
  );
  return ceiling?.at ?? Number.NEGATIVE_INFINITY;
}

async function followsInterruption(tx: Transaction, row: AccountRow): Promise<boolean> {
  const lost = await tx.db.get(
    `SELECT 1 FROM refreshes WHERE account_id = $1 AND token_version = $2 AND state IN ('interrupted', 'unknown')
       AND seq > (SELECT COALESCE(MAX(seq), 0) FROM refreshes WHERE account_id = $1 AND state = 'committed')
     LIMIT 1`,
    row.id,
    row.token_version,
  );
  return lost !== undefined;
}

async function setFailure(
  tx: Transaction,
  row: AccountRow,
  failure: Omit<RefreshFailure, 'at' | 'inARow'>,
): Promise<AccountRow> {
  const inARow = failuresInARow(failureOf(row), failure.failure);
  return updateAccount(tx, row.id, {
    refresh_failure: JSON.stringify({ ...failure, at: tx.now, inARow } satisfies RefreshFailure),
    updated_at: tx.now,
  });
}

/** An account that rests for want of a bearer rests until then; callers that wait for it look again. */
async function moveRefresh(tx: Transaction, id: string, at: number): Promise<AccountRow> {
  const moved = await updateAccount(tx, id, { next_refresh_at: at });
  tx.freed();
  return saveStanding(tx, moved, standingFrom(moved));
}
