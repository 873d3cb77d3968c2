import { type DiskHealth, logFault } from '../../lib/log/disk-health.ts';
import type { PoolHealth } from '../../pool-api/pool.ts';
import { judgePool, storeFaults } from '../../pool-api/readiness.ts';

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

/** Why the pool cannot lend, each with what to do. */
function faultsOf({ isReachable, isReadOnly, isSandbox, accounts }: PoolHealth): string[] {
  if (!isReachable) return [storeFaults.unreachable];
  const verdict = isSandbox || accounts === undefined ? undefined : judgePool(accounts);
  return [
    ...(isReadOnly ? [storeFaults.readOnly] : []),
    ...(verdict?.isReady === false ? [verdict.reason] : []),
  ];
}
