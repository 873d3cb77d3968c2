import type { Queries } from '../../../db/database.ts';
import { isTokenReason } from '../../standing/standing.ts';
import {
  type Asked,
  asActive,
  type CandidateRow,
  candidateColumns,
  candidateOf,
  isLabelled,
  kindBits,
  kindFrom,
  mayUse,
  type Question,
  reasonFor,
  sharer,
} from '../rules/leasing.ts';
import { type AccountRow, asFlag, asJson, modelsFrom } from '../rules/rows.ts';
import type { LeaseDemand } from '../store.ts';
import { providersWithSpentFreeQuota } from './choice.ts';
import { kindCounts } from './counts.ts';
import type { Transaction } from './transaction.ts';

type RestRow = CandidateRow & Pick<AccountRow, 'state' | 'state_reason'> & { readonly state_until: number };

/** What accounts are counted for. */
type Counted = Asked & Pick<Question, 'provider'>;

interface HolderRow {
  readonly account_id: string;
  readonly models: string | null;
  readonly label: string | null;
  readonly exclusive: number;
  readonly is_gateway: number;
  readonly expires_at: number;
}

/** So many resting accounts are looked at for a refusal, beside as many as are missing. */
const mostRests = 200;
const mostNamed = 100;
/** Callers wait for a refresh that runs so soon, even those who would not wait for a place. */
const refreshGapMs = 15_000;
/** So many accounts are named in a refusal. */
const mostSkips = 100;
/** So many leases are looked at for a refusal; in a larger crowd the counts say "at least". */
const mostHolders = 500;
/** Accounts that `eligible` lists: so many in service, and so many others. */
const mostListed = 50;

/**
 * What stands in the way of each account that matches, read from the counters, so that a refusal costs the same at any
 * size. Counted one by one are only those limited to some models when the caller names one, and active ones when it wants
 * several slots of each; where it names labels, the accounts with these.
 */
export async function shortageOf(tx: Transaction, question: Question) {
  const { missing, excluded, counted, provider } = question;
  /** The accounts that the caller names or holds. */
  const named = [...new Set([...excluded, ...counted])];
  const counts = await countReasons(tx.db, question, named);
  const rests = countRests(question, tx.now, await restingRows(tx, question, named), {
    places: missing - counts.attainable,
    bearers: missing - counts.open,
  });
  const holders = await countHolders(tx, question);
  const attainable =
    counts.attainable +
    rests.ending +
    (rests.isQuotaReturning ? (counts.reasons['free_quota_spent'] ?? 0) : 0);
  const times = [rests.nextAt, holders.nextExpiry].filter((time) => time !== null);
  const first = await tx.db.all<CandidateRow>(
    `SELECT ${candidateColumns} FROM accounts ${provider === null ? '' : '/* INDEXED BY accounts_by_provider */'}
     WHERE TRUE ${provider === null ? '' : 'AND provider = $1'} ORDER BY seq LIMIT ${mostSkips}`,
    ...(provider === null ? [] : [provider]),
  );
  return {
    result: 'short' as const,
    missing,
    shortage: { matching: counts.matching, reasons: counts.reasons, holders: holders.counts },
    /** Enough matching accounts may come free before `waitUntil`. */
    couldServe: attainable >= missing,
    /** Earliest time at which something is known to come free. */
    nextAt: times.length === 0 ? null : Math.min(...times),
    /** Set when only refreshes that run within the next 15 s stand in the way: when the last of them runs. */
    refreshBy: rests.refreshBy,
    /** Accounts on which gateways' shared leases stand in the way; at most 100. */
    gatewayHeld: holders.gatewayHeld,
    skipped: first
      .map((row) => ({ accountId: row.id, reason: reasonFor(row, question) }))
      .filter(({ reason }) => reason !== 'open' && reason !== 'held'),
  };
}

