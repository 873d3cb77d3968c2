import { type Queries, TryAgain } from '../../../db/database.ts';
import { type HeldRow, leaseFrom, mismatchOf, needOf } from '../rules/leasing.ts';
import { type AccountRow, accountFrom, asFlag, type SessionRow } from '../rules/rows.ts';
import type { EnsureResult, Lease, LeaseDemand, ReleaseDemand } from '../store.ts';
import {
  choiceStatement,
  choiceValues,
  openStatement,
  type PickedRow,
  providersWithSpentFreeQuota,
  skipsOf,
  statementOf,
} from './choice.ts';
import { shortageOf } from './shortage.ts';
import { emptySessions, endSessions, lockHeldBy, type Transaction } from './transaction.ts';

/** How often a demand looks again for an account that is locked, before it is refused. */
const mostLooks = 12;

/** Makes a session hold what it asks for, or answers why not. Adds all that is missing or nothing. */
export async function ensureLeases(
  tx: Transaction,
  demand: LeaseDemand,
  look: number,
): Promise<EnsureResult> {
  const { db, now } = tx;
  const found = await db.get<SessionRow>('SELECT * FROM sessions WHERE id = $1 FOR UPDATE', demand.sessionId);
  const session = found !== undefined && found.expires_at > now ? found : undefined;
  if (found !== undefined && session === undefined) await emptySessions(tx, [found.id]);
  if (session !== undefined) await lockHeldBy(tx, [session.id]);
  const held = session === undefined ? [] : await heldBy(tx, session.id);
  const mismatch = session === undefined ? undefined : mismatchOf(session, held, demand);
  if (mismatch !== undefined) return { result: 'mismatch', message: mismatch };

  const provider = demand.provider ?? session?.provider ?? null;
  const spent = await providersWithSpentFreeQuota(db, now);
  const need = needOf(demand, provider, held, spent);
  const { missing } = need.question;
  const shape = {
    exclusive: demand.exclusive,
    hasProvider: provider !== null,
    hasPreferred: demand.prefer !== null,
    count: missing,
  };
  const values = choiceValues(demand, provider, now, [...need.heldIds]);
  const picked = missing === 0 ? [] : await db.all<PickedRow>(statementOf(shape, choiceStatement), ...values);
  const skipped = await skipsOf(db, now, need, shape, picked);

  const ttlMs = demand.ttlMs ?? session?.ttl_ms ?? demand.defaultTtlMs;
  if (picked.length < missing) {
    if (tx.options.isShared && look < mostLooks) {
      const open = await db.get<{ accounts: number }>(openStatement(shape), ...values);
      if ((open?.accounts ?? 0) >= missing) throw new TryAgain('all eligible accounts are locked');
    }
    if (session !== undefined) await renew(tx, session.id, ttlMs, Math.max(now + ttlMs, demand.waitUntil));
    return shortageOf(tx, need.question);
  }

  const expiresAt = now + ttlMs;
  if (session !== undefined) await renew(tx, session.id, ttlMs, expiresAt);
  else await makeSession(tx, demand, found !== undefined, ttlMs, expiresAt);
  for (const row of need.growing) await grow(tx, demand, row);
  const lent = picked.length === 0 ? [] : await lend(tx, demand, picked);
  // A new session holds what it was lent just now.
  const leases =
    session === undefined ? lent : (await heldBy(tx, session.id)).filter(need.counts).map(leaseFrom);
  return {
    result: 'granted',
    created: session === undefined,
    expiresAt,
    leases,
    added: lent.map(({ account, fence }) => ({ id: account.id, fence })),
    skipped,
  };
}

/** Frees what a session names, or all of it and the session. Null when there is no such session of that key. */
export async function release(
  tx: Transaction,
  { sessionId, keyId, leases }: ReleaseDemand,
): Promise<{ readonly released: number } | null> {
  const session = await tx.db.get<SessionRow>(
    'SELECT * FROM sessions WHERE id = $1 AND expires_at > $2 FOR UPDATE',
    sessionId,
    tx.now,
  );
  if (session === undefined || (keyId !== null && session.key_id !== keyId)) return null;
  let released = 0;
  if (leases === null) {
    released = await endSessions(tx, [sessionId]);
  } else {
    await lockHeldBy(tx, [sessionId]);
    for (const { id, fence } of leases) released += await dropLease(tx, sessionId, id, fence);
  }
  return { released };
}

/** Answers 1 if the fence was that of the lease. */
async function dropLease(
  tx: Transaction,
  sessionId: string,
  accountId: string,
  fence: number,
): Promise<number> {
  const lease = await tx.db.get<{ slots: number; exclusive: number }>(
    `DELETE FROM leases WHERE session_id = $1 AND account_id = $2 AND fence = $3 RETURNING slots, exclusive`,
    sessionId,
    accountId,
    fence,
  );
  if (lease === undefined) return 0;
  await tx.db.run(
    `UPDATE accounts SET holders = holders - 1, exclusive_held = exclusive_held - $1,
       shared_slots = shared_slots - $2 WHERE id = $3`,
    lease.exclusive,
    lease.exclusive === 1 ? 0 : lease.slots,
    accountId,
  );
  tx.freed();
  return 1;
}

async function renew(tx: Transaction, sessionId: string, ttlMs: number, expiresAt: number): Promise<void> {
  await tx.db.run(
    'UPDATE sessions SET ttl_ms = $1, expires_at = $2 WHERE id = $3',
    ttlMs,
    expiresAt,
    sessionId,
  );
}

