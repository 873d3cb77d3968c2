import { applyOutcome, inUseCheckMs } from '../../standing/account-state.ts';
import { noEffect, type OutcomeEffect } from '../../standing/standing.ts';
import { countsUsage, reporterOf } from '../rules/leasing.ts';
import {
  type AccountRow,
  accountFrom,
  type LeaseRow,
  nextCheckOf,
  type SessionRow,
  standingFrom,
  tokenFrom,
} from '../rules/rows.ts';
import type { ReportDemand, ReportedResult, ReportedTurn, Usage } from '../store.ts';
import { isLastActive, saveStanding, type Transaction, updateAccount } from './transaction.ts';

/** What an account's totals stop at, so that they stay whole numbers to every reader. */
const mostCounted = Number.MAX_SAFE_INTEGER;
/** The same for a minute's: those of an hour are added up. */
const mostInMinute = Math.floor(mostCounted / 64);

type CountedRow = { -readonly [Name in keyof AccountRow]: AccountRow[Name] };
type Spent = Usage & { readonly lastUsed: number };

/** Counts and applies reported turns. Null when the session is another key's; an unknown one makes every item stale. */
export async function report(
  tx: Transaction,
  demand: ReportDemand,
): Promise<{ readonly results: readonly ReportedResult[] } | null> {
  const session = await tx.db.get<SessionRow>(
    'UPDATE sessions SET expires_at = $1 + ttl_ms WHERE id = $2 AND expires_at > $1 AND key_id = $3 RETURNING *',
    tx.now,
    demand.sessionId,
    demand.keyId,
  );
  if (session === undefined && (await isAnotherKeys(tx, demand))) return null;
  if (demand.turns.length === 0) return { results: [] };
  const reported = await readReported(tx, demand, session);
  const results: ReportedResult[] = [];
  for (const turn of demand.turns) results.push(await reportTurn(tx, reported, turn));
  await writeUsage(tx, reported);
  return { results };
}

async function isAnotherKeys(tx: Transaction, { sessionId, keyId }: ReportDemand): Promise<boolean> {
  const other = await tx.db.get(
    'SELECT 1 FROM sessions WHERE id = $1 AND expires_at > $2 AND key_id <> $3',
    sessionId,
    tx.now,
    keyId,
  );
  return other !== undefined;
}

type Reported = Awaited<ReturnType<typeof readReported>>;

/** What a report works on: read and locked at its start, so that its turns cost no statements of their own. */
async function readReported(tx: Transaction, demand: ReportDemand, session: SessionRow | undefined) {
  const { db, now } = tx;
  const { turns } = demand;
  const rows = await db.all<AccountRow>(
    'SELECT * FROM accounts WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE',
    [...new Set(turns.map((turn) => turn.accountId))],
  );
  const known = new Set(rows.map((row) => row.id));
  const leases =
    session === undefined
      ? []
      : await db.all<LeaseRow>('SELECT account_id, fence FROM leases WHERE session_id = $1', session.id);
  const ids = new Set(turns.filter((turn) => known.has(turn.accountId)).map((turn) => turn.reportId));
  const fresh = await db.all<{ report_id: string }>(
    `INSERT INTO reports_seen (key_id, report_id, seen_at)
       SELECT $1, id, $3::bigint FROM unnest($2::text[]) AS id WHERE TRUE
     ON CONFLICT DO NOTHING RETURNING report_id`,
    reporterOf(demand),
    [...ids].sort(),
    now,
  );
  return {
    rows: new Map<string, CountedRow>(rows.map((row) => [row.id, row])),
    /** Live leases of the session, by account. */
    fences: new Map(leases.map((lease) => [lease.account_id, lease.fence])),
    /** Ids that were not reported before. */
    fresh: new Set(fresh.map((row) => row.report_id)),
    spent: new Map<string, Spent>(),
  };
}

