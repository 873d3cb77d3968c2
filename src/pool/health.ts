import { type DiskHealth, logFault } from '../lib/disk-health.ts';
import type { PoolHealth } from '../pool-api/pool.ts';
import { judgePool, storeFaults } from '../pool-api/readiness.ts';
import type { Basics } from './basics.ts';
import type { Identify } from './keys.ts';
import { readinessOf } from './readiness.ts';
import { logFailure } from './server-errors.ts';
import type { ProviderStats } from './store/store.ts';
import type { StoreHealth } from './store-health.ts';

/** Whether the pool can lend, as far as its store tells. */
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
function isInService({ states }: ProviderStats): boolean {
  return states.active + states.cooldown + states.exhausted + states.standby > 0;
}

/** What `/health` says to a caller with these keys, which can check them so. */
export function presentHealth(
  health: PoolHealth,
  { log, disk }: DiskHealth,
  caller: NonNullable<PoolHealth['caller']>,
  version: string,
) {
  const { isSandbox, providers, accounts, gatewayOnly } = health;
  const reasons = [...faultsOf(health), ...(log.writable ? [] : [logFault])];
  return {
    status: reasons.length === 0 ? 'ok' : 'degraded',
    ...(reasons.length > 0 && { reason: reasons.join(' ') }),
    sandbox: isSandbox,
    ...(providers && { providers }),
    ...(caller !== 'unknown' && accounts && { accounts }),
    caller,
    ...((caller === 'borrower' || caller === 'admin') && { gateway_only_accounts: gatewayOnly }),
    store: { reachable: health.lacksStore !== true, writable: health.isReadOnly !== true },
    log,
    disk,
    version,
  };
}

export function callerNamed(identify: Identify, shown: readonly string[]): NonNullable<PoolHealth['caller']> {
  try {
    const { role, isGateway } = identify(shown);
    return isGateway ? 'gateway' : role;
  } catch {
    return 'unknown';
  }
}

/** Why the pool cannot lend, each with what to do. */
function faultsOf({ isReachable, isReadOnly, isSandbox, accounts }: PoolHealth): string[] {
  if (!isReachable) return [storeFaults.unreachable];
  const verdict = isSandbox || accounts === undefined ? undefined : judgePool(accounts);
  return [
    ...(isReadOnly ? [storeFaults.readOnly] : []),
    ...(verdict?.isReady === false ? [verdict.reason] : []),
  ];
}
