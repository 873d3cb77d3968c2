import { accountStates } from '../../../core/outcome.ts';
import type { AccountState } from '../../../pool-api/schema.ts';
import type { Lease, LeaseDemand, ReportDemand, ReportedTurn, Skip } from '../store.ts';
import { type AccountRow, accountFrom, modelsFrom, type SessionRow } from './rows.ts';

/** What decides about leases, whatever database keeps them. */

export type HeldRow = AccountRow & { readonly lease_fence: number; readonly lease_slots: number };

export type CandidateRow = Pick<
  AccountRow,
  'id' | 'provider' | 'models' | 'label' | 'capacity' | 'shared_slots' | 'kind'
>;
export const candidateColumns = 'id, provider, models, label, capacity, shared_slots, kind';

/** What a choice and a refusal are made from. */
export interface Question extends Asked {
  readonly demand: LeaseDemand;
  readonly provider: string | null;
  readonly missing: number;
}

/** What a demand still needs, once the leases its session holds are counted. */
export type Need = ReturnType<typeof needOf>;

/** So many are named in a grant. */
export const mostPassed = 20;

/** `spent` are the providers with a free account whose quota is spent. */
export function needOf(
  demand: LeaseDemand,
  provider: string | null,
  held: readonly HeldRow[],
  spent: ReadonlySet<string>,
) {
  const excluded = new Set(demand.exclude);
  const matches = (row: HeldRow): boolean =>
    (provider === null || row.provider === provider) &&
    mayUse(row.models, demand.model) &&
    isLabelled(row.label, demand.labels) &&
    !excluded.has(row.id);
  const isLendable = (row: HeldRow): boolean =>
    (row.lend === 'any' || demand.owner.isGateway) && !(row.free === 1 && spent.has(row.provider));

  const matching = held.filter(matches);
  const counted = matching.filter((row) => row.lease_slots >= demand.slots);
  const missing = Math.max(0, demand.count - counted.length);
  const growing = matching
    .filter((row) => row.lease_slots < demand.slots && row.state === 'active' && isLendable(row))
    .filter((row) => row.shared_slots - row.lease_slots + demand.slots <= row.capacity)
    .slice(0, missing);
  return {
    question: {
      demand,
      provider,
      missing: missing - growing.length,
      excluded,
      counted: new Set(counted.map((row) => row.id)),
      spent,
    },
    /** Held leases that get more slots and then count. */
    growing,
    heldIds: new Set(held.map((row) => row.id)),
    /** Whether a held lease belongs in the answer. */
    counts: (row: HeldRow): boolean => matches(row) && row.lease_slots >= demand.slots,
  };
}

/** Why better placed accounts were passed over, the preferred one first. */
export function passedOver(rows: readonly CandidateRow[], question: Question): Skip[] {
  const isOfOther = (row: CandidateRow) => question.provider !== null && row.provider !== question.provider;
  return rows
    .map((row) => ({ accountId: row.id, reason: isOfOther(row) ? 'provider' : reasonFor(row, question) }))
    .filter(({ reason }) => reason !== 'open')
    .slice(0, mostPassed);
}

/**
 * Whether what a report says was used is counted. A turn may end after its lease, but a program cannot count for one that
 * there never was, or that it could not have had.
 */
export function countsUsage(
  row: Pick<AccountRow, 'fence_counter' | 'lend'>,
  { fence, signal }: Pick<ReportedTurn, 'fence' | 'signal'>,
  isLive: boolean,
): boolean {
  if (isLive || !signal.isClaim) return true;
  return fence >= 1 && fence <= row.fence_counter && row.lend === 'any';
}

/** What a report's id is unique within: a report of one session must not make another session's a duplicate. */
export function reporterOf({ keyId, sessionId }: Pick<ReportDemand, 'keyId' | 'sessionId'>): string {
  return `${keyId} ${sessionId}`;
}

export function mismatchOf(
  session: SessionRow,
  held: readonly HeldRow[],
  demand: LeaseDemand,
): string | undefined {
  if (session.key_id !== demand.owner.keyId) {
    return 'This session id is in use by another key; choose another id.';
  }
  if ((session.exclusive === 1) !== demand.exclusive) {
    const kind = session.exclusive === 1 ? 'exclusive' : 'shared';
    return `This session holds ${kind} leases; ask with exclusive=${session.exclusive === 1}, or use another session id.`;
  }
  const { provider } = demand;
  if (provider === null) return undefined;
  const other = session.provider ?? held.find((row) => row.provider !== provider)?.provider ?? provider;
  return other === provider
    ? undefined
    : `This session is for provider "${other}"; use another session id for "${provider}".`;
}