/** How the accounts of one provider stand to a demand: what a refusal says, without lending any. */
export async function eligible(
  db: Queries,
  now: number,
  {
    provider,
    owner,
    ...demand
  }: Pick<LeaseDemand, 'owner' | 'model' | 'labels'> & { readonly provider: string },
) {
  const asked = sharer(owner.isGateway, await providersWithSpentFreeQuota(db, now));
  const question = {
    ...asked,
    provider,
    demand: { ...asked.demand, model: demand.model, labels: demand.labels },
  };
  const { matching, reasons, open } = await countReasons(db, question, []);
  const all = (await kindCounts(db, provider)).reduce((sum, { accounts }) => sum + accounts, 0);
  const active = await db.all<CandidateRow>(
    `SELECT ${candidateColumns} FROM accounts WHERE provider = $1 AND state = 'active'
     ORDER BY tier, last_used, id LIMIT ${mostListed}`,
    provider,
  );
  const resting = await db.all<CandidateRow>(
    `SELECT ${candidateColumns} FROM accounts /* INDEXED BY accounts_by_provider */
     WHERE provider = $1 AND state <> 'active' ORDER BY seq LIMIT ${mostListed}`,
    provider,
  );
  return {
    matching,
    others: all - matching,
    counts: { ...(open > 0 && { open }), ...reasons },
    accounts: [...active, ...resting].map((row) => ({
      id: row.id,
      label: row.label,
      models: modelsFrom(row.models),
      standing: reasonFor(row, question),
    })),
  };
}

async function countReasons(db: Queries, question: Counted, named: readonly string[]) {
  const reasons: Record<string, number> = {};
  let matching = 0;
  let attainable = 0;
  let open = 0;
  const note = (reason: string, accounts: number): void => {
    if (reason === 'model' || reason === 'label') return;
    matching += accounts;
    if (reason === 'open') open += accounts;
    if (reason === 'open' || reason === 'leased' || reason === 'half_open') attainable += accounts;
    if (reason !== 'open' && reason !== 'held') reasons[reason] = (reasons[reason] ?? 0) + accounts;
  };
  for (const row of await kindCounts(db, question.provider)) {
    if (needsLook(row.number, question)) continue;
    note(reasonFor(candidateOf(row.provider, row.number), question), row.accounts);
  }
  // Those the caller names or holds were counted with their kind: they move to a reason of their own.
  const namedRows = await db.all<CandidateRow>(
    `SELECT ${candidateColumns} FROM accounts WHERE id = ANY ($1)`,
    named,
  );
  for (const row of namedRows) {
    const isOfOther = question.provider !== null && row.provider !== question.provider;
    if (isOfOther || needsLook(row.kind, question)) continue;
    note(reasonFor({ ...row, id: '' }, question), -1);
    note(reasonFor(row, question), 1);
  }
  for (const row of await rowsToLookAt(db, question, named)) note(reasonFor(row, question), row.accounts);
  for (const [reason, accounts] of Object.entries(reasons)) if (accounts === 0) delete reasons[reason];
  return { matching, reasons, attainable, open };
}

/** Whether an account's kind alone does not decide if it can be lent for this demand. */
function needsLook(kind: number, { demand }: Counted): boolean {
  return (
    demand.labels !== null ||
    (demand.model !== null && (kind & kindBits.modelsLimited) !== 0) ||
    (needsRoom({ demand }) && kindFrom(kind).state === 'active')
  );
}

function needsRoom({ demand }: Pick<Counted, 'demand'>): boolean {
  return !demand.exclusive && demand.slots > 1;
}

/** Accounts whose kind alone does not decide this demand: alike ones in one row; the named ones one by one. */
async function rowsToLookAt(
  db: Queries,
  question: Counted,
  named: readonly string[],
): Promise<readonly (CandidateRow & { readonly accounts: number })[]> {
  const ofProvider = '($2::text IS NULL OR provider = $2)';
  const looks = needsRoom(question);
  const wanted: string[] = [];
  const { labels } = question.demand;
  if (labels !== null) {
    wanted.push(`SELECT * FROM accounts WHERE ${ofProvider} AND jsonb_exists($3::jsonb, label)`);
  } else if (question.demand.model !== null) {
    wanted.push(`SELECT * FROM accounts /* INDEXED BY accounts_with_models */
      WHERE models IS NOT NULL AND ${ofProvider} ${looks ? "AND state <> 'active'" : ''}`);
  }
  if (looks && labels === null) {
    wanted.push(
      `SELECT * FROM accounts /* INDEXED BY accounts_active */ WHERE state = 'active' AND ${ofProvider}`,
    );
  }
  if (wanted.length === 0) return [];
  return db.all<CandidateRow & { readonly accounts: number }>(
    `SELECT CASE WHEN id = ANY ($1) THEN id ELSE '' END AS id, provider, models, label, capacity, shared_slots, kind,
       COUNT(*) AS accounts
     FROM (${wanted.join(' UNION ALL ')}) AS wanted GROUP BY 1, 2, 3, 4, 5, 6, 7`,
    named,
    question.provider,
    ...(labels === null ? [] : [asJson(labels)]),
  );
}

