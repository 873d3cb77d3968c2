import type { Queries } from '../../../db/database.ts';
import type { AuditEntry, SealedSecret } from '../store.ts';
import { type Remembered, remember } from './remembered.ts';
import type { Transaction } from './transaction.ts';

const writtenAtOnce = 1000;

export async function sealedSecrets(
  db: Queries,
  after: number,
  limit: number,
): Promise<{ readonly secrets: readonly SealedSecret[]; readonly nextAfter: number | null }> {
  const rows = await db.all<SealedSecret & { readonly seq: number }>(
    'SELECT seq, id AS "accountId", credential, bearer FROM accounts WHERE seq > $1 ORDER BY seq LIMIT $2',
    after,
    limit,
  );
  return {
    secrets: rows.map(({ accountId, credential, bearer }) => ({ accountId, credential, bearer })),
    nextAfter: rows.length < limit ? null : (rows.at(-1)?.seq ?? null),
  };
}

export async function replaceSealed(
  tx: Transaction,
  replaced: readonly SealedSecret[],
  facts: readonly Remembered[],
  audit: AuditEntry,
): Promise<void> {
  const ordered = replaced.toSorted((one, other) => (one.accountId < other.accountId ? -1 : 1));
  for (let from = 0; from < ordered.length; from += writtenAtOnce) {
    const page = ordered.slice(from, from + writtenAtOnce);
    await tx.db.run(
      `UPDATE accounts SET credential = sealed.credential, bearer = sealed.bearer
       FROM json_to_recordset($1::json) AS sealed (id text, credential text, bearer text)
       WHERE accounts.id = sealed.id`,
      JSON.stringify(page.map(({ accountId, ...secrets }) => ({ id: accountId, ...secrets }))),
    );
  }
  for (const { name, value } of facts) await remember(tx.db, name, value);
  await tx.audit(audit);
}