/** What of a question decides about one account. */
export interface Asked {
  readonly demand: Pick<LeaseDemand, 'model' | 'labels' | 'exclusive' | 'slots'> & {
    readonly owner: Pick<LeaseDemand['owner'], 'isGateway'>;
  };
  readonly excluded: ReadonlySet<string>;
  /** Held leases that already count. */
  readonly counted: ReadonlySet<string>;
  /** Providers whose free quota is spent. */
  readonly spent: ReadonlySet<string>;
}

/** An account of which nothing but its kind decides. */
export function candidateOf(provider: string, kind: number): CandidateRow {
  return { id: '', provider, models: null, label: null, capacity: 1, shared_slots: 0, kind };
}

/** One who would share an account for a turn. */
export function sharer(isGateway: boolean, spent: Iterable<string>): Asked {
  return {
    demand: { owner: { isGateway }, model: null, labels: null, exclusive: false, slots: 1 },
    excluded: new Set(),
    counted: new Set(),
    spent: new Set(spent),
  };
}

/** Why an account is not lent: a word of `Skip`; `open` when nothing is in the way, `held` when it counts already. */
export function reasonFor(row: CandidateRow, { demand, excluded, counted, spent }: Asked): string {
  if (!mayUse(row.models, demand.model)) return 'model';
  if (!isLabelled(row.label, demand.labels)) return 'label';
  if (excluded.has(row.id)) return 'excluded';
  if (counted.has(row.id)) return 'held';
  const kind = kindFrom(row.kind);
  if (kind.rateLimited) return 'rate_limited';
  if (kind.state !== 'active') return kind.state;
  if (kind.gatewayOnly && !demand.owner.isGateway) return 'lend_gateway_only';
  if (kind.free && spent.has(row.provider)) return 'free_quota_spent';
  if (!demand.exclusive && row.capacity < demand.slots) return 'too_few_slots';
  if (kind.halfOpen && kind.held) return 'half_open';
  if (demand.exclusive) return kind.held ? 'leased' : 'open';
  const hasRoom = demand.slots === 1 ? !kind.full : row.shared_slots + demand.slots <= row.capacity;
  return kind.exclusivelyHeld || !hasRoom ? 'leased' : 'open';
}

export function leaseFrom(row: HeldRow): Lease {
  return { account: accountFrom(row), fence: row.lease_fence, slots: row.lease_slots };
}

export function mayUse(models: string | null, model: string | null): boolean {
  return model === null || (modelsFrom(models)?.includes(model) ?? true);
}

export function isLabelled(label: string | null, labels: readonly string[] | null): boolean {
  return labels === null || (label !== null && labels.includes(label));
}

/**
 * What the accounts are counted by: the state, and everything else that decides whether an account can be lent, in one
 * number. A released database has these numbers in it: new states and new flags go to the end.
 */
export const kindStates = accountStates;

export const kindBits = {
  rateLimited: 8,
  gatewayOnly: 16,
  free: 32,
  held: 64,
  halfOpen: 128,
  exclusivelyHeld: 256,
  /** Not one more shared slot. */
  full: 512,
  /** Only some models. */
  modelsLimited: 1024,
} as const;

export type Kind = { readonly state: AccountState } & {
  readonly [Flag in keyof typeof kindBits]: boolean;
};

/** Accounts of one provider that are alike in all that decides whether they can be lent. */
export interface KindCount {
  readonly provider: string;
  readonly number: number;
  readonly kind: Kind;
  readonly accounts: number;
}

const stateMask = 7;

const known = new Map<number, Kind>();

export function kindFrom(number: number): Kind {
  const found = known.get(number);
  if (found !== undefined) return found;
  const state = kindStates[number & stateMask];
  if (state === undefined) throw new Error(`${number} is no kind of account`);
  const flags = Object.entries(kindBits).map(([flag, bit]) => [flag, (number & bit) !== 0]);
  const kind = { state, ...(Object.fromEntries(flags) as Record<keyof typeof kindBits, boolean>) };
  known.set(number, kind);
  return kind;
}

/** The same account once it is active. */
export function asActive(number: number): number {
  return number - (number & stateMask) + kindStates.indexOf('active');
}

/** Has a place for one more shared turn. */
export function isAvailable(kind: Kind): boolean {
  return kind.state === 'active' && !kind.exclusivelyHeld && !kind.full && !(kind.halfOpen && kind.held);
}

/** How many accounts of each state a count holds; every state is named. */
export function noStates(): Record<AccountState, number> {
  return Object.fromEntries(accountStates.map((state) => [state, 0])) as Record<AccountState, number>;
}
