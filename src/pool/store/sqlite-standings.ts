import type { SQLInputValue } from 'node:sqlite';
import type { Sqlite } from '../../db/sqlite.ts';
import { type KindCount, kindFrom } from './kinds.ts';

/** How many accounts there are of each kind, of one provider or of all. */
export function kindCounts(db: Sqlite, provider: string | null): KindCount[] {
  const values: SQLInputValue[] = provider === null ? [] : [provider];
  const rows = db.all<{ readonly provider: string; readonly kind: number; readonly accounts: number }>(
    `SELECT provider, kind, accounts FROM standings
     WHERE accounts > 0 ${provider === null ? '' : 'AND provider = ?'}`,
    ...values,
  );
  return rows.map(({ provider: owner, kind, accounts }) => ({
    provider: owner,
    number: kind,
    kind: kindFrom(kind),
    accounts,
  }));
}

/** Providers with a free account whose quota is spent: none of their free accounts may stand in for it. */
export function providersWithSpentFreeQuota(db: Sqlite): string[] {
  const rows = db.all<{ provider: string }>(
    `SELECT DISTINCT provider FROM accounts INDEXED BY accounts_free_spent
     WHERE free = 1 AND quota_spent = 1 AND state IN ('exhausted', 'cooldown')`,
  );
  return rows.map((row) => row.provider);
}
