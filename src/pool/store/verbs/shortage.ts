import { type CandidateRow, candidateColumns, type Question } from '../rules/leasing.ts';
import { asFlag } from '../rules/rows.ts';
import {
  type HolderRow,
  mostHolders,
  mostSkips,
  needsRoom,
  type RestRow,
  refreshGapMs,
  shortageFrom,
} from '../rules/shortage.ts';
import type { Short } from '../store.ts';
import { kindCounts } from './counts.ts';
import type { Transaction } from './transaction.ts';

/** So many resting accounts are looked at for a refusal, beside as many as are missing. */
const mostRests = 200;

/**
 * What stands in the way of each account that matches, read from the counters, so that a refusal costs the same at any
 * size. Counted one by one are only those limited to some models when the caller names one, and active ones when it wants
 * several slots of each.
 */
export async function shortageOf(tx: Transaction, question: Question): Promise<Short> {
  const { db, now } = tx;
  const { provider } = question;
  const named = [...new Set([...question.excluded, ...question.counted])];
  const ofProvider = provider === null ? '' : 'AND provider = $1';
  const values = provider === null ? [] : [provider];
  return shortageFrom(question, now, {
    kinds: await kindCounts(db, provider),
    named: await db.all<CandidateRow>(`SELECT ${candidateColumns} FROM accounts WHERE id = ANY ($1)`, named),
    lookedAt: await rowsToLookAt(tx, question, named),
    resting: await restingRows(tx, question, named),
    holders: await leasesInTheWay(tx, question, false),
    gatewayHolders: await leasesInTheWay(tx, question, true),
    first: await db.all<CandidateRow>(
      `SELECT ${candidateColumns} FROM accounts ${provider === null ? '' : '/* INDEXED BY accounts_by_provider */'}
       WHERE TRUE ${ofProvider} ORDER BY seq LIMIT ${mostSkips}`,
      ...values,
    ),
  });
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
       ORDER BY state_until LIMIT $5`,
      until,
      named,
      demand.model,
      provider,
      most,
    );
  const soon = await rows(Math.max(demand.waitUntil, now + refreshGapMs), mostRests + missing);
  return soon.length > 0 ? soon : rows(Number.MAX_SAFE_INTEGER, 1);
}

/** Alike accounts are counted by the database and handed out as many times; the named ones come one by one. */
async function rowsToLookAt(
  tx: Transaction,
  question: Question,
  named: readonly string[],
): Promise<Iterable<CandidateRow>> {
  const ofProvider = '($2::text IS NULL OR provider = $2)';
  const looks = needsRoom(question);
  const wanted: string[] = [];
  if (question.demand.model !== null) {
    wanted.push(`SELECT * FROM accounts /* INDEXED BY accounts_with_models */
      WHERE models IS NOT NULL AND ${ofProvider} ${looks ? "AND state <> 'active'" : ''}`);
  }
  if (looks) {
    wanted.push(
      `SELECT * FROM accounts /* INDEXED BY accounts_active */ WHERE state = 'active' AND ${ofProvider}`,
    );
  }
  if (wanted.length === 0) return [];
  const rows = await tx.db.all<CandidateRow & { readonly accounts: number }>(
    `SELECT CASE WHEN id = ANY ($1) THEN id ELSE '' END AS id, provider, models, capacity, shared_slots, kind,
       COUNT(*) AS accounts
     FROM (${wanted.join(' UNION ALL ')}) AS wanted GROUP BY 1, 2, 3, 4, 5, 6`,
    named,
    question.provider,
  );
  return repeated(rows);
}

function* repeated(rows: readonly (CandidateRow & { readonly accounts: number })[]): Iterable<CandidateRow> {
  for (const row of rows) for (let number = 0; number < row.accounts; number += 1) yield row;
}

/** Leases of others, those of the sessions that end first before the rest. */
function leasesInTheWay(
  tx: Transaction,
  { demand, provider }: Question,
  onlyGateways: boolean,
): Promise<HolderRow[]> {
  return tx.db.all<HolderRow>(
    `SELECT leases.account_id, accounts.models, leases.exclusive, sessions.is_gateway, sessions.expires_at
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
