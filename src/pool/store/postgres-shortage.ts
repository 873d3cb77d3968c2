import type { PostgresValue } from '../../db/postgres.ts';
import { type CandidateRow, candidateColumns, type Question } from './lease-rules.ts';
import { kindCounts } from './postgres-standings.ts';
import type { Work } from './postgres-work.ts';
import { asFlag } from './rows.ts';
import {
  type HolderRow,
  mostHolders,
  mostSkips,
  needsRoom,
  type RestRow,
  type Short,
  shortageFrom,
} from './shortage-rules.ts';

/** So many resting accounts are looked at for a refusal. */
const mostRests = 1000;

/**
 * What stands in the way of each account that matches, read from the counters. Counted one by one are only those limited
 * to some models when the caller names one, and active ones when it wants several slots of each.
 */
export async function shortageOf(work: Work, question: Question): Promise<Short> {
  const { db, now } = work;
  const { provider } = question;
  const named = [...new Set([...question.excluded, ...question.counted])];
  const ofProvider = provider === null ? '' : 'AND provider = $1';
  const values: PostgresValue[] = provider === null ? [] : [provider];
  return shortageFrom(question, now, {
    kinds: await kindCounts(db, provider),
    named: await db.all<CandidateRow>(`SELECT ${candidateColumns} FROM accounts WHERE id = ANY ($1)`, named),
    lookedAt: await rowsToLookAt(work, question, named),
    resting: await db.all<RestRow>(
      `SELECT ${candidateColumns}, state, state_until, state_reason FROM accounts
       WHERE state_until IS NOT NULL ${ofProvider} ORDER BY state_until LIMIT ${mostRests}`,
      ...values,
    ),
    holders: await leasesInTheWay(work, question, false),
    gatewayHolders: await leasesInTheWay(work, question, true),
    first: await db.all<CandidateRow>(
      `SELECT ${candidateColumns} FROM accounts WHERE TRUE ${ofProvider} ORDER BY seq LIMIT ${mostSkips}`,
      ...values,
    ),
  });
}

/** Alike accounts are counted by the database and handed out as many times; the named ones come one by one. */
async function rowsToLookAt(
  work: Work,
  question: Question,
  named: readonly string[],
): Promise<Iterable<CandidateRow>> {
  const wanted: string[] = [];
  if (question.demand.model !== null) wanted.push('models IS NOT NULL');
  if (needsRoom(question)) wanted.push("state = 'active'");
  if (wanted.length === 0) return [];
  const rows = await work.db.all<CandidateRow & { readonly accounts: number }>(
    `SELECT CASE WHEN id = ANY ($1) THEN id ELSE '' END AS id, provider, models, capacity, shared_slots, kind,
       COUNT(*) AS accounts
     FROM accounts WHERE (${wanted.join(' OR ')}) AND ($2::text IS NULL OR provider = $2)
     GROUP BY 1, 2, 3, 4, 5, 6`,
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
  work: Work,
  { demand, provider }: Question,
  onlyGateways: boolean,
): Promise<HolderRow[]> {
  return work.db.all<HolderRow>(
    `SELECT leases.account_id, accounts.models, leases.exclusive, sessions.is_gateway, sessions.expires_at
     FROM sessions JOIN leases ON leases.session_id = sessions.id JOIN accounts ON accounts.id = leases.account_id
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
