import { randomUUID } from 'node:crypto';
import type { Queries } from '../../db/postgres.ts';
import { withDeadToken, withFreshToken } from '../account-state.ts';
import { lastAttempt, rememberCredential } from './postgres-credentials.ts';
import {
  isLastActive,
  lockAccount,
  mustHaveRow,
  saveStanding,
  setNextCheck,
  setNextRefresh,
  type Work,
  writeAudit,
} from './postgres-work.ts';
import {
  type AttemptRow,
  attemptsKeptMs,
  endOf,
  failureOf,
  interruptedMessage,
  nextFailure,
  notCounted,
} from './refresh-rules.ts';
import { type AccountRow, accountFrom, asFlag, standingFrom } from './rows.ts';
import { isOutOfService } from './standing-change.ts';
import type {
  Changes,
  Credential,
  InterruptedRefresh,
  RefreshClaimResult,
  RefreshDemand,
  RefreshedCredential,
  RefreshFailed,
  RefreshFailure,
  StoredAccount,
} from './store.ts';

/** All of it happens under the account's lock, so that instances follow one another. */

export async function claimRefresh(work: Work, demand: RefreshDemand): Promise<RefreshClaimResult> {
  const { db, now } = work;
  const refused = (reason: string): RefreshClaimResult => ({
    result: 'not_refreshable',
    reason,
    changes: work.changes(),
  });
  const found = await lockAccount(work, demand.accountId);
  if (found === undefined) return refused('no such account');
  if (found.credential_kind === 'api_key') return refused('API key: nothing to refresh');
  if (isOutOfService(found)) return refused(`the account is ${found.state}`);
  const underWay = await db.get<AttemptRow>(
    "SELECT * FROM refreshes WHERE account_id = $1 AND state = 'intent'",
    found.id,
  );
  if (underWay !== undefined && underWay.limit_at > now) {
    return { result: 'under_way', since: underWay.intent_at, changes: work.changes() };
  }
  if (underWay !== undefined) await markInterrupted(work, underWay);

  const row = await mustHaveRow(work, found.id);
  const ceiling = ((await lastAttempt(work, row.id)) ?? Number.NEGATIVE_INFINITY) + demand.minIntervalMs;
  const backoff = failureOf(row)?.retryAt ?? Number.NEGATIVE_INFINITY;
  const nextAt = Math.max(ceiling, backoff);
  if (!demand.force && nextAt > now) {
    if ((row.next_refresh_at ?? 0) < nextAt) await moveRefresh(work, row, nextAt);
    const reason = ceiling >= backoff ? 'ceiling' : 'backoff';
    return { result: 'too_early', reason, nextAt, changes: work.changes() };
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
    await writeAudit(work, { actor: demand.actor, action: 'ceiling-passed', accountId: row.id, detail });
  }
  return {
    result: 'claimed',
    refreshId,
    intentAt: now,
    account: accountFrom(row),
    followsInterruption: await followsInterruption(work, row),
    isLastUsable: (await isLastActive(work, row)) && (await hasNoneResting(work, row)),
    changes: work.changes(),
  };
}

/**
 * The fingerprint a rotated credential is known by. Where another account has this very one (added twice), the account
 * keeps its own: the token must be stored whatever else.
 */
async function fingerprintFor(
  work: Work,
  row: AccountRow,
  credential: Credential | undefined,
): Promise<string> {
  if (credential === undefined) return row.credential_fingerprint;
  const other = await work.db.get(
    'SELECT 1 FROM accounts WHERE provider = $1 AND credential_fingerprint = $2 AND id <> $3',
    row.provider,
    credential.fingerprint,
    row.id,
  );
  return other === undefined ? credential.fingerprint : row.credential_fingerprint;
}

/** Whether no other account of its provider will come back by itself. */
async function hasNoneResting(work: Work, row: AccountRow): Promise<boolean> {
  const other = await work.db.get(
    `SELECT 1 FROM accounts WHERE state_until IS NOT NULL AND provider = $1 AND id <> $2
       AND state IN ('cooldown', 'exhausted') LIMIT 1`,
    row.provider,
    row.id,
  );
  return other === undefined;
}

