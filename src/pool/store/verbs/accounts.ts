import { nothingIssued } from '../../../core/provider.ts';
import { type Queries, TryAgain, type Value } from '../../../db/database.ts';
import { applyQuota, type QuotaCause, type QuotaFinding } from '../../standing/account-state.ts';
import { isOutOfService, settleToken } from '../../standing/standing.ts';
import {
  type AccountRow,
  accountFrom,
  asFlag,
  asJson,
  checksAfter,
  nextCheckOf,
  quotaFrom,
  remainingOf,
  standingColumns,
  standingFrom,
} from '../rules/rows.ts';
import type {
  AccountChange,
  AccountFilter,
  AccountSettings,
  AuditEntry,
  NewCredential,
  NewStoredAccount,
  StoredAccount,
} from '../store.ts';
import {
  accountRow,
  dropLeasesOf,
  lockAccount,
  mustHaveRow,
  saveStanding,
  type Transaction,
  updateAccount,
} from './transaction.ts';

type Changed = { readonly account: StoredAccount };

export async function addAccount(
  tx: Transaction,
  added: NewStoredAccount,
  actor: string,
): Promise<({ readonly result: 'added' } & Changed) | { readonly result: 'duplicate'; readonly id: string }> {
  const present = await accountOfCredential(tx.db, added.provider, added.credential.fingerprint);
  if (present !== null) return { result: 'duplicate', id: present.id };
  const { credential } = added;
  const isRefreshable = added.credentialKind === 'refresh_token' && !isOutOfService(added.standing);
  const refreshAt = isRefreshable ? (added.nextRefreshAt ?? tx.now) : null;
  const token = isRefreshable ? { expiresAt: added.bearer?.expiresAt ?? null, refreshAt } : null;
  const standing = settleToken(added.standing, token, tx.now);
  const columns = {
    id: added.id,
    provider: added.provider,
    ...settingColumns(added),
    ...standingColumns(standing),
    state_since: tx.now,
    probe: added.probe,
    source: added.source,
    source_handle: added.sourceHandle ?? null,
    credential_kind: added.credentialKind,
    credential: credential.sealed,
    credential_fingerprint: credential.fingerprint,
    credential_hint: credential.hint,
    bearer: added.bearer?.sealed ?? null,
    bearer_expires_at: added.bearer?.expiresAt ?? null,
    next_refresh_at: refreshAt,
    quota: asJson(added.quota),
    quota_remaining: remainingOf(added.quota),
    next_check_at: added.nextCheckAt,
    created_at: tx.now,
    updated_at: tx.now,
  };
  const names = Object.keys(columns);
  const inserted = await tx.db.run(
    `INSERT INTO accounts (${names.join(', ')}) VALUES (${names.map((_, index) => `$${index + 1}`).join(', ')})
     ON CONFLICT DO NOTHING`,
    ...Object.values(columns),
  );
  // Another caller brings the same credential: its account is there when this is tried again.
  if (inserted === 0) throw new TryAgain('another call has added the account');
  const isOwn = await rememberCredential(tx, added, credential.fingerprint, true);
  if (!isOwn) throw new TryAgain('another call has added an account with this credential');
  const detail = { provider: added.provider, source: added.source, status: standing.state };
  await tx.audit({ actor, action: 'account-added', accountId: added.id, detail });
  tx.changed({ id: added.id, provider: added.provider, state: standing.state, free: added.free });
  return { result: 'added', account: accountFrom(await mustHaveRow(tx, added.id)) };
}

export async function account(db: Queries, id: string): Promise<StoredAccount | null> {
  const row = await accountRow(db, id);
  return row === undefined ? null : accountFrom(row);
}

export async function accounts(db: Queries, filter: AccountFilter) {
  const conditions: string[] = [];
  const values: Value[] = [];
  const demand = (condition: (place: string) => string, value: Value | undefined): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  const equal = (column: string) => (place: string) => `${column} = ${place}`;
  demand((place) => `lower(email) COLLATE "C" = lower(${place})`, filter.email);
  demand(equal('provider'), filter.provider);
  demand(equal('state'), filter.state);
  // The first condition has an index, the second one is what is meant.
  demand((place) => `lower(label) COLLATE "C" = lower(${place}) AND label = ${place}`, filter.label);
  demand(
    (place) => `seq IN (SELECT seq FROM accounts WHERE id >= ${place} AND id < ${place} || '\u{10ffff}')`,
    filter.idBegins,
  );
  demand((place) => `id = ANY (${place})`, filter.ids);
  demand(equal('source'), filter.source);
  demand(equal('probe'), filter.probe);
  demand((place) => {
    const begins = (column: string): string =>
      `SELECT seq FROM accounts WHERE lower(${column}) COLLATE "C" >= lower(${place})
         AND lower(${column}) COLLATE "C" < lower(${place}) || '\u{10ffff}'`;
    return `seq IN (${begins('email')} UNION ALL ${begins('label')})`;
  }, filter.begins);
  const where = conditions.length === 0 ? 'TRUE' : conditions.join(' AND ');
  const counted = await db.get<{ total: number }>(
    // The counters know how many there are in all; a large pool takes a while to count.
    conditions.length === 0
      ? 'SELECT COALESCE(SUM(accounts), 0)::bigint AS total FROM standings'
      : `SELECT COUNT(*) AS total FROM accounts WHERE ${where}`,
    ...values,
  );
  const rows = await db.all<AccountRow>(
    `SELECT * FROM accounts WHERE ${where} AND seq > $${values.length + 1} ORDER BY seq LIMIT $${values.length + 2}`,
    ...values,
    filter.after ?? 0,
    filter.limit + 1,
  );
  const page = rows.slice(0, filter.limit);
  const hasMore = rows.length > filter.limit;
  return {
    accounts: page.map(accountFrom),
    total: counted?.total ?? 0,
    nextAfter: hasMore ? (page.at(-1)?.seq ?? null) : null,
  };
}

