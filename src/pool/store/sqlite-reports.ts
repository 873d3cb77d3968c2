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
import { quotaFrom } from './quota-row.ts';
import { type AccountRow, accountFrom, type SessionRow, standingFrom, tokenFrom } from './rows.ts';
import { liveLease, renew } from './sqlite-leases.ts';
import { accountRow, isLastActive, reap, saveStanding, setNextCheck, type Work } from './sqlite-work.ts';
import { checksAfter, nextCheckOf, remainingOf } from './standing-change.ts';
import type { Changes, ReportDemand, ReportedResult, ReportedTurn, StoredAccount } from './store.ts';

/** Counts and applies reported turns. Null when the session is another key's. */
export function report(
  work: Work,
  demand: ReportDemand,
): { readonly results: readonly ReportedResult[]; readonly changes: Changes } | null {
  reap(work);
  const session = work.db.get<SessionRow>('SELECT * FROM sessions WHERE id = ?', demand.sessionId);
  if (session !== undefined && session.key_id !== demand.keyId) return null;
  if (session !== undefined) renew(work, session.id, session.ttl_ms, work.now + session.ttl_ms);
  const results = demand.turns.map((turn) => reportTurn(work, demand, session, turn));
  return { results, changes: work.changes() };
}

function reportTurn(
  work: Work,
  demand: ReportDemand,
  session: SessionRow | undefined,
  turn: ReportedTurn,
): ReportedResult {
  const answer = (
    result: ReportedResult['result'],
    isLive: boolean,
    effect: Omit<OutcomeEffect, 'standing'> = noEffect,
  ): ReportedResult => {
    const present = accountRow(work, turn.accountId);
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
  const row = accountRow(work, turn.accountId);
  if (row === undefined) return answer('unknown', false);
  const lease = session && liveLease(work, session.id, row.id, turn.fence);
  const isLive = lease !== undefined;
  const isFirst = work.db.run(
    'INSERT INTO reports_seen (key_id, report_id, seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    reporterOf(demand),
    turn.reportId,
    work.now,
  );
  if (isFirst === 0) return answer('duplicate', isLive);
  if (countsUsage(row, turn, isLive)) countUsage(work, row, turn);
  if (!isLive) return answer('stale', false);

  const { signal } = turn;
  const isOldToken = signal.outcome === 'unauthorized' && signal.tokenVersion !== row.token_version;
  if (isOldToken) return answer('stale', true);
  const around = {
    tokenVersion: row.token_version,
    token: tokenFrom(row),
    isLastUsable: isLastActive(work, row),
    concurrentTurns: Math.max(1, row.shared_slots),
  };
  const effect = applyOutcome(standingFrom(row), signal, around, work.now);
  if (signal.outcome === 'success' && !signal.isClaim && row.probe === 'unproved') {
    work.db.run(
      "UPDATE accounts SET probe = 'proved', next_check_at = ?, checks = 0 WHERE id = ?",
      nextCheckOf(row.id, effect.standing, 'proved', 0, work.now),
      row.id,
    );
  }
  saveStanding(work, effect.isBearerRejected ? withoutBearer(work, row) : row, effect.standing);
  return answer('applied', true, effect);
}

/** A rejected bearer is as good as lapsed, whatever else the account goes through; a refresh is due. */
function withoutBearer(work: Work, row: AccountRow): AccountRow {
  work.db.run(
    `UPDATE accounts SET bearer_expires_at = min(bearer_expires_at, ?1), next_refresh_at = min(next_refresh_at, ?1)
     WHERE id = ?2`,
    work.now,
    row.id,
  );
  return accountRow(work, row.id) ?? row;
}

function countUsage(work: Work, row: AccountRow, turn: ReportedTurn): void {
  const { usage } = turn;
  work.db.run(
    `UPDATE accounts SET turns = min(turns + ?1, ${mostCounted}),
      input_tokens = min(input_tokens + ?2, ${mostCounted}),
      output_tokens = min(output_tokens + ?3, ${mostCounted}), credits = credits + ?4, cost_cents = cost_cents + ?5,
      last_used = max(last_used, ?6),
      next_check_at = iif(?6 > 0, min(next_check_at, ?6 + ${inUseCheckMs}), next_check_at) WHERE id = ?7`,
    usage.turns,
    usage.inputTokens,
    usage.outputTokens,
    usage.credits,
    usage.costCents,
    turn.signal.outcome === 'success' ? work.now : 0,
    row.id,
  );
  work.db.run(
    `INSERT INTO spending (minute, turns, input_tokens, output_tokens, credits, cost_cents)
       VALUES (?, min(?, ${mostInMinute}), min(?, ${mostInMinute}), min(?, ${mostInMinute}), ?, ?)
     ON CONFLICT (minute) DO UPDATE SET turns = min(turns + excluded.turns, ${mostInMinute}),
       input_tokens = min(input_tokens + excluded.input_tokens, ${mostInMinute}),
       output_tokens = min(output_tokens + excluded.output_tokens, ${mostInMinute}), credits = credits + excluded.credits,
       cost_cents = cost_cents + excluded.cost_cents`,
    Math.floor(work.now / 60_000),
    usage.turns,
    usage.inputTokens,
    usage.outputTokens,
    usage.credits,
    usage.costCents,
  );
}

/** Applies what the provider answered about an account's quota. Null when the account is gone. */
export function recordQuota(
  work: Work,
  id: string,
  finding: QuotaFinding,
  cause: QuotaCause,
): { readonly account: StoredAccount; readonly changes: Changes } | null {
  reap(work);
  const row = accountRow(work, id);
  if (row === undefined) return null;
  const quota = finding.type === 'answer' ? quotaFrom(finding.answer, work.now) : null;
  if (quota !== null) {
    work.db.run(
      "UPDATE accounts SET quota = ?, quota_remaining = ?, probe = 'proved' WHERE id = ?",
      JSON.stringify(quota),
      remainingOf(quota),
      id,
    );
  }
  const next = applyQuota(standingFrom(row), finding, cause, work.now);
  saveStanding(work, row, next);
  const after = accountRow(work, id) ?? row;
  const checks = checksAfter(after.checks, row.quota, quota);
  setNextCheck(work, id, nextCheckOf(id, standingFrom(after), after.probe, checks, work.now), checks);
  return { account: accountFrom(accountRow(work, id) ?? after), changes: work.changes() };
}

/** Hands out each due account once: its next check is moved on before anybody asks. */
export function claimQuotaChecks(work: Work, limit: number): StoredAccount[] {
  reap(work);
  const claimMs = 5 * 60_000;
  const due = work.db.all<AccountRow>(
    'SELECT * FROM accounts WHERE next_check_at IS NOT NULL AND next_check_at <= ? ORDER BY next_check_at LIMIT ?',
    work.now,
    limit,
  );
  for (const row of due) setNextCheck(work, row.id, work.now + claimMs, row.checks + 1);
  return due.map(accountFrom);
}
