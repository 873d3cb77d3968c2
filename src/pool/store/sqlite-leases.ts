import { type AccountRow, accountFrom, asFlag, type LeaseRow, modelsFrom, type SessionRow } from './rows.ts';
import { type CandidateRow, type Question, reasonFor, shortageOf } from './sqlite-shortage.ts';
import { providersWithSpentFreeQuota } from './sqlite-standings.ts';
import { dropLease, endSession, reap, type Work, writeAudit } from './sqlite-work.ts';
import type { Changes, EnsureResult, Lease, LeaseDemand, ReleaseDemand, Skip } from './store.ts';

type HeldRow = AccountRow & { readonly lease_fence: number; readonly lease_slots: number };
const candidateColumns = 'id, provider, models, capacity, shared_slots, kind';
const mostSkips = 20;

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
  const excluded = new Set(demand.exclude);
  const spent = new Set(providersWithSpentFreeQuota(db));
  const matches = (row: HeldRow): boolean =>
    (provider === null || row.provider === provider) && mayUse(row, demand.model) && !excluded.has(row.id);
  const isLendable = (row: HeldRow): boolean =>
    (row.lend === 'any' || demand.owner.isGateway) && !(row.free === 1 && spent.has(row.provider));

  const matching = held.filter(matches);
  const counted = matching.filter((row) => row.lease_slots >= demand.slots);
  let missing = Math.max(0, demand.count - counted.length);
  const growing = matching
    .filter((row) => row.lease_slots < demand.slots && row.state === 'active' && isLendable(row))
    .filter((row) => row.shared_slots - row.lease_slots + demand.slots <= row.capacity)
    .slice(0, missing);
  missing -= growing.length;

  const question: Question = {
    demand,
    provider,
    missing,
    excluded,
    counted: new Set(counted.map((row) => row.id)),
    spent,
  };
  const heldIds = new Set(held.map((row) => row.id));
  const choice =
    missing === 0 ? { chosen: [], skipped: [] } : choose(work, question, (row) => heldIds.has(row.id));
  const { chosen } = choice;

  const ttlMs = demand.ttlMs ?? session?.ttl_ms ?? demand.defaultTtlMs;
  if (chosen.length < missing) {
    if (session !== undefined) renew(work, session.id, ttlMs, Math.max(now + ttlMs, demand.waitUntil));
    const short = shortageOf(work, question);
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
  for (const row of growing) grow(work, demand, row);
  const added = chosen.map((id) => addLease(work, demand, id));
  const leases = heldBy(work, demand.sessionId).filter(
    (row) => matches(row) && row.lease_slots >= demand.slots,
  );
  return {
    result: 'granted',
    created: session === undefined,
    expiresAt,
    leases: leases.map(leaseFrom),
    added,
    skipped: choice.skipped,
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

function mismatchOf(session: SessionRow, held: readonly HeldRow[], demand: LeaseDemand): string | undefined {
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

/** The accounts to add, and better placed ones that were passed over. */
function choose(
  work: Work,
  question: Question,
  isHeld: (row: CandidateRow) => boolean,
): { readonly chosen: string[]; readonly skipped: Skip[] } {
  const { demand, provider, missing } = question;
  const chosen: string[] = [];
  const skipped: Skip[] = [];
  const preferred =
    demand.prefer === null
      ? undefined
      : work.db.get<CandidateRow>(`SELECT ${candidateColumns} FROM accounts WHERE id = ?`, demand.prefer);
  const weigh = (row: CandidateRow): void => {
    if (isHeld(row)) return;
    const isOfOther = provider !== null && row.provider !== provider;
    const reason = isOfOther ? 'provider' : reasonFor(row, question);
    if (reason === 'open') chosen.push(row.id);
    else if (skipped.length < mostSkips) skipped.push({ accountId: row.id, reason });
  };
  if (preferred !== undefined) weigh(preferred);
  if (chosen.length === missing) return { chosen, skipped };
  const query = demand.exclusive
    ? candidateQueries[provider === null ? 'exclusive' : 'exclusiveOfProvider']
    : candidateQueries[provider === null ? 'shared' : 'sharedOfProvider'];
  for (const row of work.db.iterate<CandidateRow>(query, ...(provider === null ? [] : [provider]))) {
    if (row.id === preferred?.id) continue;
    weigh(row);
    if (chosen.length === missing) break;
  }
  return { chosen, skipped };
}

function mayUse(row: HeldRow, model: string | null): boolean {
  if (model === null || row.models === null) return true;
  return modelsFrom(row.models)?.includes(model) ?? true;
}

function heldBy(work: Work, sessionId: string): HeldRow[] {
  return work.db.all<HeldRow>(
    `SELECT accounts.*, leases.fence AS lease_fence, leases.slots AS lease_slots
     FROM leases JOIN accounts ON accounts.id = leases.account_id
     WHERE leases.session_id = ? ORDER BY leases.created_at, accounts.id`,
    sessionId,
  );
}

function leaseFrom(row: HeldRow): Lease {
  return { account: accountFrom(row), fence: row.lease_fence, slots: row.lease_slots };
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