export async function commitRefresh(
  work: Work,
  refreshId: string,
  refreshed: RefreshedCredential,
): Promise<{ readonly account: StoredAccount; readonly changes: Changes } | null> {
  const attempt = await lockAttempt(work, refreshId);
  if (attempt === undefined) return null;
  const row = await mustHaveRow(work, attempt.account_id);
  const { bearer, credential } = refreshed;
  // The answer to the first try may have been lost.
  if (attempt.state === 'committed' && row.bearer === bearer.sealed) {
    return { account: accountFrom(row), changes: work.changes() };
  }
  if (!(await isOpen(work, attempt))) return null;
  if (attempt.token_version !== row.token_version) {
    await endAttempt(work, attempt, 'superseded');
    return null;
  }
  await endAttempt(work, attempt, 'committed');
  await work.db.run(
    `UPDATE accounts SET bearer = $1, bearer_expires_at = $2, credential = $3, credential_fingerprint = $4,
      credential_hint = $5, email = COALESCE(email, $6), next_refresh_at = $7, refresh_failure = NULL,
      token_version = token_version + 1, last_refresh_time = $8, updated_at = $8 WHERE id = $9`,
    bearer.sealed,
    bearer.expiresAt,
    credential?.sealed ?? row.credential,
    await fingerprintFor(work, row, credential),
    credential?.hint ?? row.credential_hint,
    refreshed.email ?? null,
    isOutOfService(row) ? null : Math.max(refreshed.nextRefreshAt, await ceilingOf(work, row.id)),
    work.now,
    row.id,
  );
  if (credential !== undefined) await rememberCredential(work, row, credential.fingerprint, false);
  const fresh = await mustHaveRow(work, row.id);
  await saveStanding(work, fresh, withFreshToken(standingFrom(fresh), work.now));
  const after = await mustHaveRow(work, row.id);
  // It could not be asked before.
  if (after.probe === 'unproved' && after.state === 'active') await setNextCheck(work, row.id, work.now, 0);
  work.freed();
  return { account: accountFrom(await mustHaveRow(work, row.id)), changes: work.changes() };
}

export async function failRefresh(
  work: Work,
  refreshId: string,
  failed: RefreshFailed,
): Promise<{
  readonly account: StoredAccount;
  readonly isCurrent: boolean;
  readonly changes: Changes;
} | null> {
  const attempt = await lockAttempt(work, refreshId);
  if (attempt === undefined || !(await isOpen(work, attempt))) return null;
  await endAttempt(work, attempt, failed.failure);
  const row = await mustHaveRow(work, attempt.account_id);
  const isCurrent = attempt.token_version === row.token_version;
  if (isCurrent && failed.givenUp !== null) {
    const { failure, message, givenUp } = failed;
    await setFailure(work, row, { failure, message, retryAt: null });
    const evidence = { failure, message, at: new Date(work.now).toISOString() };
    await saveStanding(work, row, withDeadToken(standingFrom(row), givenUp, evidence));
    const detail = { reason: givenUp, failure };
    await writeAudit(work, { actor: attempt.actor, action: 'account-given-up', accountId: row.id, detail });
  } else if (isCurrent) {
    const retryAt = Math.max(failed.retryAt, await ceilingOf(work, row.id));
    await setFailure(work, row, { failure: failed.failure, message: failed.message, retryAt });
    await moveRefresh(work, row, retryAt);
  }
  return { account: accountFrom(await mustHaveRow(work, row.id)), isCurrent, changes: work.changes() };
}

/** Some at a time, past what another instance is at: two that look at once find each of them once. */
export async function findInterruptedRefreshes(
  work: Work,
  goneInstance: string | null,
): Promise<{ readonly interrupted: readonly InterruptedRefresh[]; readonly changes: Changes }> {
  const rows = await work.db.all<AttemptRow>(
    `SELECT refreshes.* FROM refreshes JOIN accounts ON accounts.id = refreshes.account_id
     WHERE refreshes.state = 'intent' AND (limit_at <= $1 OR instance = $2)
     ORDER BY refreshes.account_id LIMIT 100 FOR UPDATE OF accounts SKIP LOCKED`,
    work.now,
    goneInstance,
  );
  const interrupted: InterruptedRefresh[] = [];
  for (const { id } of rows) {
    // Only now that the account is locked is it sure how the attempt stands.
    const attempt = await attemptRow(work, id);
    if (attempt?.state !== 'intent') continue;
    await markInterrupted(work, attempt);
    interrupted.push({ refreshId: id, accountId: attempt.account_id, intentAt: attempt.intent_at });
  }
  return { interrupted, changes: work.changes() };
}

const hasNoAttempt = `NOT EXISTS (SELECT 1 FROM refreshes
  WHERE refreshes.account_id = accounts.id AND refreshes.state = 'intent')`;

export async function dueForRefresh(db: Queries, now: number, limit: number): Promise<StoredAccount[]> {
  const rows = await db.all<AccountRow>(
    `SELECT * FROM accounts WHERE next_refresh_at IS NOT NULL AND next_refresh_at <= $1 AND ${hasNoAttempt}
     ORDER BY next_refresh_at LIMIT $2`,
    now,
    limit,
  );
  return rows.map(accountFrom);
}

