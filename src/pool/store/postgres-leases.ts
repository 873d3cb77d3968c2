import { codeOf, type Postgres, type Queries, TryAgain } from '../../db/postgres.ts';
import {
  type CandidateRow,
  candidateColumns,
  type HeldRow,
  leaseFrom,
  mismatchOf,
  type Need,
  needOf,
  passedOver,
} from './lease-rules.ts';
import {
  type ChoiceShape,
  choiceValues,
  firstStatement,
  openStatement,
  pickStatement,
  placeColumns,
  spentProviders,
} from './postgres-choice.ts';
import { shortageOf } from './postgres-shortage.ts';
import { emptySession, freeing, type Work } from './postgres-work.ts';
import { type AccountRow, accountFrom, asFlag, type SessionRow } from './rows.ts';
import type { StoreOptions } from './standing-change.ts';
import type { Changes, EnsureResult, LeaseDemand, ReleaseDemand, Skip } from './store.ts';

type Granted = Extract<EnsureResult, { result: 'granted' }>;
/** Where a picked account stood before, and whether one that stood before it would not do. */
interface PickedRow {
  readonly id: string;
  readonly tier: number;
  readonly picked_at: number;
  readonly passes: boolean | null;
}

const noChanges: Changes = { accounts: [], hasFreed: false };
/** How often a demand looks again for an account that somebody is at, before it is told that there is none. */
const mostLooks = 12;

/** Marks the accounts `pick` as held, with a lease each; answers the accounts as `mark`. $1 is the session, $2 the time. */
const lending = (exclusive: boolean, slots: string, actor: string, audits: string): string => `mark AS (
    UPDATE accounts SET fence_counter = fence_counter + 1, use_count = use_count + 1, last_used = $2::bigint,
      holders = holders + 1, exclusive_held = ${asFlag(exclusive)},
      shared_slots = shared_slots + ${exclusive ? 0 : `${slots}::integer`}
    FROM pick WHERE accounts.id = pick.id AND EXISTS (SELECT 1 FROM made) RETURNING accounts.*
  ), lent AS (
    INSERT INTO leases (session_id, account_id, fence, slots, exclusive, created_at)
      SELECT $1, id, fence_counter, ${slots}::integer, ${asFlag(exclusive)}, $2::bigint FROM mark
  ), noted AS (
    INSERT INTO audit (at, actor, action, account_id, detail)
      SELECT $2::bigint, ${actor}, 'lease', id, json_build_object('session_id', $1::text, 'fence', fence_counter)
      FROM mark WHERE ${audits}::boolean AND credential_kind = 'api_key'
  )`;

/** Makes a new session and gives it accounts, all in one statement. */
export function takeStatement(shape: ChoiceShape): string {
  return `WITH ${pickStatement(shape, 'NOT EXISTS (SELECT 1 FROM sessions WHERE id = $1)')}, made AS (
    INSERT INTO sessions (id, key_id, is_gateway, exclusive, provider, ttl_ms, expires_at, created_at)
      SELECT $1, $9, $6, ${asFlag(shape.exclusive)}, $3, $11::bigint, $12::bigint, $2::bigint
      WHERE (SELECT COUNT(*) FROM pick) = ${shape.count}
      ON CONFLICT (id) DO NOTHING RETURNING id
  ), ${lending(shape.exclusive, '$7', '$9', '$10')}
  SELECT mark.*, ${placeColumns(shape)} FROM mark JOIN pick USING (id) ORDER BY id`;
}

/**
 * The usual case: a session that is new, and enough accounts that nobody is at. Null when it is not so; then nothing
 * has happened.
 */
export async function takeLeases(
  db: Postgres,
  now: number,
  options: StoreOptions,
  demand: LeaseDemand,
): Promise<Granted | null> {
  if (demand.count > 1 && demand.prefer !== null) return null;
  const { provider, exclusive, count } = demand;
  const ttlMs = demand.ttlMs ?? demand.defaultTtlMs;
  const shape = { exclusive, hasProvider: provider !== null, hasPreferred: demand.prefer !== null, count };
  const rows = await db.writing.all<AccountRow & PickedRow>(
    takeStatement(shape),
    ...choiceValues(demand, provider, now, []),
    demand.owner.keyId,
    options.auditsLeases && !demand.owner.isGateway,
    ttlMs,
    now + ttlMs,
  );
  if (rows.length === 0) return null;
  const slots = exclusive ? 1 : demand.slots;
  const need = needOf(demand, provider, [], new Set());
  return {
    result: 'granted',
    created: true,
    expiresAt: now + ttlMs,
    leases: rows.map((row) => ({ account: accountFrom(row), fence: row.fence_counter, slots })),
    added: rows.map((row) => ({ id: row.id, fence: row.fence_counter })),
    skipped: await skipsOf(db.reading, now, need, shape, rows),
    changes: noChanges,
  };
}