export async function changeAccount(
  tx: Transaction,
  id: string,
  change: AccountChange,
  audit: Omit<AuditEntry, 'accountId'>,
): Promise<Changed | null> {
  let row = await lockAccount(tx, id);
  if (row === undefined) return null;
  if (change.settings !== undefined) row = await changeSettings(tx, row, change.settings);
  if (change.credential !== undefined) row = await changeCredential(tx, row, change.credential);
  if (change.standing !== undefined) {
    const { standing, probe, quota, nextCheckAt } = change.standing;
    const known = await updateAccount(tx, id, {
      probe,
      ...(quota && { quota: JSON.stringify(quota), quota_remaining: remainingOf(quota) }),
    });
    await saveStanding(tx, known, standing);
    const refreshAt = isOutOfService(standing) ? undefined : change.credential?.nextRefreshAt;
    row = await updateAccount(tx, id, {
      next_check_at: nextCheckAt ?? nextCheckOf(id, standing, probe, 0, tx.now),
      checks: 0,
      ...(refreshAt !== undefined && { next_refresh_at: refreshAt }),
    });
  }
  tx.freed();
  await tx.audit({ ...audit, accountId: id });
  return { account: accountFrom(row) };
}

async function changeSettings(
  tx: Transaction,
  row: AccountRow,
  settings: Partial<AccountSettings>,
): Promise<AccountRow> {
  const whole = { ...accountFrom(row), ...settings };
  tx.changed({ id: row.id, provider: row.provider, state: row.state, free: whole.free });
  return updateAccount(tx, row.id, { ...settingColumns(whole), updated_at: tx.now });
}

function settingColumns(settings: AccountSettings) {
  const { email, label, capacity, models, free, lend, tier, teamUid } = settings;
  return {
    email,
    label,
    capacity,
    models: asJson(models),
    free: asFlag(free),
    lend,
    tier,
    team_uid: teamUid,
  };
}

/** A new credential makes every token of the old one old. */
async function changeCredential(
  tx: Transaction,
  row: AccountRow,
  credential: NewCredential,
): Promise<AccountRow> {
  const isRefreshable = row.credential_kind === 'refresh_token' && !isOutOfService(row);
  await updateAccount(tx, row.id, {
    credential: credential.sealed,
    credential_fingerprint: credential.fingerprint,
    credential_hint: credential.hint,
    bearer: credential.bearer?.sealed ?? null,
    bearer_expires_at: credential.bearer?.expiresAt ?? null,
    next_refresh_at: isRefreshable ? (credential.nextRefreshAt ?? tx.now) : null,
    refresh_failure: null,
    token_version: row.token_version + 1,
    updated_at: tx.now,
  });
  await rememberCredential(tx, row, credential.fingerprint, true);
  const hasNoBearer = row.credential_kind === 'refresh_token' && credential.bearer === undefined;
  if (hasNoBearer) await dropLeasesOf(tx, row.id);
  const replaced = await mustHaveRow(tx, row.id);
  return saveStanding(tx, replaced, standingFrom(replaced));
}

/** Accounts that have been out of service since before `deadSince`, the longest first. */
export async function deadAccounts(db: Queries, deadSince: number, limit: number): Promise<StoredAccount[]> {
  const rows = await db.all<AccountRow>(
    `SELECT * FROM accounts /* INDEXED BY accounts_dead */
     WHERE state IN ('reauth_required', 'disabled') AND state_since <= $1
     ORDER BY state_since LIMIT $2`,
    deadSince,
    limit,
  );
  return rows.map(accountFrom);
}

export async function removeAccount(tx: Transaction, id: string, actor: string): Promise<Changed | null> {
  const row = await lockAccount(tx, id);
  if (row === undefined) return null;
  await dropLeasesOf(tx, id);
  await rememberLastAttempt(tx, id);
  await tx.db.run('DELETE FROM accounts WHERE id = $1', id);
  const detail = { provider: row.provider, source: row.source, status: row.state };
  await tx.audit({ actor, action: 'account-removed', accountId: id, detail });
  tx.freed();
  return { account: accountFrom(row) };
}

/** The states of attempts that count for no interval. */
export const notCounted = `('${nothingIssued.join("', '")}')`;

