import type { SQLInputValue } from 'node:sqlite';
import { type CandidateRow, candidateColumns, type Question } from './lease-rules.ts';
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
import { kindCounts } from './sqlite-standings.ts';
import type { Work } from './sqlite-work.ts';

/**
 * What stands in the way of each account that matches. Read from the counters, so that a refusal costs the same at any
 * size; looked at one by one are only those that the caller names, those limited to some models when it names a model,
 * and active ones when it wants several slots of each.
 */
export function shortageOf(work: Work, question: Question): Short {
  const { provider, excluded, counted } = question;
  return shortageFrom(question, work.now, {
    kinds: kindCounts(work.db, provider),
    named: [...new Set([...excluded, ...counted])].flatMap(
      (id) => work.db.get<CandidateRow>(`SELECT ${candidateColumns} FROM accounts WHERE id = ?`, id) ?? [],
    ),
    lookedAt: rowsToLookAt(work, question),
    resting: work.db.iterate<RestRow>(
      `SELECT ${candidateColumns}, state, state_until, state_reason FROM accounts
       INDEXED BY ${provider === null ? 'accounts_resting' : 'accounts_resting_by_provider'}
       WHERE state_until IS NOT NULL ${provider === null ? '' : 'AND provider = ?'} ORDER BY state_until`,
      ...(provider === null ? [] : [provider]),
    ),
    holders: leasesInTheWay(work, question, false),
    gatewayHolders: leasesInTheWay(work, question, true),
    first: work.db.all<CandidateRow>(
      `SELECT ${candidateColumns} FROM accounts
       ${provider === null ? '' : 'INDEXED BY accounts_by_provider WHERE provider = ?'}
       ORDER BY seq LIMIT ${mostSkips}`,
      ...(provider === null ? [] : [provider]),
    ),
  });
}

function* rowsToLookAt(work: Work, question: Question): Iterable<CandidateRow> {
  const { demand, provider } = question;
  const ofProvider = provider === null ? '' : 'AND provider = ?';
  const values: SQLInputValue[] = provider === null ? [] : [provider];
  if (demand.model !== null) {
    yield* work.db.iterate<CandidateRow>(
      `SELECT ${candidateColumns} FROM accounts INDEXED BY accounts_with_models
       WHERE models IS NOT NULL ${ofProvider} ${needsRoom(question) ? "AND state <> 'active'" : ''}`,
      ...values,
    );
  }
  if (needsRoom(question)) {
    yield* work.db.iterate<CandidateRow>(
      `SELECT ${candidateColumns} FROM accounts INDEXED BY accounts_active WHERE state = 'active' ${ofProvider}`,
      ...values,
    );
  }
}

/** Leases of others, those of the sessions that end first before the rest. */
function leasesInTheWay(
  work: Work,
  { demand, provider }: Question,
  onlyGateways: boolean,
): Iterable<HolderRow> {
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
    demand.sessionId,
    provider,
    asFlag(demand.exclusive),
    demand.slots,
    mostHolders,
  );
}
