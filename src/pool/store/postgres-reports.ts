import type { Postgres } from '../../db/postgres.ts';
import {
  applyOutcome,
  applyQuota,
  inUseCheckMs,
  type QuotaCause,
  type QuotaFinding,
} from '../account-state.ts';
import { noEffect, type OutcomeEffect } from '../standing.ts';
import { mostCounted, mostInMinute } from './counted-stats.ts';
import { countsUsage, reporterOf } from './lease-rules.ts';
import {
  isLastActive,
  lockAccount,
  mustHaveRow,
  saveStanding,
  setNextCheck,
  type Work,
} from './postgres-work.ts';
import { quotaFrom } from './quota-row.ts';
import {
  type AccountRow,
  accountFrom,
  type LeaseRow,
  type SessionRow,
  standingFrom,
  tokenFrom,
} from './rows.ts';
import { checksAfter, nextCheckOf, remainingOf } from './standing-change.ts';
import type { Changes, ReportDemand, ReportedResult, ReportedTurn, StoredAccount, Usage } from './store.ts';

/** What a report works on: read and locked at its start, so that its turns cost no round trips of their own. */
interface Reported {
  readonly rows: Map<string, AccountRow>;
  /** Live leases of the session, by account. */
  readonly fences: Map<string, number>;
  /** Ids that nobody has reported before. */
  readonly fresh: Set<string>;
  readonly spent: Map<string, Usage & { readonly lastUsed: number }>;
}

/** Counts and applies reported turns. Null when the session is another key's. */
export async function report(
  work: Work,
  demand: ReportDemand,
): Promise<{ readonly results: readonly ReportedResult[]; readonly changes: Changes } | null> {
  const { db, now } = work;
  const session = await db.get<SessionRow>(
    'SELECT * FROM sessions WHERE id = $1 AND expires_at > $2 FOR UPDATE',
    demand.sessionId,
    now,
  );
  if (session !== undefined && session.key_id !== demand.keyId) return null;
  if (session !== undefined) {
    await db.run('UPDATE sessions SET expires_at = $1 WHERE id = $2', now + session.ttl_ms, session.id);
  }
  if (demand.turns.length === 0) return { results: [], changes: work.changes() };
  const reported = await readReported(work, demand, session);
  const results: ReportedResult[] = [];
  for (const turn of demand.turns) results.push(await reportTurn(work, reported, turn));
  await writeUsage(work, reported);
  return { results, changes: work.changes() };
}

async function readReported(
  work: Work,
  demand: ReportDemand,
  session: SessionRow | undefined,
): Promise<Reported> {
  const { db, now } = work;
  const { turns } = demand;
  const rows = await db.all<AccountRow>(
    'SELECT * FROM accounts WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE',
    [...new Set(turns.map((turn) => turn.accountId))],
  );
  const known = new Set(rows.map((row) => row.id));
  const leases =
    session === undefined
      ? []
      : await db.all<LeaseRow>('SELECT * FROM leases WHERE session_id = $1', session.id);
  const ids = new Set(turns.filter((turn) => known.has(turn.accountId)).map((turn) => turn.reportId));
  const fresh = await db.all<{ report_id: string }>(
    `INSERT INTO reports_seen (key_id, report_id, seen_at) SELECT $1, id, $3::bigint FROM unnest($2::text[]) AS id
     ON CONFLICT DO NOTHING RETURNING report_id`,
    reporterOf(demand),
    [...ids].sort(),
    now,
  );
  return {
    rows: new Map(rows.map((row) => [row.id, row])),
    fences: new Map(leases.map((lease) => [lease.account_id, lease.fence])),
    fresh: new Set(fresh.map((row) => row.report_id)),
    spent: new Map(),
  };
}

