import { randomUUID } from 'node:crypto';
import { withDeadToken, withFreshToken } from '../account-state.ts';
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
import { lastAttempt, rememberCredential } from './sqlite-credentials.ts';
import {
  accountRow,
  isLastActive,
  reap,
  saveStanding,
  setNextCheck,
  setNextRefresh,
  type Work,
  writeAudit,
} from './sqlite-work.ts';
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

export function claimRefresh(work: Work, demand: RefreshDemand): RefreshClaimResult {
  reap(work);
  const refused = (reason: string): RefreshClaimResult => ({
    result: 'not_refreshable',
    reason,
    changes: work.changes(),
  });
  const found = accountRow(work, demand.accountId);
  if (found === undefined) return refused('no such account');
  if (found.credential_kind === 'api_key') return refused('API key: nothing to refresh');
  if (isOutOfService(found)) return refused(`the account is ${found.state}`);
  const underWay = work.db.get<AttemptRow>(
    "SELECT * FROM refreshes INDEXED BY refreshes_under_way WHERE account_id = ? AND state = 'intent'",
    found.id,
  );
  if (underWay !== undefined && underWay.limit_at > work.now) {
    return { result: 'under_way', since: underWay.intent_at, changes: work.changes() };
  }
  if (underWay !== undefined) markInterrupted(work, underWay);

  const row = mustHaveRow(work, found.id);
  const ceiling = (lastAttempt(work, row.id) ?? Number.NEGATIVE_INFINITY) + demand.minIntervalMs;
  const backoff = failureOf(row)?.retryAt ?? Number.NEGATIVE_INFINITY;
  const nextAt = Math.max(ceiling, backoff);
  if (!demand.force && nextAt > work.now) {
    if ((row.next_refresh_at ?? 0) < nextAt) moveRefresh(work, row, nextAt);
    const reason = ceiling >= backoff ? 'ceiling' : 'backoff';
    return { result: 'too_early', reason, nextAt, changes: work.changes() };
  }
  const refreshId = randomUUID();
  work.db.run(
    "DELETE FROM refreshes WHERE account_id = ? AND intent_at < ? AND state <> 'intent'",
    row.id,
    work.now - Math.max(attemptsKeptMs, 2 * demand.minIntervalMs),
  );
  work.db.run(
    `INSERT INTO refreshes (id, account_id, instance, actor, forced, intent_at, opens_at, limit_at, token_version, state)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'intent')`,
    refreshId,
    row.id,
    demand.instance,
    demand.actor,
    asFlag(demand.force),
    work.now,
    work.now + demand.minIntervalMs,
    work.now + demand.limitMs,
    row.token_version,
  );
  if (nextAt > work.now) {
    const detail = { past_ceiling: ceiling > work.now, past_backoff: backoff > work.now };
    writeAudit(work, { actor: demand.actor, action: 'ceiling-passed', accountId: row.id, detail });
  }
  return {
    result: 'claimed',
    refreshId,
    intentAt: work.now,
    account: accountFrom(row),
    followsInterruption: followsInterruption(work, row),
    isLastUsable: isLastActive(work, row) && hasNoneResting(work, row),
    changes: work.changes(),
  };
}

export function commitRefresh(
  work: Work,
  refreshId: string,
  refreshed: RefreshedCredential,
): { readonly account: StoredAccount; readonly changes: Changes } | null {
  reap(work);
  const attempt = attemptRow(work, refreshId);
  if (attempt === undefined) return null;
  const row = mustHaveRow(work, attempt.account_id);
  const { bearer, credential } = refreshed;
  // The answer to the first try may have been lost.
  if (attempt.state === 'committed' && row.bearer === bearer.sealed) {
    return { account: accountFrom(row), changes: work.changes() };
  }
  if (!isOpen(work, attempt)) return null;
  if (attempt.token_version !== row.token_version) {
    endAttempt(work, attempt, 'superseded');
    return null;
  }
  endAttempt(work, attempt, 'committed');
  work.db.run(
    `UPDATE accounts SET bearer = ?, bearer_expires_at = ?, credential = ?, credential_fingerprint = ?,
      credential_hint = ?, email = COALESCE(email, ?), next_refresh_at = ?, refresh_failure = NULL,
      token_version = token_version + 1, last_refresh_time = ?, updated_at = ? WHERE id = ?`,
    bearer.sealed,
    bearer.expiresAt,
    credential?.sealed ?? row.credential,
    fingerprintFor(work, row, credential),
    credential?.hint ?? row.credential_hint,
    refreshed.email ?? null,
    isOutOfService(row) ? null : Math.max(refreshed.nextRefreshAt, ceilingOf(work, row.id)),
    work.now,
    work.now,
    row.id,
  );
  if (credential !== undefined) rememberCredential(work, row, credential.fingerprint, false);
  const fresh = mustHaveRow(work, row.id);
  saveStanding(work, fresh, withFreshToken(standingFrom(fresh), work.now));
  const after = mustHaveRow(work, row.id);
  // It could not be asked before.
  if (after.probe === 'unproved' && after.state === 'active') setNextCheck(work, row.id, work.now, 0);
  work.freed();
  return { account: accountFrom(mustHaveRow(work, row.id)), changes: work.changes() };
}

