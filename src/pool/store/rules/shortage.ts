import { isTokenReason } from '../../standing/standing.ts';
import type { Short, Skip } from '../store.ts';
import { asActive, type KindCount, kindBits, kindFrom } from './kinds.ts';
import { type CandidateRow, mayUse, type Question, reasonFor } from './leasing.ts';
import type { AccountRow } from './rows.ts';

/** What a refusal says, from what a database read. */

export interface ShortageFacts {
  readonly kinds: readonly KindCount[];
  /** The accounts that the caller names or holds. */
  readonly named: readonly CandidateRow[];
  /** The accounts whose kind alone does not decide this demand; each once. */
  readonly lookedAt: Iterable<CandidateRow>;
  /** Accounts that match and whose rest ends at a known time, the first to end first. */
  readonly resting: Iterable<RestRow>;
  /** Leases of others in the way, the first to expire first. */
  readonly holders: Iterable<HolderRow>;
  readonly gatewayHolders: Iterable<HolderRow>;
  /** The first accounts of the pool. */
  readonly first: readonly CandidateRow[];
}

export type RestRow = CandidateRow &
  Pick<AccountRow, 'state' | 'state_reason'> & { readonly state_until: number };

export interface HolderRow {
  readonly account_id: string;
  readonly models: string | null;
  readonly exclusive: number;
  readonly is_gateway: number;
  readonly expires_at: number;
}

const mostNamed = 100;
/** Callers wait for a refresh that runs so soon, even those who would not wait for a place. */
export const refreshGapMs = 15_000;
/** So many accounts are named in a refusal. */
export const mostSkips = 100;
/** So many leases are looked at for a refusal; in a larger crowd the counts say "at least". */
export const mostHolders = 500;

/** Whether an account's kind alone does not decide if it can be lent for this demand. */
function needsLook(kind: number, { demand }: Question): boolean {
  return (
    (demand.model !== null && (kind & kindBits.modelsLimited) !== 0) ||
    (needsRoom({ demand }) && kindFrom(kind).state === 'active')
  );
}

export function needsRoom({ demand }: Pick<Question, 'demand'>): boolean {
  return !demand.exclusive && demand.slots > 1;
}

export function shortageFrom(question: Question, now: number, facts: ShortageFacts): Short {
  const { missing } = question;
  const counts = countReasons(question, facts);
  const holders = countHolders(question, facts);
  const rests = countRests(question, now, facts.resting, {
    places: missing - counts.attainable,
    bearers: missing - counts.open,
  });
  const attainable =
    counts.attainable +
    rests.ending +
    (rests.isQuotaReturning ? (counts.reasons['free_quota_spent'] ?? 0) : 0);
  const times = [rests.nextAt, holders.nextExpiry].filter((time) => time !== null);
  return {
    result: 'short',
    missing,
    shortage: { matching: counts.matching, reasons: counts.reasons, holders: holders.counts },
    couldServe: attainable >= missing,
    nextAt: times.length === 0 ? null : Math.min(...times),
    refreshBy: rests.refreshBy,
    gatewayHeld: holders.gatewayHeld,
    skipped: skipsFrom(question, facts.first),
  };
}

function countReasons(question: Question, { kinds, named, lookedAt }: ShortageFacts) {
  const reasons: Record<string, number> = {};
  let matching = 0;
  let attainable = 0;
  let open = 0;
  const note = (reason: string, accounts: number): void => {
    if (reason === 'model') return;
    matching += accounts;
    if (reason === 'open') open += accounts;
    if (reason === 'open' || reason === 'leased' || reason === 'half_open') attainable += accounts;
    if (reason !== 'open' && reason !== 'held') reasons[reason] = (reasons[reason] ?? 0) + accounts;
  };
  for (const row of kinds) {
    if (needsLook(row.number, question)) continue;
    const like = { id: '', models: null, capacity: 1, shared_slots: 0, provider: row.provider };
    note(reasonFor({ ...like, kind: row.number }, question), row.accounts);
  }
  // Those the caller names or holds were counted with their kind: they move to a reason of their own.
  for (const row of named) {
    const isOfOther = question.provider !== null && row.provider !== question.provider;
    if (isOfOther || needsLook(row.kind, question)) continue;
    note(reasonFor({ ...row, id: '' }, question), -1);
    note(reasonFor(row, question), 1);
  }
  for (const row of lookedAt) note(reasonFor(row, question), 1);
  for (const [reason, accounts] of Object.entries(reasons)) if (accounts === 0) delete reasons[reason];
  return { matching, reasons, attainable, open };
}

/**
 * Accounts whose rest ends at a known time: the first of all, those within the caller's wait as far as it needs them, and when
 * refreshes will have given as many as it needs, if that is soon.
 */
function countRests(
  question: Question,
  now: number,
  rows: Iterable<RestRow>,
  needed: { readonly places: number; readonly bearers: number },
) {
  const { demand } = question;
  let nextAt: number | null = null;
  let ending = 0;
  let isQuotaReturning = false;
  let refreshed = 0;
  let refreshBy: number | null = null;
  for (const row of rows) {
    nextAt ??= row.state_until;
    const isInTime = row.state_until <= demand.waitUntil && ending < needed.places;
    const isSoon = row.state_until <= now + refreshGapMs && refreshBy === null;
    if (!isInTime && !isSoon) break;
    if (isInTime) ending += 1;
    if (isInTime && row.state === 'exhausted') isQuotaReturning = true;
    if (!isSoon || !waitsForBearer(row)) continue;
    if (reasonFor({ ...row, kind: asActive(row.kind) }, question) === 'open') refreshed += 1;
    if (refreshed >= needed.bearers) refreshBy = row.state_until;
  }
  return { nextAt, ending, isQuotaReturning, refreshBy };
}

function waitsForBearer(row: RestRow): boolean {
  return row.state === 'cooldown' && isTokenReason(row.state_reason);
}

/** Who stands in the way with leases: the counts, the first to expire, and where gateways could give way. */
function countHolders({ demand, excluded }: Question, { holders, gatewayHolders }: ShortageFacts) {
  const isInTheWay = (row: HolderRow): boolean =>
    !excluded.has(row.account_id) && mayUse(row.models, demand.model);
  const held = { exclusive: new Set<string>(), shared: new Set<string>(), gateway: new Set<string>() };
  let nextExpiry: number | null = null;
  for (const row of holders) {
    if (!isInTheWay(row)) continue;
    nextExpiry ??= row.expires_at;
    const kind = row.is_gateway === 1 ? 'gateway' : row.exclusive === 1 ? 'exclusive' : 'shared';
    held[kind].add(row.account_id);
  }
  const gatewayHeld = new Set<string>();
  for (const row of gatewayHolders) {
    if (row.exclusive === 0 && isInTheWay(row)) gatewayHeld.add(row.account_id);
    if (gatewayHeld.size === mostNamed) break;
  }
  return {
    counts: { exclusive: held.exclusive.size, shared: held.shared.size, gateway: held.gateway.size },
    nextExpiry,
    gatewayHeld: [...gatewayHeld],
  };
}

/** Why each account was not taken. */
function skipsFrom(question: Question, rows: readonly CandidateRow[]): Skip[] {
  return rows
    .map((row) => ({ accountId: row.id, reason: reasonFor(row, question) }))
    .filter(({ reason }) => reason !== 'open' && reason !== 'held');
}
