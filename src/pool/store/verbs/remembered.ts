import type { Queries } from '../../../db/database.ts';
import type { AuditEntry, SealedSecret } from '../store.ts';
import type { Transaction } from './transaction.ts';

const writtenAtOnce = 1000;

/** Small durable facts by name: the vault's key id, what was learned from the environment, pending logins. */
export interface Remembered {
  readonly name: string;
  readonly value: string;
}

export async function remembered(db: Queries, name: string): Promise<string | null> {
  return (await db.get<Remembered>('SELECT name, value FROM meta WHERE name = $1', name))?.value ?? null;
}

/** All facts whose name begins so, by name. */
export function rememberedUnder(db: Queries, prefix: string): Promise<Remembered[]> {
  return db.all<Remembered>(
    `SELECT name, value FROM meta WHERE name >= $1 AND name < $1 || '\u{10ffff}' ORDER BY name`,
    prefix,
  );
}

export async function remember(db: Queries, name: string, value: string): Promise<void> {
  await db.run(
    'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value',
    name,
    value,
  );
}

/**
 * Writes a fact only if it still is what the caller saw (null: not there); null forgets it. False when it is not. One
 * statement for each of the four cases.
 */
export async function swapRemembered(
  db: Queries,
  name: string,
  expected: string | null,
  value: string | null,
): Promise<boolean> {
  if (expected === null && value === null) return (await remembered(db, name)) === null;
  let changed: number;
  if (expected === null) {
    const insert = 'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING';
    changed = await db.run(insert, name, value);
  } else if (value === null) {
    changed = await db.run('DELETE FROM meta WHERE name = $1 AND value = $2', name, expected);
  } else {
    changed = await db.run(
      'UPDATE meta SET value = $3 WHERE name = $1 AND value = $2',
      name,
      expected,
      value,
    );
  }
  return changed === 1;
}

/** Every account's sealed secrets, page by page: what a key rotation reads. */
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

/** Writes all of them, and the facts, in one durable transaction, or nothing. */
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

export interface Written {
  readonly seq: number;
  readonly at: number;
}
type Row = Written & Omit<AuditEntry, 'detail'> & { readonly detail: string };

export async function writeAudit(db: Queries, now: number, entry: AuditEntry): Promise<void> {
  await db.run(
    'INSERT INTO audit (at, actor, action, account_id, detail) VALUES ($1, $2, $3, $4, $5)',
    now,
    entry.actor,
    entry.action,
    entry.accountId,
    JSON.stringify(entry.detail),
  );
}

/** The newest first; `before` is the `seq` of the last one seen. */
export async function auditTrail(
  db: Queries,
  query: {
    readonly limit: number;
    readonly before?: number | undefined;
    readonly accountId?: string | undefined;
  },
): Promise<readonly (Written & AuditEntry)[]> {
  const { before = Number.MAX_SAFE_INTEGER, limit, accountId } = query;
  const ofAccount = accountId === undefined ? '' : 'AND account_id = $3';
  const rows = await db.all<Row>(
    `SELECT seq, at, actor, action, account_id AS "accountId", detail FROM audit
     WHERE seq < $1 ${ofAccount} ORDER BY seq DESC LIMIT $2`,
    before,
    limit,
    ...(accountId === undefined ? [] : [accountId]),
  );
  return rows.map((row) => ({ ...row, detail: JSON.parse(row.detail) as Record<string, unknown> }));
}
