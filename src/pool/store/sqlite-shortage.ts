import type { Shortage } from '../../pool-api/schema.ts';
import { asFlag, modelsFrom } from './rows.ts';
import type { Work } from './sqlite-work.ts';
import type { EnsureResult, LeaseDemand } from './store.ts';

type Short = Omit<Extract<EnsureResult, { result: 'short' }>, 'changes'>;

interface Question {
  readonly demand: LeaseDemand;
  readonly provider: string | null;
  readonly missing: number;
  /** Held leases that already count. */
  readonly counted: readonly string[];
  /** Providers whose free quota is spent. */
  readonly spent: ReadonlySet<string>;
}

interface ReasonRow {
  readonly reason: string;
  readonly accounts: number;
  /** Of those, how many end by themselves while the caller would wait. */
  readonly ending: number;
  readonly next_at: number | null;
}

const mostNamed = 100;
/** States that end at their time; an account the caller excludes stays out whatever its state does. */
const endsByItself = new Set(['cooldown', 'rate_limited', 'exhausted']);

/** Counts, over the accounts that match, what stands in the way of each. Looks at every one: only for a refusal. */
export function shortageOf(work: Work, question: Question): Short {
  const { demand, provider, missing } = question;
  const rows = work.db.all<ReasonRow>(
    `SELECT reason, COUNT(*) AS accounts, COUNT(*) FILTER (WHERE state_until <= ?1) AS ending,
       MIN(state_until) FILTER (WHERE reason IN ('cooldown', 'rate_limited', 'exhausted')) AS next_at
     FROM (
       SELECT state_until, CASE
         WHEN id IN (SELECT value FROM json_each(?2)) THEN 'excluded'
         WHEN id IN (SELECT value FROM json_each(?3)) THEN 'held'
         WHEN state = 'cooldown' AND state_reason = 'rate_limited' THEN 'rate_limited'
         WHEN state <> 'active' THEN state
         WHEN lend = 'gateway' AND ?4 = 0 THEN 'lend_gateway_only'
         WHEN free = 1 AND provider IN (SELECT value FROM json_each(?5)) THEN 'free_quota_spent'
         WHEN ?6 = 0 AND capacity < ?7 THEN 'too_few_slots'
         WHEN half_open = 1 AND holders > 0 THEN 'half_open'
         WHEN ?6 = 1 AND holders > 0 THEN 'leased'
         WHEN ?6 = 0 AND (exclusive_held = 1 OR shared_slots + ?7 > capacity) THEN 'leased'
         ELSE 'open' END AS reason
       FROM accounts
       WHERE (?8 IS NULL OR provider = ?8)
         AND (?9 IS NULL OR models IS NULL OR EXISTS (SELECT 1 FROM json_each(models) WHERE value = ?9))
     ) GROUP BY reason`,
    demand.waitUntil,
    JSON.stringify(demand.exclude),
    JSON.stringify(question.counted),
    asFlag(demand.owner.isGateway),
    JSON.stringify([...question.spent]),
    asFlag(demand.exclusive),
    demand.slots,
    provider,
    demand.model,
  );
  const holders = holdersOf(work, question);

  const reasons: Record<string, number> = {};
  let matching = 0;
  let attainable = 0;
  let nextAt: number | null = holders.nextExpiry;
  for (const row of rows) {
    matching += row.accounts;
    if (row.reason !== 'open' && row.reason !== 'held') reasons[row.reason] = row.accounts;
    if (row.next_at !== null) nextAt = Math.min(nextAt ?? row.next_at, row.next_at);
    if (row.reason === 'open' || row.reason === 'leased' || row.reason === 'half_open') {
      attainable += row.accounts;
    } else if (endsByItself.has(row.reason)) {
      attainable += row.ending;
    }
  }
  const spentIsEnding = rows.some((row) => row.reason === 'exhausted' && row.ending > 0);
  if (spentIsEnding) attainable += reasons['free_quota_spent'] ?? 0;
  return {
    result: 'short',
    missing,
    shortage: { matching, reasons, holders: holders.counts },
    couldServe: attainable >= missing,
    nextAt,
    gatewayHeld: holders.gatewayHeld,
    skipped: [],
  };
}

interface HolderRow {
  readonly account_id: string;
  readonly models: string | null;
  readonly exclusive: number;
  readonly is_gateway: number;
  readonly expires_at: number;
}

function holdersOf(
  work: Work,
  { demand, provider }: Question,
): {
  readonly counts: Shortage['holders'];
  readonly nextExpiry: number | null;
  readonly gatewayHeld: readonly string[];
} {
  const rows = work.db.iterate<HolderRow>(
    `SELECT leases.account_id, accounts.models, leases.exclusive, sessions.is_gateway, sessions.expires_at
     FROM leases JOIN sessions ON sessions.id = leases.session_id
       JOIN accounts ON accounts.id = leases.account_id
     WHERE leases.session_id <> ?1 AND accounts.state = 'active' AND (?2 IS NULL OR accounts.provider = ?2)
       AND (?3 = 1 OR leases.exclusive = 1 OR accounts.half_open = 1
         OR accounts.shared_slots + ?4 > accounts.capacity)`,
    demand.sessionId,
    provider,
    asFlag(demand.exclusive),
    demand.slots,
  );
  const exclusive = new Set<string>();
  const shared = new Set<string>();
  const gateway = new Set<string>();
  const gatewayHeld = new Set<string>();
  const excluded = new Set(demand.exclude);
  let nextExpiry: number | null = null;
  for (const row of rows) {
    const isOther = excluded.has(row.account_id) || !allows(row.models, demand.model);
    if (isOther) continue;
    nextExpiry = Math.min(nextExpiry ?? row.expires_at, row.expires_at);
    if (row.is_gateway === 1) gateway.add(row.account_id);
    else if (row.exclusive === 1) exclusive.add(row.account_id);
    else shared.add(row.account_id);
    if (row.is_gateway === 1 && row.exclusive === 0 && gatewayHeld.size < mostNamed) {
      gatewayHeld.add(row.account_id);
    }
  }
  return {
    counts: { exclusive: exclusive.size, shared: shared.size, gateway: gateway.size },
    nextExpiry,
    gatewayHeld: [...gatewayHeld],
  };
}

function allows(models: string | null, model: string | null): boolean {
  return model === null || (modelsFrom(models)?.includes(model) ?? true);
}