export function failRefresh(
  work: Work,
  refreshId: string,
  failed: RefreshFailed,
): { readonly account: StoredAccount; readonly isCurrent: boolean; readonly changes: Changes } | null {
  reap(work);
  const attempt = attemptRow(work, refreshId);
  if (attempt === undefined || !isOpen(work, attempt)) return null;
  endAttempt(work, attempt, failed.failure);
  const row = mustHaveRow(work, attempt.account_id);
  const isCurrent = attempt.token_version === row.token_version;
  if (isCurrent && failed.givenUp !== null) {
    const { failure, message, givenUp } = failed;
    setFailure(work, row, { failure, message, retryAt: null });
    const evidence = { failure, message, at: new Date(work.now).toISOString() };
    saveStanding(work, row, withDeadToken(standingFrom(row), givenUp, evidence));
    const detail = { reason: givenUp, failure };
    writeAudit(work, { actor: attempt.actor, action: 'account-given-up', accountId: row.id, detail });
  } else if (isCurrent) {
    const retryAt = Math.max(failed.retryAt, ceilingOf(work, row.id));
    setFailure(work, row, { failure: failed.failure, message: failed.message, retryAt });
    moveRefresh(work, row, retryAt);
  }
  return { account: accountFrom(mustHaveRow(work, row.id)), isCurrent, changes: work.changes() };
}

export function findInterruptedRefreshes(
  work: Work,
  goneInstance: string | null,
): { readonly interrupted: readonly InterruptedRefresh[]; readonly changes: Changes } {
  const attempts = work.db.all<AttemptRow>(
    `SELECT * FROM refreshes INDEXED BY refreshes_by_limit
     WHERE state = 'intent' AND (limit_at <= ? OR instance = ?) ORDER BY seq`,
    work.now,
    goneInstance,
  );
  for (const attempt of attempts) markInterrupted(work, attempt);
  reap(work);
  return {
    interrupted: attempts.map((attempt) => ({
      refreshId: attempt.id,
      accountId: attempt.account_id,
      intentAt: attempt.intent_at,
    })),
    changes: work.changes(),
  };
}

export function dueForRefresh(work: Work, limit: number): StoredAccount[] {
  const rows = work.db.all<AccountRow>(
    `SELECT * FROM accounts INDEXED BY accounts_to_refresh
     WHERE next_refresh_at IS NOT NULL AND next_refresh_at <= ? AND ${hasNoAttempt}
     ORDER BY next_refresh_at LIMIT ?`,
    work.now,
    limit,
  );
  return rows.map(accountFrom);
}

export function nextRefreshDue(work: Work): number | null {
  const account = work.db.get<{ at: number }>(
    `SELECT next_refresh_at AS at FROM accounts INDEXED BY accounts_to_refresh
     WHERE next_refresh_at IS NOT NULL AND ${hasNoAttempt} ORDER BY next_refresh_at LIMIT 1`,
  );
  const attempt = work.db.get<{ at: number | null }>(
    "SELECT MIN(limit_at) AS at FROM refreshes INDEXED BY refreshes_by_limit WHERE state = 'intent'",
  );
  const times = [account?.at, attempt?.at].filter((at) => at !== undefined && at !== null);
  return times.length === 0 ? null : Math.min(...times);
}

export function scheduleRefresh(work: Work, id: string, at: number, onlyEarlier: boolean): Changes {
  const row = accountRow(work, id);
  const isRefreshable = row?.credential_kind === 'refresh_token' && !isOutOfService(row);
  if (isRefreshable && !(onlyEarlier && (row.next_refresh_at ?? at) < at)) moveRefresh(work, row, at);
  return work.changes();
}

const hasNoAttempt = `NOT EXISTS (SELECT 1 FROM refreshes INDEXED BY refreshes_under_way
  WHERE refreshes.account_id = accounts.id AND refreshes.state = 'intent')`;

