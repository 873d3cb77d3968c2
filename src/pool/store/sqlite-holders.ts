import type { SQLInputValue } from 'node:sqlite';
import type { Shortage } from '../../pool-api/schema.ts';
import { asFlag, modelsFrom } from './rows.ts';
import type { Work } from './sqlite-work.ts';
import type { LeaseDemand } from './store.ts';

interface HolderRow {
  readonly account_id: string;
  readonly models: string | null;
  readonly exclusive: number;
  readonly is_gateway: number;
  readonly expires_at: number;
}

const mostNamed = 100;
/** So many leases are looked at for a refusal; in a larger crowd the counts say "at least". */
const mostSeen = 500;

/** Who stands in the way with leases: the counts, the first to expire, and where gateways could give way. */
export function holdersOf(
  work: Work,
  demand: LeaseDemand,
  provider: string | null,
): {
  readonly counts: Shortage['holders'];
  readonly nextExpiry: number | null;
  readonly gatewayHeld: readonly string[];
} {
  const excluded = new Set(demand.exclude);
  const isInTheWay = (row: HolderRow): boolean =>
    !excluded.has(row.account_id) &&
    (demand.model === null || (modelsFrom(row.models)?.includes(demand.model) ?? true));
  const held = {
    exclusive: new Set<string>(),
    shared: new Set<string>(),
    gateway: new Set<string>(),
  };
  let nextExpiry: number | null = null;
  for (const row of leasesInTheWay(work, demand, provider, false)) {
    if (!isInTheWay(row)) continue;
    nextExpiry ??= row.expires_at;
    const kind = row.is_gateway === 1 ? 'gateway' : row.exclusive === 1 ? 'exclusive' : 'shared';
    held[kind].add(row.account_id);
  }
  const gatewayHeld = new Set<string>();
  for (const row of leasesInTheWay(work, demand, provider, true)) {
    if (row.exclusive === 0 && isInTheWay(row)) gatewayHeld.add(row.account_id);
    if (gatewayHeld.size === mostNamed) break;
  }
  return {
    counts: { exclusive: held.exclusive.size, shared: held.shared.size, gateway: held.gateway.size },
    nextExpiry,
    gatewayHeld: [...gatewayHeld],
  };
}

/** Leases of others, those of the sessions that end first before the rest. */
function leasesInTheWay(
  work: Work,
  demand: LeaseDemand,
  provider: string | null,
  onlyGateways: boolean,
): Iterable<HolderRow> {
  const values: SQLInputValue[] = [
    demand.sessionId,
    provider,
    asFlag(demand.exclusive),
    demand.slots,
    mostSeen,
  ];
  return work.db.iterate<HolderRow>(
    `SELECT leases.account_id, accounts.models, leases.exclusive, sessions.is_gateway, sessions.expires_at
     FROM sessions INDEXED BY ${onlyGateways ? 'sessions_of_gateways' : 'sessions_by_expiry'}
       CROSS JOIN leases ON leases.session_id = sessions.id
       CROSS JOIN accounts ON accounts.id = leases.account_id
     WHERE sessions.id <> ?1 ${onlyGateways ? 'AND sessions.is_gateway = 1' : ''}
       AND accounts.state = 'active' AND (?2 IS NULL OR accounts.provider = ?2)
       AND (?3 = 1 OR leases.exclusive = 1 OR accounts.half_open = 1
         OR accounts.shared_slots + ?4 > accounts.capacity)
     ORDER BY sessions.expires_at LIMIT ?5`,
    ...values,
  );
}