/**
 * What an attempt counts from. An issuer counts from when the request reaches it, some time between the intent and the
 * answer: from the answer, then, so that no two are nearer than the interval there. One that was interrupted reached it
 * before it was found so, and within its limit.
 */
const countedFrom = `CASE state WHEN 'interrupted' THEN LEAST(limit_at, COALESCE(finished_at, intent_at))
  ELSE COALESCE(finished_at, intent_at) END`;

export async function accountOfCredential(
  db: Queries,
  provider: string,
  fingerprint: string,
): Promise<StoredAccount | null> {
  const row = await db.get<AccountRow>(
    `SELECT accounts.* FROM known_credentials JOIN accounts ON accounts.id = known_credentials.account_id
     WHERE known_credentials.provider = $1 AND fingerprint = $2`,
    provider,
    fingerprint,
  );
  return row === undefined ? null : accountFrom(row);
}

/**
 * Refresh tokens change; those an owner gave must be recognised anyway. Of those that came by rotation only the
 * last is kept, besides the present one, or they would pile up. False when it is another account's.
 */
export async function rememberCredential(
  tx: Transaction,
  account: { readonly id: string; readonly provider: string; readonly credential_fingerprint?: string },
  fingerprint: string,
  isGiven: boolean,
): Promise<boolean> {
  await tx.db.run(
    `DELETE FROM known_credentials
     WHERE account_id = $1 AND is_given = 0 AND fingerprint IS DISTINCT FROM $2`,
    account.id,
    account.credential_fingerprint ?? null,
  );
  const written = await tx.db.run(
    `INSERT INTO known_credentials AS known (provider, fingerprint, account_id, is_given) VALUES ($1, $2, $3, $4)
     ON CONFLICT (provider, fingerprint) DO UPDATE SET is_given = GREATEST(known.is_given, EXCLUDED.is_given)
       WHERE known.account_id = EXCLUDED.account_id`,
    account.provider,
    fingerprint,
    account.id,
    asFlag(isGiven),
  );
  return written === 1;
}

/** What the last attempt counts from, of the account or of one with its credentials that was removed. */
export async function lastAttempt(tx: Transaction, id: string): Promise<number | null> {
  const last = await tx.db.get<{ at: number | null }>(
    `SELECT MAX(at) AS at FROM (
       SELECT ${countedFrom} AS at FROM refreshes WHERE account_id = $1 AND state NOT IN ${notCounted}
       UNION ALL SELECT removed_intents.intent_at AS at FROM known_credentials
         JOIN removed_intents USING (provider, fingerprint) WHERE known_credentials.account_id = $1
     ) AS attempts`,
    id,
  );
  return last?.at ?? null;
}

/** An account that is removed and added again has not become another one at its provider. */
async function rememberLastAttempt(tx: Transaction, id: string): Promise<void> {
  const endedAt = await lastAttempt(tx, id);
  if (endedAt === null) return;
  await tx.db.run(
    `INSERT INTO removed_intents AS known (provider, fingerprint, intent_at)
       SELECT provider, fingerprint, $1::bigint FROM known_credentials WHERE account_id = $2
     ON CONFLICT (provider, fingerprint) DO UPDATE SET intent_at = GREATEST(known.intent_at, EXCLUDED.intent_at)`,
    endedAt,
    id,
  );
}

/** How long an instance that claimed an account's check has it alone. */
const checkTakesMs = 5 * 60_000;

/** Applies what the provider answered about an account's quota. Null when the account is gone. */
export async function recordQuota(
  tx: Transaction,
  id: string,
  finding: QuotaFinding,
  cause: QuotaCause,
): Promise<{ readonly account: StoredAccount } | null> {
  const row = await lockAccount(tx, id);
  if (row === undefined) return null;
  const quota = finding.type === 'answer' ? quotaFrom(finding.answer, tx.now) : null;
  const known =
    quota === null
      ? row
      : await updateAccount(tx, id, {
          quota: JSON.stringify(quota),
          quota_remaining: remainingOf(quota),
          probe: 'proved',
        });
  const after = await saveStanding(tx, known, applyQuota(standingFrom(row), finding, cause, tx.now));
  const checks = checksAfter(after.checks, row.quota, quota);
  const nextCheckAt = nextCheckOf(id, standingFrom(after), after.probe, checks, tx.now);
  return { account: accountFrom(await updateAccount(tx, id, { next_check_at: nextCheckAt, checks })) };
}

/** Accounts whose quota check is due. Each is handed out once: its next check is moved on before the provider is asked. */
export async function claimQuotaChecks({ db, now }: Transaction, limit: number): Promise<StoredAccount[]> {
  const due = await db.all<AccountRow>(
    `SELECT * FROM accounts WHERE next_check_at IS NOT NULL AND next_check_at <= $1
     ORDER BY next_check_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
    now,
    limit,
  );
  await db.run(
    'UPDATE accounts SET next_check_at = $1, checks = checks + 1 WHERE id = ANY ($2)',
    now + checkTakesMs,
    due.map(({ id }) => id),
  );
  return due.map(accountFrom);
}
