import type { SQLInputValue } from 'node:sqlite';
import { kindBits, kindFrom } from './kinds.ts';
import { type AccountRow, modelsFrom } from './rows.ts';
import { holdersOf } from './sqlite-holders.ts';
import { kindCounts } from './sqlite-standings.ts';
import type { Work } from './sqlite-work.ts';
import type { EnsureResult, LeaseDemand, Skip } from './store.ts';

type Short = Omit<Extract<EnsureResult, { result: 'short' }>, 'changes'>;

export interface Question {
  readonly demand: LeaseDemand;
  readonly provider: string | null;
  readonly missing: number;
  readonly excluded: ReadonlySet<string>;
  /** Held leases that already count. */
  readonly counted: ReadonlySet<string>;
  /** Providers whose free quota is spent. */
  readonly spent: ReadonlySet<string>;
}

export type CandidateRow = Pick<AccountRow, 'id' | 'provider' | 'models' | 'capacity' | 'shared_slots'> & {
  readonly kind: number;
};
const columns = 'id, provider, models, capacity, shared_slots, kind';

const mostSkips = 100;

/**
 * What stands in the way of each account that matches. Read from the counters, so that a refusal costs the same at any
 * size; looked at one by one are only those that the caller names, those limited to some models when it names a model,
 * and active ones when it wants several slots of each.
 */
export function shortageOf(work: Work, question: Question): Short {
  const { demand, missing } = question;
  const counts = countReasons(work, question);
  const holders = holdersOf(work, demand, question.provider);
  const rests = restsOf(work, question, missing - counts.attainable);
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
    gatewayHeld: holders.gatewayHeld,
    skipped: skipsOf(work, question),
  };
}

function countReasons(
  work: Work,
  question: Question,
): { readonly matching: number; readonly reasons: Record<string, number>; readonly attainable: number } {
  const { demand, provider } = question;
  const needsLook = (kind: number): boolean =>
    (demand.model !== null && (kind & kindBits.modelsLimited) !== 0) ||
    (!demand.exclusive && demand.slots > 1 && kindFrom(kind).state === 'active');
  const reasons: Record<string, number> = {};
  let matching = 0;
  let attainable = 0;
  const note = (reason: string, accounts: number): void => {
    if (reason === 'model') return;
    matching += accounts;
    if (reason === 'open' || reason === 'leased' || reason === 'half_open') attainable += accounts;
    if (reason !== 'open' && reason !== 'held') reasons[reason] = (reasons[reason] ?? 0) + accounts;
  };

  for (const row of kindCounts(work.db, provider)) {
    if (needsLook(row.number)) continue;
    const like = { id: '', models: null, capacity: 1, shared_slots: 0, provider: row.provider };
    note(reasonFor({ ...like, kind: row.number }, question), row.accounts);
  }
  // Those the caller names or holds were counted with their kind: they move to a reason of their own.
  for (const id of new Set([...question.excluded, ...question.counted])) {
    const row = work.db.get<CandidateRow>(`SELECT ${columns} FROM accounts WHERE id = ?`, id);
    if (row === undefined || (provider !== null && row.provider !== provider) || needsLook(row.kind))
      continue;
    note(reasonFor({ ...row, id: '' }, question), -1);
    note(reasonFor(row, question), 1);
  }
  for (const row of rowsToLookAt(work, question)) note(reasonFor(row, question), 1);
  for (const [reason, accounts] of Object.entries(reasons)) if (accounts === 0) delete reasons[reason];
  return { matching, reasons, attainable };
}

/** Accounts of which the counters do not tell enough for this demand; each once. */
function* rowsToLookAt(work: Work, { demand, provider }: Question): Iterable<CandidateRow> {
  const ofProvider = provider === null ? '' : 'AND provider = ?';
  const values: SQLInputValue[] = provider === null ? [] : [provider];
  const needsRoom = !demand.exclusive && demand.slots > 1;
  if (demand.model !== null) {
    yield* work.db.iterate<CandidateRow>(
      `SELECT ${columns} FROM accounts INDEXED BY accounts_with_models
       WHERE models IS NOT NULL ${ofProvider} ${needsRoom ? "AND state <> 'active'" : ''}`,
      ...values,
    );
  }
  if (needsRoom) {
    yield* work.db.iterate<CandidateRow>(
      `SELECT ${columns} FROM accounts INDEXED BY accounts_active WHERE state = 'active' ${ofProvider}`,
      ...values,
    );
  }
}

/** Why an account is not lent: a word of `Skip`; `open` when nothing is in the way, `held` when it counts already. */
export function reasonFor(row: CandidateRow, { demand, excluded, counted, spent }: Question): string {
  if (demand.model !== null && row.models !== null && !modelsFrom(row.models)?.includes(demand.model)) {
    return 'model';
  }
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

/** Accounts whose rest ends by itself: the first of all, and those within the caller's wait as far as it needs them. */
function restsOf(
  work: Work,
  { demand, provider, excluded, counted }: Question,
  needed: number,
): { readonly nextAt: number | null; readonly ending: number; readonly isQuotaReturning: boolean } {
  const rows = work.db.iterate<
    Pick<AccountRow, 'id' | 'provider' | 'models' | 'state'> & { readonly state_until: number }
  >(
    `SELECT id, provider, models, state, state_until FROM accounts
     INDEXED BY ${provider === null ? 'accounts_resting' : 'accounts_resting_by_provider'}
     WHERE state_until IS NOT NULL ${provider === null ? '' : 'AND provider = ?'} ORDER BY state_until`,
    ...(provider === null ? [] : [provider]),
  );
  let nextAt: number | null = null;
  let ending = 0;
  let isQuotaReturning = false;
  for (const row of rows) {
    if (excluded.has(row.id) || counted.has(row.id) || !mayUse(row.models, demand.model)) continue;
    if (row.state !== 'cooldown' && row.state !== 'exhausted') continue;
    nextAt ??= row.state_until;
    if (row.state_until > demand.waitUntil) break;
    ending += 1;
    if (row.state === 'exhausted') isQuotaReturning = true;
    if (ending >= needed) break;
  }
  return { nextAt, ending, isQuotaReturning };
}

/** The first accounts and what stood in the way of each, for whoever wants to know why an account was not taken. */
function skipsOf(work: Work, question: Question): Skip[] {
  const { provider } = question;
  const rows = work.db.all<CandidateRow>(
    `SELECT ${columns} FROM accounts ${provider === null ? '' : 'INDEXED BY accounts_by_provider WHERE provider = ?'}
     ORDER BY seq LIMIT ${mostSkips}`,
    ...(provider === null ? [] : [provider]),
  );
  return rows
    .map((row) => ({ accountId: row.id, reason: reasonFor(row, question) }))
    .filter(({ reason }) => reason !== 'open' && reason !== 'held');
}

function mayUse(models: string | null, model: string | null): boolean {
  return model === null || (modelsFrom(models)?.includes(model) ?? true);
}