/** `isLeftOver`: one that has expired is still there, locked and emptied by the caller; it begins again. */
async function makeSession(
  tx: Transaction,
  demand: LeaseDemand,
  isLeftOver: boolean,
  ttlMs: number,
  expiresAt: number,
): Promise<void> {
  const made = await tx.db.run(
    isLeftOver
      ? `UPDATE sessions SET key_id = $2, is_gateway = $3, exclusive = $4, provider = $5, ttl_ms = $6,
           expires_at = $7, created_at = $8 WHERE id = $1`
      : `INSERT INTO sessions (id, key_id, is_gateway, exclusive, provider, ttl_ms, expires_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING`,
    demand.sessionId,
    demand.owner.keyId,
    asFlag(demand.owner.isGateway),
    asFlag(demand.exclusive),
    demand.provider,
    ttlMs,
    expiresAt,
    tx.now,
  );
  if (made === 0) throw new TryAgain('another call has made the session at the same moment');
}

async function lend(
  tx: Transaction,
  { sessionId, exclusive, owner, ...demand }: LeaseDemand,
  picked: readonly PickedRow[],
): Promise<Lease[]> {
  const ids = picked.map(({ id }) => id);
  const slots = exclusive ? 1 : demand.slots;
  const rows = await tx.db.all<AccountRow>(
    `UPDATE accounts SET fence_counter = fence_counter + 1, use_count = use_count + 1, last_used = $2,
       holders = holders + 1, exclusive_held = ${asFlag(exclusive)}, shared_slots = shared_slots + $3
     WHERE id = ANY ($1) RETURNING *`,
    ids,
    tx.now,
    exclusive ? 0 : slots,
  );
  if (rows.length !== ids.length) throw new Error('an account vanished inside a transaction');
  await tx.db.run(
    `INSERT INTO leases (session_id, account_id, fence, slots, exclusive, created_at)
       SELECT $1, id, fence_counter, $3::integer, ${asFlag(exclusive)}, $4::bigint FROM accounts WHERE id = ANY ($2)`,
    sessionId,
    ids,
    slots,
    tx.now,
  );
  for (const row of rows) {
    if (!tx.options.auditsLeases || owner.isGateway || row.credential_kind !== 'api_key') continue;
    const detail = { session_id: sessionId, fence: row.fence_counter };
    await tx.audit({ actor: owner.keyId, action: 'lease', accountId: row.id, detail });
  }
  rows.sort((one, other) => (one.id < other.id ? -1 : 1));
  return rows.map((row) => ({ account: accountFrom(row), fence: row.fence_counter, slots }));
}

async function grow(tx: Transaction, demand: LeaseDemand, row: HeldRow): Promise<void> {
  await tx.db.run(
    'UPDATE leases SET slots = $1 WHERE session_id = $2 AND account_id = $3',
    demand.slots,
    demand.sessionId,
    row.id,
  );
  await tx.db.run(
    'UPDATE accounts SET shared_slots = shared_slots + $1 WHERE id = $2',
    demand.slots - row.lease_slots,
    row.id,
  );
}

function heldBy(tx: Transaction, sessionId: string): Promise<HeldRow[]> {
  return tx.db.all<HeldRow>(
    `SELECT accounts.*, leases.fence AS lease_fence, leases.slots AS lease_slots
     FROM leases JOIN accounts ON accounts.id = leases.account_id
     WHERE leases.session_id = $1 ORDER BY leases.created_at, accounts.id`,
    sessionId,
  );
}

interface HoldingRow {
  readonly session_id: string;
  readonly account_id: string;
  readonly email: string | null;
  readonly slots: number;
}

/** Sessions by their id, after `after`; all, or those that hold an account. */
export async function sessions(
  db: Queries,
  now: number,
  query: {
    readonly limit: number;
    readonly after?: string | undefined;
    readonly accountId?: string | undefined;
  },
) {
  const { limit, after, accountId } = query;
  // Some that have expired may still be there.
  const live = 'expires_at > $1';
  const ofAccount = `${live} AND id IN (SELECT session_id FROM leases WHERE account_id = $2)`;
  const where = accountId === undefined ? live : ofAccount;
  const values = accountId === undefined ? [now] : [now, accountId];
  const counted = await db.get<{ total: number }>(
    `SELECT COUNT(*) AS total FROM sessions WHERE ${where}`,
    ...values,
  );
  const rows = await db.all<SessionRow>(
    `SELECT * FROM sessions WHERE ${where} AND id > $${values.length + 1}
     ORDER BY id LIMIT $${values.length + 2}`,
    ...values,
    after ?? '',
    limit + 1,
  );
  const page = rows.slice(0, limit);
  const holdings = await db.all<HoldingRow>(
    `SELECT session_id, account_id, email, slots FROM leases JOIN accounts ON accounts.id = account_id
     WHERE session_id = ANY ($1) ORDER BY leases.created_at, account_id`,
    page.map(({ id }) => id),
  );
  const bySession = Map.groupBy(holdings, (row) => row.session_id);
  return {
    sessions: page.map((row) => ({
      id: row.id,
      keyId: row.key_id,
      isGateway: row.is_gateway === 1,
      isExclusive: row.exclusive === 1,
      provider: row.provider,
      ttlMs: row.ttl_ms,
      expiresAt: row.expires_at,
      createdAt: row.created_at,
      leases: (bySession.get(row.id) ?? []).map((held) => ({
        accountId: held.account_id,
        email: held.email,
        slots: held.slots,
      })),
    })),
    total: counted?.total ?? 0,
    /** The id of the last one, where more follow. */
    nextAfter: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
  };
}
