import type { Queries } from '../../../db/database.ts';
import { type AccountRow, accountFrom, asFlag } from '../rules/rows.ts';
import type { StoredAccount } from '../store.ts';
import type { Transaction } from './transaction.ts';

/** An attempt that ended so has surely issued nothing. */
export const notCounted = "('unsent', 'refused')";

/**
 * What an attempt counts from. An issuer counts from when the request reaches it, some time between the intent and the
 * answer: from the answer, then, so that no two are nearer than the interval there. The answer of one that was interrupted
 * is not known.
 */
const countedFrom = "CASE state WHEN 'interrupted' THEN intent_at ELSE COALESCE(finished_at, intent_at) END";

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
export async function rememberLastAttempt(tx: Transaction, id: string): Promise<void> {
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
