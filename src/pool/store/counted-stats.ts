import { isAvailable, type KindCount, noStates } from './kinds.ts';
import { isOutOfService } from './standing-change.ts';
import type { ProviderStats, Stats } from './store.ts';

/** What an account's totals stop at, so that they stay whole numbers to every reader. */
export const mostCounted = Number.MAX_SAFE_INTEGER;
/** The same for a minute's: those of an hour are added up. */
export const mostInMinute = Math.floor(mostCounted / 64);

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
  | 'kinds'
  | 'gatewayOnly'
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
  let gatewayOnly = 0;
  const providers = new Map<string, Sums>();
  for (const { provider, kind, accounts } of counts) {
    const own = providers.get(provider) ?? sumsOf(provider);
    providers.set(provider, own);
    if (kind.gatewayOnly && !isOutOfService(kind)) gatewayOnly += accounts;
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
    gatewayOnly,
    kinds: counts,
    byProvider: [...providers.values()].map(({ total: _total, ...stats }) => stats),
  };
}
