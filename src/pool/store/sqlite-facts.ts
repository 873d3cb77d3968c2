import type { Sqlite } from '../../db/sqlite.ts';
import { type Work, writeAudit } from './sqlite-work.ts';
import type { AuditEntry, SealedSecret, StoreVerbs } from './store.ts';

type Trail = Awaited<ReturnType<StoreVerbs['auditTrail']>>;

interface Fact {
  readonly name: string;
  readonly value: string;
}

/** The audit trail, the newest first. */
export function auditTrail(db: Sqlite, query: Parameters<StoreVerbs['auditTrail']>[0]): Trail {
  const rows = db.all<Omit<Trail[number], 'detail'> & { readonly detail: string }>(
    `SELECT seq, at, actor, action, account_id AS accountId, detail FROM audit
     WHERE seq < ?1 AND (?2 IS NULL OR account_id = ?2) ORDER BY seq DESC LIMIT ?3`,
    query.before ?? Number.MAX_SAFE_INTEGER,
    query.accountId ?? null,
    query.limit,
  );
  return rows.map((row) => ({ ...row, detail: JSON.parse(row.detail) as Record<string, unknown> }));
}

export function remembered(db: Sqlite, name: string): string | null {
  return db.get<Fact>('SELECT name, value FROM meta WHERE name = ?', name)?.value ?? null;
}

export function rememberedUnder(db: Sqlite, prefix: string): Fact[] {
  return db.all<Fact>(
    'SELECT name, value FROM meta WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name',
    prefix,
  );
}

/** Call it inside a transaction. */
export function swapRemembered(
  db: Sqlite,
  name: string,
  expected: string | null,
  value: string | null,
): boolean {
  if (remembered(db, name) !== expected) return false;
  if (value === null) db.run('DELETE FROM meta WHERE name = ?', name);
  else writeFact(db, { name, value });
  return true;
}

export function writeFact(db: Sqlite, { name, value }: Fact): void {
  db.run(
    'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    name,
    value,
  );
}

export function sealedSecrets(
  db: Sqlite,
  after: number,
  limit: number,
): { readonly secrets: readonly SealedSecret[]; readonly nextAfter: number | null } {
  const rows = db.all<SealedSecret & { readonly seq: number }>(
    'SELECT seq, id AS accountId, credential, bearer FROM accounts WHERE seq > ? ORDER BY seq LIMIT ?',
    after,
    limit,
  );
  return {
    secrets: rows.map(({ accountId, credential, bearer }) => ({ accountId, credential, bearer })),
    nextAfter: rows.length < limit ? null : (rows.at(-1)?.seq ?? null),
  };
}

export function replaceSealed(
  work: Work,
  replaced: readonly SealedSecret[],
  facts: readonly Fact[],
  audit: AuditEntry,
): void {
  for (const { accountId, credential, bearer } of replaced) {
    work.db.run('UPDATE accounts SET credential = ?, bearer = ? WHERE id = ?', credential, bearer, accountId);
  }
  for (const fact of facts) writeFact(work.db, fact);
  writeAudit(work, audit);
}