/** Makes a session hold what it asks for, or answers why not. Adds all that is missing or nothing. */
export async function ensureLeases(work: Work, demand: LeaseDemand, look: number): Promise<EnsureResult> {
  const { db, now } = work;
  const found = await db.get<SessionRow>('SELECT * FROM sessions WHERE id = $1 FOR UPDATE', demand.sessionId);
  const session = found !== undefined && found.expires_at > now ? found : undefined;
  if (found !== undefined && session === undefined) await emptySession(work, found.id);
  const held = session === undefined ? [] : await lockHeld(work, demand.sessionId);
  const mismatch = session === undefined ? undefined : mismatchOf(session, held, demand);
  if (mismatch !== undefined) return { result: 'mismatch', message: mismatch, changes: work.changes() };

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
  const picked =
    missing === 0
      ? []
      : await db.all<PickedRow>(
          `WITH ${pickStatement(shape)} SELECT pick.id, pick.tier, ${placeColumns(shape)} FROM pick`,
          ...values,
        );
  const skipped = await skipsOf(db, now, need, shape, picked);

  const ttlMs = demand.ttlMs ?? session?.ttl_ms ?? demand.defaultTtlMs;
  if (picked.length < missing) {
    const open = await db.get<{ accounts: number }>(openStatement(shape), ...values);
    if ((open?.accounts ?? 0) >= missing && look < mostLooks) {
      throw new TryAgain('somebody is at the accounts that would do');
    }
    if (session !== undefined) await renew(work, session.id, ttlMs, Math.max(now + ttlMs, demand.waitUntil));
    return { ...(await shortageOf(work, need.question)), changes: work.changes() };
  }

  const expiresAt = now + ttlMs;
  if (session !== undefined) await renew(work, session.id, ttlMs, expiresAt);
  else await makeSession(work, demand, found !== undefined, ttlMs, expiresAt);
  for (const row of need.growing) await grow(work, demand, row);
  const chosen = picked.map(({ id }) => id);
  const added = chosen.length === 0 ? [] : await lend(work, demand, chosen);
  const leases = (await heldBy(work, demand.sessionId)).filter(need.counts);
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

/** Frees all a session holds and ends it, in one statement. */
export const endStatement = `WITH session AS (
    SELECT id FROM sessions WHERE id = $1 AND expires_at > $2 AND ($3::text IS NULL OR key_id = $3) FOR UPDATE
  ), locked AS (
    SELECT id FROM accounts
    WHERE id IN (SELECT account_id FROM leases WHERE session_id = (SELECT id FROM session))
    ORDER BY id FOR NO KEY UPDATE
  ), gone AS (
    DELETE FROM leases WHERE session_id = (SELECT id FROM session) AND account_id IN (SELECT id FROM locked)
    RETURNING account_id, slots, exclusive
  ), ${freeing}, ended AS (
    DELETE FROM sessions WHERE id = (SELECT id FROM session)
  )
  SELECT (SELECT COUNT(*) FROM session) AS sessions, (SELECT COUNT(*) FROM gone) AS leases`;

/** Frees the named leases of a session. */
const giveBackStatement = `WITH session AS (
    SELECT id FROM sessions WHERE id = $1 AND expires_at > $2 AND ($3::text IS NULL OR key_id = $3) FOR UPDATE
  ), named AS (
    SELECT DISTINCT id, fence FROM unnest($4::text[], $5::bigint[]) AS named (id, fence) WHERE EXISTS (SELECT 1 FROM session)
  ), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT id FROM named) ORDER BY id FOR NO KEY UPDATE
  ), gone AS (
    DELETE FROM leases USING named
    WHERE session_id = $1 AND account_id = named.id AND leases.fence = named.fence
      AND account_id IN (SELECT id FROM locked)
    RETURNING account_id, slots, exclusive
  ), ${freeing}
  SELECT (SELECT COUNT(*) FROM session) AS sessions, (SELECT COUNT(*) FROM gone) AS leases`;

/** Frees what a session names, or all of it and the session. Null when there is no such session of that key. */
export async function release(
  db: Postgres,
  now: number,
  { sessionId, keyId, leases }: ReleaseDemand,
): Promise<{ readonly released: number; readonly changes: Changes } | null> {
  const values = leases === null ? [] : [leases.map(({ id }) => id), leases.map(({ fence }) => fence)];
  const run = () =>
    db.writing.get<{ sessions: number; leases: number }>(
      leases === null ? endStatement : giveBackStatement,
      sessionId,
      now,
      keyId,
      ...values,
    );
  const gone = await runWhileGrowing(run);
  if (gone === undefined || gone.sessions === 0) return null;
  return { released: gone.leases, changes: { accounts: [], hasFreed: gone.leases > 0 } };
}

/** A foreign key and a check. */
const fellBehind = new Set(['23503', '23514']);
const mostTries = 20;

/**
 * A statement sees the leases there were when it began. If it had to wait for a session that grew meanwhile, it would
 * leave some behind, or take more slots off an account than it saw it have; then nothing of it happens, and it is run
 * again.
 */
async function runWhileGrowing<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run();
    } catch (error) {
      if (!fellBehind.has(codeOf(error)) || tries >= mostTries) throw error;
    }
  }
}