function attemptRow(work: Work, refreshId: string): AttemptRow | undefined {
  return work.db.get<AttemptRow>('SELECT * FROM refreshes WHERE id = ?', refreshId);
}

/** It can still end: it was not ended, but perhaps taken for interrupted, and no later one was begun. */
function isOpen(work: Work, attempt: AttemptRow): boolean {
  if (attempt.state !== 'intent' && attempt.state !== 'interrupted') return false;
  const later = work.db.get(
    'SELECT 1 FROM refreshes WHERE account_id = ? AND seq > ? LIMIT 1',
    attempt.account_id,
    attempt.seq,
  );
  return later === undefined;
}

function endAttempt(work: Work, attempt: AttemptRow, state: string): void {
  const { finishedAt, opensAt } = endOf(work.now, attempt, state);
  work.db.run(
    'UPDATE refreshes SET state = ?, finished_at = ?, opens_at = ? WHERE id = ?',
    state,
    finishedAt,
    opensAt,
    attempt.id,
  );
}

function markInterrupted(work: Work, attempt: AttemptRow): void {
  endAttempt(work, attempt, 'interrupted');
  const detail = { intent_at: new Date(attempt.intent_at).toISOString(), begun_by: attempt.actor };
  const { account_id: accountId } = attempt;
  writeAudit(work, { actor: 'housekeeper', action: 'refresh-interrupted', accountId, detail });
  const row = mustHaveRow(work, accountId);
  if (row.token_version !== attempt.token_version) return;
  const retryAt = Math.max(ceilingOf(work, row.id), work.now);
  setFailure(work, row, { failure: 'interrupted', message: interruptedMessage, retryAt });
  if (!isOutOfService(row)) moveRefresh(work, row, retryAt);
}

/** When the ceiling opens by the intervals that the attempts were made with. */
function ceilingOf(work: Work, id: string): number {
  const { at } = work.db.get<{ at: number | null }>(
    `SELECT MAX(opens_at) AS at FROM refreshes WHERE account_id = ? AND state NOT IN ${notCounted}`,
    id,
  ) ?? { at: null };
  return at ?? Number.NEGATIVE_INFINITY;
}

function followsInterruption(work: Work, row: AccountRow): boolean {
  const lost = work.db.get(
    `SELECT 1 FROM refreshes WHERE account_id = ?1 AND token_version = ?2 AND state IN ('interrupted', 'unknown')
       AND seq > (SELECT COALESCE(MAX(seq), 0) FROM refreshes WHERE account_id = ?1 AND state = 'committed')`,
    row.id,
    row.token_version,
  );
  return lost !== undefined;
}

/**
 * The fingerprint a rotated credential is known by. Where another account has this very one (added twice), the account
 * keeps its own: the token must be stored whatever else.
 */
function fingerprintFor(work: Work, row: AccountRow, credential: Credential | undefined): string {
  if (credential === undefined) return row.credential_fingerprint;
  const other = work.db.get(
    'SELECT 1 FROM accounts WHERE provider = ? AND credential_fingerprint = ? AND id <> ?',
    row.provider,
    credential.fingerprint,
    row.id,
  );
  return other === undefined ? credential.fingerprint : row.credential_fingerprint;
}

/** Whether no other account of its provider will come back by itself. */
function hasNoneResting(work: Work, row: AccountRow): boolean {
  const other = work.db.get(
    `SELECT 1 FROM accounts INDEXED BY accounts_resting_by_provider
     WHERE state_until IS NOT NULL AND provider = ? AND id <> ? AND state IN ('cooldown', 'exhausted') LIMIT 1`,
    row.provider,
    row.id,
  );
  return other === undefined;
}

function setFailure(work: Work, row: AccountRow, failure: Omit<RefreshFailure, 'at' | 'inARow'>): void {
  work.db.run(
    'UPDATE accounts SET refresh_failure = ?, updated_at = ? WHERE id = ?',
    JSON.stringify(nextFailure(row, failure, work.now)),
    work.now,
    row.id,
  );
}

/** Who rests for want of a bearer rests until then, and who waits for it looks again. */
function moveRefresh(work: Work, row: AccountRow, at: number): void {
  setNextRefresh(work, row.id, at);
  const moved = mustHaveRow(work, row.id);
  saveStanding(work, moved, standingFrom(moved));
  work.freed();
}

function mustHaveRow(work: Work, id: string): AccountRow {
  const row = accountRow(work, id);
  if (row === undefined) throw new Error(`account ${id} vanished inside a transaction`);
  return row;
}
