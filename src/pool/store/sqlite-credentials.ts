import { countedFrom, notCounted } from './refresh-rules.ts';
import { type AccountRow, accountFrom, asFlag } from './rows.ts';
import type { Work } from './sqlite-work.ts';
import type { StoredAccount } from './store.ts';

export function accountOfCredential(work: Work, provider: string, fingerprint: string): StoredAccount | null {
  const row = work.db.get<AccountRow>(
    `SELECT accounts.* FROM known_credentials JOIN accounts ON accounts.id = known_credentials.account_id
     WHERE known_credentials.provider = ? AND fingerprint = ?`,
    provider,
    fingerprint,
  );
  return row === undefined ? null : accountFrom(row);
}

/**
 * Refresh tokens change; those an owner gave must be recognised all the same. Of those that came by rotation only the
 * last is kept, besides the present one, or they would pile up.
 */
export function rememberCredential(
  work: Work,
  account: { readonly id: string; readonly provider: string; readonly credential_fingerprint?: string },
  fingerprint: string,
  isGiven: boolean,
): void {
  work.db.run(
    'DELETE FROM known_credentials WHERE account_id = ? AND is_given = 0 AND fingerprint IS NOT ?',
    account.id,
    account.credential_fingerprint ?? null,
  );
  work.db.run(
    `INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES (?, ?, ?, ?)
     ON CONFLICT (provider, fingerprint) DO UPDATE SET is_given = max(is_given, excluded.is_given)
       WHERE account_id = excluded.account_id`,
    account.provider,
    fingerprint,
    account.id,
    asFlag(isGiven),
  );
}

/** What the last attempt counts from, of the account or of one with its credentials that was removed. */
export function lastAttempt(work: Work, id: string): number | null {
  const own = work.db.get<{ at: number | null }>(
    `SELECT MAX(${countedFrom}) AS at FROM refreshes WHERE account_id = ? AND state NOT IN ${notCounted}`,
    id,
  );
  const removed = work.db.get<{ at: number | null }>(
    `SELECT MAX(removed_intents.intent_at) AS at FROM known_credentials
       JOIN removed_intents USING (provider, fingerprint) WHERE known_credentials.account_id = ?`,
    id,
  );
  const times = [own?.at, removed?.at].filter((at) => at !== undefined && at !== null);
  return times.length === 0 ? null : Math.max(...times);
}

/** An account that is removed and added again has not become another one at its provider. */
export function rememberLastAttempt(work: Work, id: string): void {
  const endedAt = lastAttempt(work, id);
  if (endedAt === null) return;
  work.db.run(
    `INSERT INTO removed_intents (provider, fingerprint, intent_at)
       SELECT provider, fingerprint, ? FROM known_credentials WHERE account_id = ?
     ON CONFLICT (provider, fingerprint) DO UPDATE SET intent_at = max(intent_at, excluded.intent_at)`,
    endedAt,
    id,
  );
}
