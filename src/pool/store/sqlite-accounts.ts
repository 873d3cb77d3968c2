import type { SQLInputValue } from 'node:sqlite';
import { settleToken } from '../account-state.ts';
import { type AccountRow, accountFrom, asFlag, asJson, standingFrom } from './rows.ts';
import { accountOfCredential, rememberCredential, rememberLastAttempt } from './sqlite-credentials.ts';
import {
  accountRow,
  dropLeasesOf,
  reap,
  saveStanding,
  setNextCheck,
  setNextRefresh,
  type Work,
  writeAudit,
} from './sqlite-work.ts';
import { isOutOfService, nextCheckOf, remainingOf } from './standing-change.ts';
import type {
  AccountFilter,
  AccountPage,
  AccountSettings,
  AuditEntry,
  Changes,
  NewStoredAccount,
  StandingChange,
  StoredAccount,
  StoreVerbs,
} from './store.ts';

type NewCredential = NonNullable<Parameters<StoreVerbs['changeAccount']>[2]['credential']>;
type Changed = { readonly account: StoredAccount; readonly changes: Changes };

export function addAccount(
  work: Work,
  added: NewStoredAccount,
  actor: string,
): ({ readonly result: 'added' } & Changed) | { readonly result: 'duplicate'; readonly id: string } {
  const present = accountOfCredential(work, added.provider, added.credential.fingerprint);
  if (present !== null) return { result: 'duplicate', id: present.id };
  const { credential } = added;
  const isRefreshable = added.credentialKind === 'refresh_token' && !isOutOfService(added.standing);
  const refreshAt = isRefreshable ? (added.nextRefreshAt ?? work.now) : null;
  const token = isRefreshable ? { expiresAt: added.bearer?.expiresAt ?? null, refreshAt } : null;
  const standing = settleToken(added.standing, token, work.now);
  work.db.run(
    `INSERT INTO accounts (id, provider, email, label, capacity, models, free, lend, tier, team_uid, state, state_until,
      state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential,
      credential_fingerprint, credential_hint, bearer, bearer_expires_at, next_refresh_at, source_handle, quota,
      quota_remaining, next_check_at, created_at, updated_at, state_since)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    added.id,
    added.provider,
    added.email,
    added.label,
    added.capacity,
    asJson(added.models),
    asFlag(added.free),
    added.lend,
    added.tier,
    added.teamUid,
    standing.state,
    standing.until,
    standing.reason,
    asJson(standing.evidence),
    asFlag(standing.halfOpen),
    asFlag(standing.quotaSpent),
    JSON.stringify(standing.streaks),
    added.probe,
    added.source,
    added.credentialKind,
    credential.sealed,
    credential.fingerprint,
    credential.hint,
    added.bearer?.sealed ?? null,
    added.bearer?.expiresAt ?? null,
    refreshAt,
    added.sourceHandle ?? null,
    asJson(added.quota),
    remainingOf(added.quota),
    added.nextCheckAt,
    work.now,
    work.now,
    work.now,
  );
  rememberCredential(work, added, credential.fingerprint, true);
  const detail = { provider: added.provider, source: added.source, status: standing.state };
  writeAudit(work, { actor, action: 'account-added', accountId: added.id, detail });
  work.changed({ id: added.id, provider: added.provider, state: standing.state, free: added.free });
  return { result: 'added', account: mustHave(work, added.id), changes: work.changes() };
}

export function account(work: Work, id: string): StoredAccount | null {
  reap(work);
  const row = accountRow(work, id);
  return row === undefined ? null : accountFrom(row);
}

export function accounts(work: Work, filter: AccountFilter): AccountPage {
  reap(work);
  const conditions: string[] = [];
  const values: SQLInputValue[] = [];
  const demand = (condition: string, ...given: (SQLInputValue | undefined)[]): void => {
    const known = given.filter((value) => value !== undefined);
    if (known.length === 0) return;
    conditions.push(condition);
    values.push(...known);
  };
  demand('email = ? COLLATE NOCASE', filter.email);
  demand('provider = ?', filter.provider);
  demand('state = ?', filter.state);
  // The first condition has an index, the second one is what is meant.
  if (filter.label !== undefined)
    demand('label = ? COLLATE NOCASE AND label = ? COLLATE BINARY', filter.label, filter.label);
  demand('source = ?', filter.source);
  demand('probe = ?', filter.probe);
  if (filter.begins !== undefined) {
    // Ranges, since LIKE with a value handed in uses no index; a union, since OR uses no partial ones.
    const range = [filter.begins, `${filter.begins}\u{10ffff}`];
    const beginning = (column: string): string =>
      `SELECT seq FROM accounts WHERE ${column} >= ? COLLATE NOCASE AND ${column} < ? COLLATE NOCASE`;
    demand(`seq IN (${beginning('email')} UNION ALL ${beginning('label')})`, ...range, ...range);
  }
  if (filter.idBegins !== undefined) {
    const range = [filter.idBegins, `${filter.idBegins}\u{10ffff}`];
    demand('seq IN (SELECT seq FROM accounts WHERE id >= ? AND id < ?)', ...range);
  }
  const where = conditions.length === 0 ? 'TRUE' : conditions.join(' AND ');
  const { total } = work.db.get<{ total: number }>(
    `SELECT COUNT(*) AS total FROM accounts WHERE ${where}`,
    ...values,
  ) ?? { total: 0 };
  const rows = work.db.all<AccountRow>(
    `SELECT * FROM accounts WHERE ${where} AND seq > ? ORDER BY seq LIMIT ?`,
    ...values,
    filter.after ?? 0,
    filter.limit + 1,
  );
  const page = rows.slice(0, filter.limit);
  const hasMore = rows.length > filter.limit;
  return {
    accounts: page.map(accountFrom),
    total,
    nextAfter: hasMore ? (page.at(-1)?.seq ?? null) : null,
  };
}

export function changeAccount(
  work: Work,
  id: string,
  change: {
    readonly settings?: Partial<AccountSettings>;
    readonly standing?: StandingChange;
    readonly credential?: NewCredential;
  },
  audit: Omit<AuditEntry, 'accountId'>,
): Changed | null {
  reap(work);
  const row = accountRow(work, id);
  if (row === undefined) return null;
  if (change.settings !== undefined) changeSettings(work, row, change.settings);
  if (change.credential !== undefined) changeCredential(work, row, change.credential);
  if (change.standing !== undefined) {
    const { standing, probe, quota, nextCheckAt } = change.standing;
    work.db.run(
      'UPDATE accounts SET probe = ?1, quota = COALESCE(?2, quota), quota_remaining = iif(?2 IS NULL, quota_remaining, ?3) WHERE id = ?4',
      probe,
      asJson(quota),
      remainingOf(quota),
      id,
    );
    saveStanding(work, mustHaveRow(work, id), standing);
    setNextCheck(work, id, nextCheckAt ?? nextCheckOf(id, standing, probe, 0, work.now), 0);
    const refreshAt = change.credential?.nextRefreshAt;
    if (refreshAt !== undefined && !isOutOfService(standing)) setNextRefresh(work, id, refreshAt);
  }
  work.freed();
  writeAudit(work, { ...audit, accountId: id });
  return { account: mustHave(work, id), changes: work.changes() };
}

function changeSettings(work: Work, row: AccountRow, settings: Partial<AccountSettings>): void {
  const whole = { ...accountFrom(row), ...settings };
  work.db.run(
    `UPDATE accounts SET email = ?, label = ?, capacity = ?, models = ?, free = ?, lend = ?, tier = ?,
      team_uid = ?, updated_at = ? WHERE id = ?`,
    whole.email,
    whole.label,
    whole.capacity,
    asJson(whole.models),
    asFlag(whole.free),
    whole.lend,
    whole.tier,
    whole.teamUid,
    work.now,
    row.id,
  );
  work.changed({ id: row.id, provider: row.provider, state: row.state, free: whole.free });
}

/** A new credential makes every token of the old one old. */
function changeCredential(work: Work, row: AccountRow, credential: NewCredential): void {
  const isRefreshable = row.credential_kind === 'refresh_token' && !isOutOfService(row);
  const refreshAt = isRefreshable ? (credential.nextRefreshAt ?? work.now) : null;
  work.db.run(
    `UPDATE accounts SET credential = ?, credential_fingerprint = ?, credential_hint = ?, bearer = ?,
      bearer_expires_at = ?, next_refresh_at = ?, refresh_failure = NULL, token_version = token_version + 1,
      updated_at = ? WHERE id = ?`,
    credential.sealed,
    credential.fingerprint,
    credential.hint,
    credential.bearer?.sealed ?? null,
    credential.bearer?.expiresAt ?? null,
    refreshAt,
    work.now,
    row.id,
  );
  rememberCredential(work, row, credential.fingerprint, true);
  const hasNoBearer = row.credential_kind === 'refresh_token' && credential.bearer === undefined;
  if (hasNoBearer) dropLeasesOf(work, row.id);
  const replaced = mustHaveRow(work, row.id);
  saveStanding(work, replaced, standingFrom(replaced));
}

/** Accounts nobody can use any more, the longest dead first. */
export function deadAccounts(work: Work, deadSince: number, limit: number): StoredAccount[] {
  const rows = work.db.all<AccountRow>(
    `SELECT * FROM accounts INDEXED BY accounts_dead
     WHERE state IN ('reauth_required', 'disabled') AND state_since <= ? ORDER BY state_since LIMIT ?`,
    deadSince,
    limit,
  );
  return rows.map(accountFrom);
}

export function removeAccount(work: Work, id: string, actor: string): Changed | null {
  reap(work);
  const row = accountRow(work, id);
  if (row === undefined) return null;
  dropLeasesOf(work, id);
  rememberLastAttempt(work, id);
  work.db.run('DELETE FROM accounts WHERE id = ?', id);
  const detail = { provider: row.provider, source: row.source, status: row.state };
  writeAudit(work, { actor, action: 'account-removed', accountId: id, detail });
  work.freed();
  return { account: accountFrom(row), changes: work.changes() };
}

function mustHaveRow(work: Work, id: string): AccountRow {
  const row = accountRow(work, id);
  if (row === undefined) throw new Error(`account ${id} vanished inside a transaction`);
  return row;
}

function mustHave(work: Work, id: string): StoredAccount {
  return accountFrom(mustHaveRow(work, id));
}