async function reportTurn(work: Work, reported: Reported, turn: ReportedTurn): Promise<ReportedResult> {
  const { rows, fences, fresh } = reported;
  const answer = (
    result: ReportedResult['result'],
    isLive: boolean,
    effect: Omit<OutcomeEffect, 'standing'> = noEffect,
  ): ReportedResult => {
    const present = rows.get(turn.accountId);
    return {
      reportId: turn.reportId,
      accountId: turn.accountId,
      result,
      account: present === undefined ? null : accountFrom(present),
      isLive,
      shouldCheckQuota: effect.shouldCheckQuota,
      shouldRefresh: effect.isBearerRejected,
      shouldAskProvider: effect.shouldAskProvider,
    };
  };
  const found = rows.get(turn.accountId);
  if (found === undefined) return answer('unknown', false);
  const isLive = fences.get(found.id) === turn.fence;
  if (!fresh.delete(turn.reportId)) return answer('duplicate', isLive);
  const row = countsUsage(found, turn, isLive) ? countUsage(work, reported, found, turn) : found;
  rows.set(row.id, row);
  if (!isLive) return answer('stale', false);

  const { signal } = turn;
  const isOldToken = signal.outcome === 'unauthorized' && signal.tokenVersion !== row.token_version;
  if (isOldToken) return answer('stale', true);
  const isGood = signal.outcome === 'success' || signal.outcome === 'cancelled';
  const around = {
    tokenVersion: row.token_version,
    token: tokenFrom(row),
    isLastUsable: isGood || (await isLastActive(work, row)),
    concurrentTurns: Math.max(1, row.shared_slots),
  };
  const effect = applyOutcome(standingFrom(row), signal, around, work.now);
  let present = row;
  if (signal.outcome === 'success' && !signal.isClaim && row.probe === 'unproved') {
    await work.db.run(
      "UPDATE accounts SET probe = 'proved', next_check_at = $1, checks = 0 WHERE id = $2",
      nextCheckOf(row.id, effect.standing, 'proved', 0, work.now),
      row.id,
    );
    present = await reread(work, reported, row.id);
  }
  if (effect.isBearerRejected) {
    // A rejected bearer is as good as lapsed, whatever else the account goes through; a refresh is due.
    await work.db.run(
      `UPDATE accounts SET
        bearer_expires_at = CASE WHEN bearer_expires_at > $1::bigint THEN $1 ELSE bearer_expires_at END,
        next_refresh_at = CASE WHEN next_refresh_at > $1::bigint THEN $1 ELSE next_refresh_at END WHERE id = $2`,
      work.now,
      row.id,
    );
    present = await reread(work, reported, row.id);
  }
  if (await saveStanding(work, present, effect.standing)) present = await reread(work, reported, row.id);
  if (present.holders === 0) fences.delete(row.id);
  return answer('applied', true, effect);
}

const nothingSpent = { turns: 0, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0, lastUsed: 0 };

/** Adds to what will be written at the end, and to the row as the caller sees it. */
function countUsage(work: Work, { spent }: Reported, row: AccountRow, turn: ReportedTurn): AccountRow {
  const { usage } = turn;
  const before = spent.get(row.id) ?? nothingSpent;
  const own = {
    turns: usage.turns,
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    credits: usage.credits,
    costCents: usage.costCents,
    lastUsed: turn.signal.outcome === 'success' ? work.now : 0,
  };
  spent.set(row.id, {
    turns: before.turns + own.turns,
    inputTokens: before.inputTokens + own.inputTokens,
    outputTokens: before.outputTokens + own.outputTokens,
    credits: before.credits + own.credits,
    costCents: before.costCents + own.costCents,
    lastUsed: Math.max(before.lastUsed, own.lastUsed),
  });
  return withUsage(row, own);
}

function withUsage(row: AccountRow, spent: Usage & { readonly lastUsed: number }): AccountRow {
  return {
    ...row,
    turns: row.turns + spent.turns,
    input_tokens: row.input_tokens + spent.inputTokens,
    output_tokens: row.output_tokens + spent.outputTokens,
    credits: row.credits + spent.credits,
    cost_cents: row.cost_cents + spent.costCents,
    last_used: Math.max(row.last_used, spent.lastUsed),
  };
}

async function reread(work: Work, { rows, spent }: Reported, id: string): Promise<AccountRow> {
  const stored = await mustHaveRow(work, id);
  const counted = spent.get(id);
  const row = counted === undefined ? stored : withUsage(stored, counted);
  rows.set(id, row);
  return row;
}