export async function nextRefreshDue(db: Queries): Promise<number | null> {
  const next = await db.get<{ at: number | null }>(
    `SELECT LEAST(
       (SELECT next_refresh_at FROM accounts WHERE next_refresh_at IS NOT NULL AND ${hasNoAttempt}
          ORDER BY next_refresh_at LIMIT 1),
       (SELECT MIN(limit_at) FROM refreshes WHERE state = 'intent')
     ) AS at`,
  );
  return next?.at ?? null;
}

export async function scheduleRefresh(
  work: Work,
  id: string,
  at: number,
  onlyEarlier: boolean,
): Promise<Changes> {
  const row = await lockAccount(work, id);
  const isRefreshable = row?.credential_kind === 'refresh_token' && !isOutOfService(row);
  if (isRefreshable && !(onlyEarlier && (row.next_refresh_at ?? at) < at)) await moveRefresh(work, row, at);
  return work.changes();
}

function attemptRow(work: Work, refreshId: string): Promise<AttemptRow | undefined> {
  return work.db.get<AttemptRow>('SELECT * FROM refreshes WHERE id = $1', refreshId);
}

/** An attempt, and its account locked. */
async function lockAttempt(work: Work, refreshId: string): Promise<AttemptRow | undefined> {
  const attempt = await attemptRow(work, refreshId);
  if (attempt === undefined) return undefined;
  const row = await lockAccount(work, attempt.account_id);
  // Read again: whoever had the lock may have ended it.
  return row === undefined ? undefined : attemptRow(work, refreshId);
}

/** It can still end: it was not ended, but perhaps taken for interrupted, and no later one was begun. */
async function isOpen(work: Work, attempt: AttemptRow): Promise<boolean> {
  if (attempt.state !== 'intent' && attempt.state !== 'interrupted') return false;
  const later = await work.db.get(
    'SELECT 1 FROM refreshes WHERE account_id = $1 AND seq > $2 LIMIT 1',
    attempt.account_id,
    attempt.seq,
  );
  return later === undefined;
}

async function endAttempt(work: Work, attempt: AttemptRow, state: string): Promise<void> {
  const { finishedAt, opensAt } = endOf(work.now, attempt, state);
  await work.db.run(
    'UPDATE refreshes SET state = $1, finished_at = $2, opens_at = $3 WHERE id = $4',
    state,
    finishedAt,
    opensAt,
    attempt.id,
  );
}

async function markInterrupted(work: Work, attempt: AttemptRow): Promise<void> {
  await endAttempt(work, attempt, 'interrupted');
  const detail = { intent_at: new Date(attempt.intent_at).toISOString(), begun_by: attempt.actor };
  const { account_id: accountId } = attempt;
  await writeAudit(work, { actor: 'housekeeper', action: 'refresh-interrupted', accountId, detail });
  const row = await mustHaveRow(work, accountId);
  if (row.token_version !== attempt.token_version) return;
  const retryAt = Math.max(await ceilingOf(work, row.id), work.now);
  await setFailure(work, row, { failure: 'interrupted', message: interruptedMessage, retryAt });
  if (!isOutOfService(row)) await moveRefresh(work, row, retryAt);
}

/** When the ceiling opens by the intervals that the attempts were made with. */
async function ceilingOf(work: Work, id: string): Promise<number> {
  const ceiling = await work.db.get<{ at: number | null }>(
    `SELECT MAX(opens_at) AS at FROM refreshes WHERE account_id = $1 AND state NOT IN ${notCounted}`,
    id,
  );
  return ceiling?.at ?? Number.NEGATIVE_INFINITY;
}

async function followsInterruption(work: Work, row: AccountRow): Promise<boolean> {
  const lost = await work.db.get(
    `SELECT 1 FROM refreshes WHERE account_id = $1 AND token_version = $2 AND state IN ('interrupted', 'unknown')
       AND seq > (SELECT COALESCE(MAX(seq), 0) FROM refreshes WHERE account_id = $1 AND state = 'committed')
     LIMIT 1`,
    row.id,
    row.token_version,
  );
  return lost !== undefined;
}

async function setFailure(
  work: Work,
  row: AccountRow,
  failure: Omit<RefreshFailure, 'at' | 'inARow'>,
): Promise<void> {
  await work.db.run(
    'UPDATE accounts SET refresh_failure = $1, updated_at = $2 WHERE id = $3',
    JSON.stringify(nextFailure(row, failure, work.now)),
    work.now,
    row.id,
  );
}

/** Who rests for want of a bearer rests until then, and who waits for it looks again. */
async function moveRefresh(work: Work, row: AccountRow, at: number): Promise<void> {
  await setNextRefresh(work, row.id, at);
  const moved = await mustHaveRow(work, row.id);
  await saveStanding(work, moved, standingFrom(moved));
  work.freed();
}