export async function reportTurn(tx: Transaction, reported: Reported, turn: ReportedTurn) {
  const { rows, fences, fresh } = reported;
  const answer = (
    result: 'applied' | 'stale' | 'unknown' | 'duplicate',
    isLive: boolean,
    effect: Omit<OutcomeEffect, 'standing'> = noEffect,
  ) => {
    const present = rows.get(turn.accountId);
    return {
      reportId: turn.reportId,
      accountId: turn.accountId,
      result,
      account: present === undefined ? null : accountFrom(present),
      /** The lease was live when the report came. */
      isLive,
      shouldCheckQuota: effect.shouldCheckQuota,
      /** The present bearer was rejected, and a refresh token may give another one. */
      shouldRefresh: effect.isBearerRejected,
      /** A program claims what would end the account's service, and the provider can say whether it is so. */
      shouldAskProvider: effect.shouldAskProvider,
    };
  };
  const row = rows.get(turn.accountId);
  if (row === undefined) return answer('unknown', false);
  const isLive = fences.get(row.id) === turn.fence;
  if (!fresh.delete(turn.reportId)) return answer('duplicate', isLive);
  if (countsUsage(row, turn, isLive)) countUsage(tx, reported, row, turn);
  if (!isLive) return answer('stale', false);

  const { signal } = turn;
  const isOldToken = signal.outcome === 'unauthorized' && signal.tokenVersion !== row.token_version;
  if (isOldToken) return answer('stale', true);
  const isGood = signal.outcome === 'success' || signal.outcome === 'cancelled';
  const around = {
    tokenVersion: row.token_version,
    token: tokenFrom(row),
    isLastUsable: isGood || (await isLastActive(tx, row)),
    concurrentTurns: Math.max(1, row.shared_slots),
  };
  const effect = applyOutcome(standingFrom(row), signal, around, tx.now);
  let present = row;
  if (signal.outcome === 'success' && !signal.isClaim && row.probe === 'unproved') {
    const proved = await updateAccount(tx, row.id, {
      probe: 'proved',
      next_check_at: nextCheckOf(row.id, effect.standing, 'proved', 0, tx.now),
      checks: 0,
    });
    present = noted(reported, proved);
  }
  if (effect.isBearerRejected) {
    // A rejected bearer is as good as lapsed, whatever else the account goes through; a refresh is due.
    const rejected = await updateAccount(tx, row.id, {
      bearer_expires_at: earlier(present.bearer_expires_at, tx.now),
      next_refresh_at: earlier(present.next_refresh_at, tx.now),
    });
    present = noted(reported, rejected);
  }
  const saved = await saveStanding(tx, present, effect.standing);
  if (saved !== present) present = noted(reported, saved);
  if (present.holders === 0) fences.delete(row.id);
  return answer('applied', true, effect);
}

/** A time that is not set stays so. */
function earlier(at: number | null, now: number): number | null {
  return at === null ? null : Math.min(at, now);
}

/** Adds to what will be written at the end, and to the row as the caller sees it. */
function countUsage(tx: Transaction, { spent }: Reported, row: CountedRow, turn: ReportedTurn): void {
  const own = { ...turn.usage, lastUsed: turn.signal.outcome === 'success' ? tx.now : 0 };
  const before = spent.get(row.id);
  spent.set(row.id, before === undefined ? own : sumOf(before, own));
  addUsage(row, own);
}

function sumOf(one: Spent, other: Spent): Spent {
  return {
    turns: one.turns + other.turns,
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    credits: one.credits + other.credits,
    costCents: one.costCents + other.costCents,
    lastUsed: Math.max(one.lastUsed, other.lastUsed),
  };
}

function addUsage(row: CountedRow, spent: Spent): void {
  row.turns += spent.turns;
  row.input_tokens += spent.inputTokens;
  row.output_tokens += spent.outputTokens;
  row.credits += spent.credits;
  row.cost_cents += spent.costCents;
  row.last_used = Math.max(row.last_used, spent.lastUsed);
}

/** A row that was written, with what is counted and will be written at the end. */
function noted({ rows, spent }: Reported, written: AccountRow): CountedRow {
  const row = { ...written };
  const counted = spent.get(row.id);
  if (counted !== undefined) addUsage(row, counted);
  rows.set(row.id, row);
  return row;
}

async function writeUsage(tx: Transaction, { spent }: Reported): Promise<void> {
  if (spent.size === 0) return;
  for (const [id, usage] of spent) {
    await tx.db.run(
      `UPDATE accounts SET turns = LEAST(turns + $1, ${mostCounted}),
         input_tokens = LEAST(input_tokens + $2, ${mostCounted}),
         output_tokens = LEAST(output_tokens + $3, ${mostCounted}),
         credits = credits + $4, cost_cents = cost_cents + $5, last_used = GREATEST(last_used, $6::bigint),
         next_check_at = CASE WHEN $6 > 0 AND next_check_at > $6 + ${inUseCheckMs}
           THEN $6 + ${inUseCheckMs} ELSE next_check_at END
       WHERE id = $7`,
      usage.turns,
      usage.inputTokens,
      usage.outputTokens,
      usage.credits,
      usage.costCents,
      usage.lastUsed,
      id,
    );
  }
  const all = [...spent.values()].reduce(sumOf);
  await tx.db.run(
    `INSERT INTO spending (minute, turns, input_tokens, output_tokens, credits, cost_cents)
       VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (${tx.options.isShared ? 'minute, shard' : 'minute'}) DO UPDATE SET
       turns = LEAST(spending.turns + EXCLUDED.turns, ${mostInMinute}),
       input_tokens = LEAST(spending.input_tokens + EXCLUDED.input_tokens, ${mostInMinute}),
       output_tokens = LEAST(spending.output_tokens + EXCLUDED.output_tokens, ${mostInMinute}),
       credits = spending.credits + EXCLUDED.credits, cost_cents = spending.cost_cents + EXCLUDED.cost_cents`,
    Math.floor(tx.now / 60_000),
    Math.min(all.turns, mostInMinute),
    Math.min(all.inputTokens, mostInMinute),
    Math.min(all.outputTokens, mostInMinute),
    all.credits,
    all.costCents,
  );
}