async function writeUsage(work: Work, { spent }: Reported): Promise<void> {
  const ids = [...spent.keys()].sort();
  if (ids.length === 0) return;
  const usages = ids.map((id) => spent.get(id));
  await work.db.run(
    `WITH spent AS (
       SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[],
           $7::bigint[])
         AS spent (id, turns, input_tokens, output_tokens, credits, cost_cents, last_used)
     ), counted AS (
       INSERT INTO spending (minute, turns, input_tokens, output_tokens, credits, cost_cents)
         SELECT $8::bigint, LEAST(SUM(turns), ${mostInMinute}), LEAST(SUM(input_tokens), ${mostInMinute}),
             LEAST(SUM(output_tokens), ${mostInMinute}), SUM(credits), SUM(cost_cents) FROM spent
       ON CONFLICT (minute, shard) DO UPDATE SET turns = LEAST(spending.turns + EXCLUDED.turns, ${mostInMinute}),
         input_tokens = LEAST(spending.input_tokens + EXCLUDED.input_tokens, ${mostInMinute}),
         output_tokens = LEAST(spending.output_tokens + EXCLUDED.output_tokens, ${mostInMinute}),
         credits = spending.credits + EXCLUDED.credits, cost_cents = spending.cost_cents + EXCLUDED.cost_cents
     )
     UPDATE accounts SET turns = LEAST(accounts.turns + spent.turns, ${mostCounted}),
       input_tokens = LEAST(accounts.input_tokens + spent.input_tokens, ${mostCounted}),
       output_tokens = LEAST(accounts.output_tokens + spent.output_tokens, ${mostCounted}), credits = accounts.credits + spent.credits,
       cost_cents = accounts.cost_cents + spent.cost_cents,
       last_used = GREATEST(accounts.last_used, spent.last_used),
       next_check_at = CASE WHEN spent.last_used > 0 AND accounts.next_check_at > spent.last_used + ${inUseCheckMs}
         THEN spent.last_used + ${inUseCheckMs} ELSE accounts.next_check_at END
     FROM spent WHERE accounts.id = spent.id`,
    ids,
    usages.map((usage) => usage?.turns ?? 0),
    usages.map((usage) => usage?.inputTokens ?? 0),
    usages.map((usage) => usage?.outputTokens ?? 0),
    usages.map((usage) => usage?.credits ?? 0),
    usages.map((usage) => usage?.costCents ?? 0),
    usages.map((usage) => usage?.lastUsed ?? 0),
    Math.floor(work.now / 60_000),
  );
}

/** Applies what the provider answered about an account's quota. Null when the account is gone. */
export async function recordQuota(
  work: Work,
  id: string,
  finding: QuotaFinding,
  cause: QuotaCause,
): Promise<{ readonly account: StoredAccount; readonly changes: Changes } | null> {
  const row = await lockAccount(work, id);
  if (row === undefined) return null;
  const quota = finding.type === 'answer' ? quotaFrom(finding.answer, work.now) : null;
  if (quota !== null) {
    await work.db.run(
      "UPDATE accounts SET quota = $1, quota_remaining = $2, probe = 'proved' WHERE id = $3",
      JSON.stringify(quota),
      remainingOf(quota),
      id,
    );
  }
  await saveStanding(work, row, applyQuota(standingFrom(row), finding, cause, work.now));
  const after = await mustHaveRow(work, id);
  const checks = checksAfter(after.checks, row.quota, quota);
  const next = nextCheckOf(id, standingFrom(after), after.probe, checks, work.now);
  await setNextCheck(work, id, next, checks);
  return { account: accountFrom(after), changes: work.changes() };
}

/** How long whoever took an account's check has it alone. */
const checkTakesMs = 5 * 60_000;

/** Hands out each due account once: its next check is moved on before anybody asks. */
export async function claimQuotaChecks(db: Postgres, now: number, limit: number): Promise<StoredAccount[]> {
  const rows = await db.writing.all<AccountRow>(
    `UPDATE accounts SET next_check_at = $1::bigint + ${checkTakesMs}, checks = checks + 1
     WHERE id = ANY (ARRAY (
       SELECT id FROM accounts WHERE next_check_at IS NOT NULL AND next_check_at <= $1
       ORDER BY next_check_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))
     RETURNING *`,
    now,
    limit,
  );
  return rows.map(accountFrom);
}
