import type { SQLInputValue } from 'node:sqlite';
import type { Sqlite } from '../../db/sqlite.ts';
import { isAvailable, type KindCount, kindFrom, noStates } from './kinds.ts';
import type { ProviderStats, Stats } from './store.ts';

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

/** The counts of the whole pool and of each provider. */
export function countedStats(
  counts: readonly KindCount[],
): Pick<
  Stats,
  | 'total'
  | 'available'
  | 'inUse'
  | 'standby'
  | 'active'
  | 'cooldown'
  | 'exhausted'
  | 'reauthRequired'
  | 'disabled'
  | 'byProvider'
> {
  type Sums = { -readonly [Name in keyof ProviderStats]: ProviderStats[Name] } & {
    states: ReturnType<typeof noStates>;
    total: number;
  };
  const sumsOf = (provider: string): Sums => ({
    provider,
    available: 0,
    inUse: 0,
    states: noStates(),
    total: 0,
  });
  const all = sumsOf('');
  const providers = new Map<string, Sums>();
  for (const { provider, kind, accounts } of counts) {
    const own = providers.get(provider) ?? sumsOf(provider);
    providers.set(provider, own);
    for (const sums of [all, own]) {
      sums.total += accounts;
      sums.states[kind.state] += accounts;
      if (isAvailable(kind)) sums.available += accounts;
      if (kind.held) sums.inUse += accounts;
    }
  }
  const { reauth_required: reauthRequired, ...states } = all.states;
  return {
    ...states,
    reauthRequired,
    total: all.total,
    available: all.available,
    inUse: all.inUse,
    byProvider: [...providers.values()].map(({ total: _total, ...stats }) => stats),
  };
}
