import {
  type CandidateRow,
  type Choice,
  candidateColumns,
  type HeldRow,
  leaseFrom,
  mismatchOf,
  type Need,
  needOf,
  startChoice,
} from './lease-rules.ts';
import { type AccountRow, asFlag, type LeaseRow, type SessionRow } from './rows.ts';
import { shortageOf } from './sqlite-shortage.ts';
import { providersWithSpentFreeQuota } from './sqlite-standings.ts';
import { dropLease, endSession, reap, type Work, writeAudit } from './sqlite-work.ts';
import type { Changes, EnsureResult, LeaseDemand, ReleaseDemand } from './store.ts';

/** Who may be chosen, in the order of choice. Named indexes: without them these would be scans of the whole pool. */
export const candidateQueries = {
  exclusive: candidates('accounts_unheld', `holders = 0`, false),
  exclusiveOfProvider: candidates('accounts_unheld_by_provider', `holders = 0`, true),
  shared: candidates('accounts_shareable', shareable(), false),
  sharedOfProvider: candidates('accounts_shareable_by_provider', shareable(), true),
} as const;

function shareable(): string {
  return 'exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0)';
}

function candidates(index: string, condition: string, hasProvider: boolean): string {
  return `SELECT ${candidateColumns} FROM accounts INDEXED BY ${index}
    WHERE state = 'active' AND ${condition} ${hasProvider ? 'AND provider = ?' : ''}
    ORDER BY tier, last_used, id`;
}