export async function renew(work: Work, sessionId: string, ttlMs: number, expiresAt: number): Promise<void> {
  await work.db.run(
    'UPDATE sessions SET ttl_ms = $1, expires_at = $2 WHERE id = $3',
    ttlMs,
    expiresAt,
    sessionId,
  );
}

export async function providersWithSpentFreeQuota(db: Queries, now: number): Promise<ReadonlySet<string>> {
  const rows = await db.all<{ provider: string }>(spentProviders('$1'), now);
  return new Set(rows.map((row) => row.provider));
}

/** Better placed accounts that would not do. Asked only where there are any. */
async function skipsOf(
  db: Queries,
  now: number,
  { question, heldIds }: Need,
  shape: ChoiceShape,
  picked: readonly PickedRow[],
): Promise<Skip[]> {
  const { prefer } = question.demand;
  const chosen = new Set(picked.map(({ id }) => id));
  const isPreferredPassed =
    prefer !== null && picked.length > 0 && !chosen.has(prefer) && !heldIds.has(prefer);
  const passes = picked[0]?.passes === true;
  if (!isPreferredPassed && !passes) return [];
  const preferred = isPreferredPassed
    ? await db.all<CandidateRow>(`SELECT ${candidateColumns} FROM accounts WHERE id = $1`, prefer)
    : [];
  const first = passes
    ? await db.all<CandidateRow & Pick<AccountRow, 'tier' | 'last_used'>>(
        firstStatement(shape),
        question.provider,
      )
    : [];
  const better = first.filter(
    (row) =>
      row.id !== prefer &&
      !heldIds.has(row.id) &&
      !chosen.has(row.id) &&
      picked.some((one) => isBefore([row.tier, row.last_used, row.id], [one.tier, one.picked_at, one.id])),
  );
  const spent = await providersWithSpentFreeQuota(db, now);
  return passedOver([...preferred, ...better], { ...question, spent });
}

function isBefore(one: readonly [number, number, string], other: readonly [number, number, string]): boolean {
  const at = one.findIndex((value, index) => value !== other[index]);
  const [mine, theirs] = [one[at], other[at]];
  return mine !== undefined && theirs !== undefined && mine < theirs;
}

/** `isLeftOver`: one that has expired is still there, locked and emptied by the caller; it begins anew. */
async function makeSession(
  work: Work,
  demand: LeaseDemand,
  isLeftOver: boolean,
  ttlMs: number,
  expiresAt: number,
): Promise<void> {
  const made = await work.db.run(
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
    work.now,
  );
  if (made === 0) throw new TryAgain('another call has made the session at the same moment');
}

async function lend(
  work: Work,
  demand: LeaseDemand,
  ids: readonly string[],
): Promise<{ readonly id: string; readonly fence: number }[]> {
  const { exclusive, slots, owner, sessionId } = demand;
  const rows = await work.db.all<Pick<AccountRow, 'id' | 'fence_counter'>>(
    `WITH pick AS (SELECT unnest($3::text[]) AS id), made AS (SELECT 1), ${lending(exclusive, '$4', '$5', '$6')}
     SELECT id, fence_counter FROM mark`,
    sessionId,
    work.now,
    ids,
    slots,
    owner.keyId,
    work.options.auditsLeases && !owner.isGateway,
  );
  if (rows.length !== ids.length) throw new Error('an account vanished inside a transaction');
  const fences = new Map(rows.map((row) => [row.id, row.fence_counter]));
  return ids.map((id) => ({ id, fence: fences.get(id) ?? 0 }));
}

async function grow(work: Work, demand: LeaseDemand, row: HeldRow): Promise<void> {
  await work.db.run(
    'UPDATE leases SET slots = $1 WHERE session_id = $2 AND account_id = $3',
    demand.slots,
    demand.sessionId,
    row.id,
  );
  await work.db.run(
    'UPDATE accounts SET shared_slots = shared_slots + $1 WHERE id = $2',
    demand.slots - row.lease_slots,
    row.id,
  );
}

/** The accounts are locked before they are read: their leases must not end meanwhile. */
async function lockHeld(work: Work, sessionId: string): Promise<HeldRow[]> {
  await work.db.run(
    `SELECT 1 FROM accounts WHERE id IN (SELECT account_id FROM leases WHERE session_id = $1)
     ORDER BY id FOR NO KEY UPDATE`,
    sessionId,
  );
  return heldBy(work, sessionId);
}

function heldBy(work: Work, sessionId: string): Promise<HeldRow[]> {
  return work.db.all<HeldRow>(
    `SELECT accounts.*, leases.fence AS lease_fence, leases.slots AS lease_slots
     FROM leases JOIN accounts ON accounts.id = leases.account_id
     WHERE leases.session_id = $1 ORDER BY leases.created_at, accounts.id`,
    sessionId,
  );
}