/**
 * Accounts whose rest ends at a known time: the first of all, those within the caller's wait as far as it needs them, and when
 * refreshes will have given as many as it needs, if that is soon.
 */
function countRests(
  question: Question,
  now: number,
  rows: readonly RestRow[],
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
    const waitsForBearer = row.state === 'cooldown' && isTokenReason(row.state_reason);
    if (!isSoon || !waitsForBearer) continue;
    if (reasonFor({ ...row, kind: asActive(row.kind) }, question) === 'open') refreshed += 1;
    if (refreshed >= needed.bearers) refreshBy = row.state_until;
  }
  return { nextAt, ending, isQuotaReturning, refreshBy };
}

/** Those whose rest ends while the caller waits or soon; where there are none, the first of all. */
async function restingRows(
  { db, now }: Transaction,
  { demand, provider, missing }: Question,
  named: readonly string[],
): Promise<RestRow[]> {
  const index = `accounts_resting${provider === null ? '' : '_by_provider'}`;
  const rows = (until: number, most: number): Promise<RestRow[]> =>
    db.all<RestRow>(
      `SELECT ${candidateColumns}, state, state_until, state_reason FROM accounts /* INDEXED BY ${index} */
       WHERE state_until IS NOT NULL AND state_until <= $1 AND state IN ('cooldown', 'exhausted')
         AND id <> ALL ($2::text[]) AND ($3::text IS NULL OR models IS NULL OR jsonb_exists(models::jsonb, $3))
         AND ${provider === null ? '$4::text IS NULL' : 'provider = $4'}
         AND ($6::text IS NULL OR jsonb_exists($6::jsonb, label))
       ORDER BY state_until LIMIT $5`,
      until,
      named,
      demand.model,
      provider,
      most,
      asJson(demand.labels),
    );
  const soon = await rows(Math.max(demand.waitUntil, now + refreshGapMs), mostRests + missing);
  return soon.length > 0 ? soon : rows(Number.MAX_SAFE_INTEGER, 1);
}

/** The leases in the way: how many there are, the first to expire, and where gateways could give way. */
async function countHolders(tx: Transaction, question: Question) {
  const { demand, excluded } = question;
  const isInTheWay = (row: HolderRow): boolean =>
    !excluded.has(row.account_id) && mayUse(row.models, demand.model) && isLabelled(row.label, demand.labels);
  const held = { exclusive: new Set<string>(), shared: new Set<string>(), gateway: new Set<string>() };
  let nextExpiry: number | null = null;
  for (const row of await leasesInTheWay(tx, question, false)) {
    if (!isInTheWay(row)) continue;
    nextExpiry ??= row.expires_at;
    const kind = row.is_gateway === 1 ? 'gateway' : row.exclusive === 1 ? 'exclusive' : 'shared';
    held[kind].add(row.account_id);
  }
  const gatewayHeld = new Set<string>();
  for (const row of await leasesInTheWay(tx, question, true)) {
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
  tx: Transaction,
  { demand, provider }: Question,
  onlyGateways: boolean,
): Promise<HolderRow[]> {
  return tx.db.all<HolderRow>(
    `SELECT leases.account_id, accounts.models, accounts.label, leases.exclusive, sessions.is_gateway, sessions.expires_at
     FROM sessions /* INDEXED BY ${onlyGateways ? 'sessions_of_gateways' : 'sessions_by_expiry'} */
       JOIN leases ON leases.session_id = sessions.id JOIN accounts ON accounts.id = leases.account_id
     WHERE sessions.id <> $1 ${onlyGateways ? 'AND sessions.is_gateway = 1' : ''}
       AND accounts.state = 'active' AND ($2::text IS NULL OR accounts.provider = $2)
       AND ($3 = 1 OR leases.exclusive = 1 OR accounts.half_open = 1
         OR accounts.shared_slots + $4::integer > accounts.capacity)
     ORDER BY sessions.expires_at LIMIT ${mostHolders}`,
    demand.sessionId,
    provider,
    asFlag(demand.exclusive),
    demand.slots,
  );
}
