import type { PoolHealth } from '../../pool-api/pool.ts';
import type { Readiness } from '../../pool-api/readiness.ts';
import type { Basics } from '../base/basics.ts';
import { logFailure } from '../base/failures.ts';
import type { StoreHealth } from '../base/store-health.ts';
import { reasonFor } from '../store/rules/leasing.ts';
import type { Stats } from '../store/store.ts';

/** How all accounts stand to one who would share one of them for a turn. */
export function readinessOf(
  { kinds, freeQuotaSpent }: Pick<Stats, 'kinds' | 'freeQuotaSpent'>,
  isGateway: boolean,
): Readiness {
  const asked = {
    demand: { owner: { isGateway }, model: null, exclusive: false, slots: 1 },
    excluded: new Set<string>(),
    counted: new Set<string>(),
    spent: new Set(freeQuotaSpent),
  };
  const providers: Record<string, Record<string, number>> = {};
  for (const { provider, number, kind, accounts } of kinds) {
    const row = { id: '', provider, models: null, capacity: 1, shared_slots: 0, kind: number };
    const reason = reasonFor(row, asked);
    // One that is busy with turns of others serves as well.
    const isBusy = (reason === 'leased' || reason === 'half_open') && !kind.exclusivelyHeld;
    const isOpen = isBusy || reason === 'open';
    const word = isOpen ? (kind.modelsLimited ? 'open_for_models' : 'open') : reason;
    const counts = providers[provider] ?? {};
    providers[provider] = { ...counts, [word]: (counts[word] ?? 0) + accounts };
  }
  return providers;
}

/** Whether the pool can lend, by what its store says. */
export async function poolHealth(
  { store, logger }: Basics,
  storeHealth: StoreHealth,
  isSandbox: boolean,
  isGateway: boolean,
): Promise<PoolHealth> {
  const withoutStore = {
    isReachable: false,
    lacksStore: true,
    isSandbox,
    providers: undefined,
    gatewayOnly: 0,
    isReadOnly: true,
    caller: undefined,
  };
  try {
    const found = await storeHealth.look(store);
    if (found === undefined) return withoutStore;
    const { stats } = found;
    return {
      isReachable: true,
      isSandbox,
      providers: stats?.byProvider.filter(isInService).map((one) => one.provider),
      accounts: stats && readinessOf(stats, isGateway),
      gatewayOnly: stats?.gatewayOnly ?? 0,
      isReadOnly: storeHealth.isFailing,
      caller: undefined,
    };
  } catch (error) {
    logFailure(logger, error, 'the store does not answer');
    return withoutStore;
  }
}

/** Some account of the provider is not given up. */
function isInService({ states }: Stats['byProvider'][number]): boolean {
  return states.active + states.cooldown + states.exhausted + states.standby > 0;
}