/** Makes a session hold what it asks for, or answers why not. Adds all that is missing or nothing. */
export function ensureLeases(work: Work, demand: LeaseDemand): EnsureResult {
  reap(work);
  const { db, now } = work;
  const session = db.get<SessionRow>('SELECT * FROM sessions WHERE id = ?', demand.sessionId);
  const held = session === undefined ? [] : heldBy(work, demand.sessionId);
  const mismatch = session === undefined ? undefined : mismatchOf(session, held, demand);
  if (mismatch !== undefined) return { result: 'mismatch', message: mismatch, changes: work.changes() };

  const provider = demand.provider ?? session?.provider ?? null;
  const spent = new Set(providersWithSpentFreeQuota(db));
  const need = needOf(demand, provider, held, spent);
  const { missing } = need.question;
  const { chosen, skipped } = choose(work, need);

  const ttlMs = demand.ttlMs ?? session?.ttl_ms ?? demand.defaultTtlMs;
  if (chosen.length < missing) {
    if (session !== undefined) renew(work, session.id, ttlMs, Math.max(now + ttlMs, demand.waitUntil));
    const short = shortageOf(work, need.question);
    return { ...short, changes: work.changes() };
  }

  const expiresAt = now + ttlMs;
  if (session === undefined) {
    db.run(
      `INSERT INTO sessions (id, key_id, is_gateway, exclusive, provider, ttl_ms, expires_at, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      demand.sessionId,
      demand.owner.keyId,
      asFlag(demand.owner.isGateway),
      asFlag(demand.exclusive),
      demand.provider,
      ttlMs,
      expiresAt,
      now,
    );
  } else {
    renew(work, session.id, ttlMs, expiresAt);
  }
  for (const row of need.growing) grow(work, demand, row);
  const added = chosen.map((id) => addLease(work, demand, id));
  const leases = heldBy(work, demand.sessionId).filter(need.counts);
  return {
    result: 'granted',
    created: session === undefined,
    expiresAt,
    leases: leases.map(leaseFrom),
    added,
    skipped,
    changes: work.changes(),
  };
}

/** Frees what a session names, or all of it and the session. Null when there is no such session of that key. */
export function release(
  work: Work,
  demand: ReleaseDemand,
): { readonly released: number; readonly changes: Changes } | null {
  reap(work);
  const session = work.db.get<SessionRow>('SELECT * FROM sessions WHERE id = ?', demand.sessionId);
  if (session === undefined || (demand.keyId !== null && session.key_id !== demand.keyId)) return null;
  if (demand.leases === null) {
    const released = endSession(work, session.id);
    return { released, changes: work.changes() };
  }
  let released = 0;
  for (const { id, fence } of demand.leases) {
    const lease = liveLease(work, session.id, id, fence);
    if (lease === undefined) continue;
    dropLease(work, lease);
    released += 1;
  }
  return { released, changes: work.changes() };
}

/** The lease a fence speaks for, if it is still the one. */
export function liveLease(
  work: Work,
  sessionId: string,
  accountId: string,
  fence: number,
): LeaseRow | undefined {
  return work.db.get<LeaseRow>(
    'SELECT * FROM leases WHERE session_id = ? AND account_id = ? AND fence = ?',
    sessionId,
    accountId,
    fence,
  );
}

export function renew(work: Work, sessionId: string, ttlMs: number, expiresAt: number): void {
  work.db.run('UPDATE sessions SET ttl_ms = ?, expires_at = ? WHERE id = ?', ttlMs, expiresAt, sessionId);
}

/** The accounts to add, and better placed ones that were passed over. */
function choose(work: Work, need: Need): Choice {
  const { demand, provider, missing } = need.question;
  const choice = startChoice(need);
  if (missing === 0) return choice;
  if (demand.prefer !== null) {
    const preferred = work.db.get<CandidateRow>(
      `SELECT ${candidateColumns} FROM accounts WHERE id = ?`,
      demand.prefer,
    );
    if (preferred !== undefined && choice.weigh(preferred)) return choice;
  }
  const query = demand.exclusive
    ? candidateQueries[provider === null ? 'exclusive' : 'exclusiveOfProvider']
    : candidateQueries[provider === null ? 'shared' : 'sharedOfProvider'];
  for (const row of work.db.iterate<CandidateRow>(query, ...(provider === null ? [] : [provider]))) {
    if (choice.weigh(row)) break;
  }
  return choice;
}

function heldBy(work: Work, sessionId: string): HeldRow[] {
  return work.db.all<HeldRow>(
    `SELECT accounts.*, leases.fence AS lease_fence, leases.slots AS lease_slots
     FROM leases JOIN accounts ON accounts.id = leases.account_id
     WHERE leases.session_id = ? ORDER BY leases.created_at, accounts.id`,
    sessionId,
  );
}

function addLease(work: Work, demand: LeaseDemand, id: string): { id: string; fence: number } {
  const { db, now } = work;
  const slots = demand.exclusive ? 1 : demand.slots;
  const row = db.get<Pick<AccountRow, 'fence_counter' | 'credential_kind'>>(
    `UPDATE accounts SET fence_counter = fence_counter + 1, use_count = use_count + 1, last_used = ?1,
      holders = holders + 1, exclusive_held = exclusive_held + ?2, shared_slots = shared_slots + ?3
     WHERE id = ?4 RETURNING fence_counter, credential_kind`,
    now,
    asFlag(demand.exclusive),
    demand.exclusive ? 0 : slots,
    id,
  );
  if (row === undefined) throw new Error(`account ${id} vanished inside a transaction`);
  db.run(
    `INSERT INTO leases (session_id, account_id, fence, slots, exclusive, created_at)
     VALUES (?, ?, ?, ?, ?, ?)`,
    demand.sessionId,
    id,
    row.fence_counter,
    slots,
    asFlag(demand.exclusive),
    now,
  );
  if (work.options.auditsLeases && row.credential_kind === 'api_key' && !demand.owner.isGateway) {
    const detail = { session_id: demand.sessionId, fence: row.fence_counter };
    writeAudit(work, { actor: demand.owner.keyId, action: 'lease', accountId: id, detail });
  }
  return { id, fence: row.fence_counter };
}

function grow(work: Work, demand: LeaseDemand, row: HeldRow): void {
  work.db.run(
    'UPDATE leases SET slots = ? WHERE session_id = ? AND account_id = ?',
    demand.slots,
    demand.sessionId,
    row.id,
  );
  work.db.run(
    'UPDATE accounts SET shared_slots = shared_slots + ? WHERE id = ?',
    demand.slots - row.lease_slots,
    row.id,
  );
}
