import type { SQLInputValue } from 'node:sqlite';
import { type AccountRow, accountFrom, asFlag, asJson } from './rows.ts';
import {
  accountRow,
  dropLeasesOf,
  nextCheckOf,
  reap,
  saveStanding,
  setNextCheck,
  type Work,
  writeAudit,
} from './sqlite-work.ts';
import type {
  AccountFilter,
  AccountPage,
  AccountSettings,
  AuditEntry,
  Changes,
  Credential,
  NewStoredAccount,
  StandingChange,
  StoredAccount,
} from './store.ts';

type Changed = { readonly account: StoredAccount; readonly changes: Changes };

export function addAccount(
  work: Work,
  added: NewStoredAccount,
  actor: string,
): ({ readonly result: 'added' } & Changed) | { readonly result: 'duplicate'; readonly id: string } {
  const present = accountOfCredential(work, added.provider, added.credential.fingerprint);
  if (present !== null) return { result: 'duplicate', id: present.id };
  const { standing, credential } = added;
  work.db.run(
    `INSERT INTO accounts (id, provider, email, label, capacity, models, free, lend, tier, state, state_until,
      state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential,
      credential_fingerprint, credential_hint, quota, next_check_at, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    added.id,
    added.provider,
    added.email,
    added.label,
    added.capacity,
    asJson(added.models),
    asFlag(added.free),
    added.lend,
    added.tier,
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
    asJson(added.quota),
    added.nextCheckAt,
    work.now,
    work.now,
  );
  const detail = { provider: added.provider, source: added.source, status: standing.state };
  writeAudit(work, { actor, action: 'account-added', accountId: added.id, detail });
  work.changed({ id: added.id, provider: added.provider, state: standing.state, free: added.free });
  return { result: 'added', account: mustHave(work, added.id), changes: work.changes() };
}

export function accountOfCredential(work: Work, provider: string, fingerprint: string): StoredAccount | null {
  const row = work.db.get<AccountRow>(
    'SELECT * FROM accounts WHERE provider = ? AND credential_fingerprint = ?',
    provider,
    fingerprint,
  );
  return row === undefined ? null : accountFrom(row);
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
  const demand = (condition: string, value: SQLInputValue | undefined): void => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  demand('email = ? COLLATE NOCASE', filter.email);
  demand('provider = ?', filter.provider);
  demand('state = ?', filter.state);
  demand('label = ?', filter.label);
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
    readonly credential?: Credential;
  },
  audit: Omit<AuditEntry, 'accountId'>,
): Changed | null {
  reap(work);
  const row = accountRow(work, id);
  if (row === undefined) return null;
  if (change.settings !== undefined) changeSettings(work, row, change.settings);
  if (change.credential !== undefined) changeCredential(work, id, change.credential);
  if (change.standing !== undefined) {
    const { standing, probe, quota, nextCheckAt } = change.standing;
    work.db.run(
      'UPDATE accounts SET probe = ?, quota = COALESCE(?, quota) WHERE id = ?',
      probe,
      asJson(quota),
      id,
    );
    saveStanding(work, mustHaveRow(work, id), standing);
    setNextCheck(work, id, nextCheckAt ?? nextCheckOf(standing, probe, 0, work.now), 0);
  }
  work.freed();
  writeAudit(work, { ...audit, accountId: id });
  return { account: mustHave(work, id), changes: work.changes() };
}

function changeSettings(work: Work, row: AccountRow, settings: Partial<AccountSettings>): void {
  const whole = { ...accountFrom(row), ...settings };
  work.db.run(
    `UPDATE accounts SET email = ?, label = ?, capacity = ?, models = ?, free = ?, lend = ?, tier = ?,
      updated_at = ? WHERE id = ?`,
    whole.email,
    whole.label,
    whole.capacity,
    asJson(whole.models),
    asFlag(whole.free),
    whole.lend,
    whole.tier,
    work.now,
    row.id,
  );
  work.changed({ id: row.id, provider: row.provider, state: row.state, free: whole.free });
}

/** A new credential makes every token of the old one old. */
function changeCredential(work: Work, id: string, credential: Credential): void {
  work.db.run(
    `UPDATE accounts SET credential = ?, credential_fingerprint = ?, credential_hint = ?,
      token_version = token_version + 1, updated_at = ? WHERE id = ?`,
    credential.sealed,
    credential.fingerprint,
    credential.hint,
    work.now,
    id,
  );
}

export function removeAccount(work: Work, id: string, actor: string): Changed | null {
  reap(work);
  const row = accountRow(work, id);
  if (row === undefined) return null;
  dropLeasesOf(work, id);
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
