import type { Queries } from '../../db/postgres.ts';
import { type Work, writeAudit } from './postgres-work.ts';
import type { AuditEntry, SealedSecret, StoreVerbs } from './store.ts';

type Trail = Awaited<ReturnType<StoreVerbs['auditTrail']>>;

interface Fact {
  readonly name: string;
  readonly value: string;
}

/** The audit trail, the newest first. */
export async function auditTrail(
  db: Queries,
  query: Parameters<StoreVerbs['auditTrail']>[0],
): Promise<Trail> {
  const values = [query.before ?? Number.MAX_SAFE_INTEGER, query.limit];
  const columns = 'seq, at, actor, action, account_id AS "accountId", detail';
  type Row = Omit<Trail[number], 'detail'> & { readonly detail: string };
  const rows =
    query.accountId === undefined
      ? await db.all<Row>(`SELECT ${columns} FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2`, ...values)
      : await db.all<Row>(
          `SELECT ${columns} FROM audit WHERE seq < $1 AND account_id = $3 ORDER BY seq DESC LIMIT $2`,
          ...values,
          query.accountId,
        );
  return rows.map((row) => ({ ...row, detail: JSON.parse(row.detail) as Record<string, unknown> }));
}

export async function remembered(db: Queries, name: string): Promise<string | null> {
  return (await db.get<Fact>('SELECT name, value FROM meta WHERE name = $1', name))?.value ?? null;
}

export function rememberedUnder(db: Queries, prefix: string): Promise<Fact[]> {
  return db.all<Fact>(
    `SELECT name, value FROM meta WHERE name >= $1 AND name < $1 || '\u{10ffff}' ORDER BY name`,
    prefix,
  );
}

/** Writes a fact only if it still is what the caller saw: one statement for each of the four cases. */
export async function swapRemembered(
  db: Queries,
  name: string,
  expected: string | null,
  value: string | null,
): Promise<boolean> {
  if (expected === null && value === null) return (await remembered(db, name)) === null;
  if (expected === null) {
    return (
      (await db.run('INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING', name, value)) ===
      1
    );
  }
  const changed =
    value === null
      ? await db.run('DELETE FROM meta WHERE name = $1 AND value = $2', name, expected)
      : await db.run('UPDATE meta SET value = $3 WHERE name = $1 AND value = $2', name, expected, value);
  return changed === 1;
}

export async function writeFact(db: Queries, { name, value }: Fact): Promise<void> {
  await db.run(
    'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value',
    name,
    value,
  );
}

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
  work: Work,
  replaced: readonly SealedSecret[],
  facts: readonly Fact[],
  audit: AuditEntry,
): Promise<void> {
  const atOnce = 1000;
  const ordered = replaced.toSorted((one, other) => (one.accountId < other.accountId ? -1 : 1));
  for (let from = 0; from < ordered.length; from += atOnce) {
    const page = ordered.slice(from, from + atOnce);
    await work.db.run(
      `UPDATE accounts SET credential = sealed.credential, bearer = sealed.bearer
       FROM unnest($1::text[], $2::text[], $3::text[]) AS sealed (id, credential, bearer)
       WHERE accounts.id = sealed.id`,
      page.map(({ accountId }) => accountId),
      page.map(({ credential }) => credential),
      page.map(({ bearer }) => bearer),
    );
  }
  for (const fact of facts) await writeFact(work.db, fact);
  await writeAudit(work, audit);
}
