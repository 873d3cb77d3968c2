import { randomUUID } from 'node:crypto';
import type { Outcome } from '../core/outcome.ts';
import type { Usage } from '../core/turn.ts';
import { amount } from '../lib/amount.ts';
import { BackgroundTasks } from '../lib/background-tasks.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { within } from '../lib/within.ts';
import { isAway } from '../pool-api/errors.ts';
import type { Pool } from '../pool-api/pool.ts';
import { createReportQueue } from '../pool-api/report-queue.ts';
import { mostUsage, type ReportAnswer, type ReportItem } from '../pool-api/schema.ts';
import type { TurnLease } from './held-lease.ts';

export type ReportResult = ReportAnswer['results'][number];

export interface TurnReport {
  readonly outcome: Outcome;
  readonly usage?: Usage | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly resetAt?: Date | undefined;
}

export interface Reporter {
  /** Plain successes wait for company; the answer to anything else is worth waiting for. Never throws. */
  report(lease: TurnLease, report: TurnReport): Promise<ReportResult | undefined>;
  readonly pending: number;
  /** Sends what is left, once. */
  close(): Promise<void>;
}

const answerTimeoutMs = 5_000;
const longestRetryMs = 31 * 86_400_000;

/** Tells the pool what turns did to accounts. With the pool away it keeps a bounded number, dropping successes first. */
export function createReporter(pool: Pool, clock: Clock, logger: Logger): Reporter {
  const incidents = new BackgroundTasks();
  const queue = createReportQueue({
    timing: clock,
    send: async (sessionId, items) => (await send(sessionId, items)) !== undefined,
    onDropped: (dropped) => {
      logger.warn({ dropped }, 'too many reports waited for the pool: some were dropped');
    },
  });

  /** Sends reports of one session. Undefined when the pool is away; they are kept then. */
  async function send(
    sessionId: string,
    items: readonly ReportItem[],
  ): Promise<readonly ReportResult[] | undefined> {
    try {
      return (await pool.report({ session_id: sessionId, reports: [...items] })).results;
    } catch (error) {
      if (isAway(error)) return undefined;
      logger.error({ err: error, session_id: sessionId, count: items.length }, 'the pool refused reports');
      return [];
    }
  }

  async function sendAtOnce(sessionId: string, item: ReportItem): Promise<ReportResult | undefined> {
    const results = await send(sessionId, [item]);
    if (!results) queue.add(sessionId, item);
    return results?.[0];
  }

  return {
    get pending() {
      return queue.pending;
    },

    async report(lease, report) {
      const item = reportItem(lease, report, clock.now());
      if (report.outcome === 'success' || report.outcome === 'cancelled') {
        queue.add(lease.sessionId, item);
        return undefined;
      }
      const sending = incidents.add(sendAtOnce(lease.sessionId, item));
      return await within(sending, clock, answerTimeoutMs);
    },

    async close() {
      await incidents.ended();
      await queue.close();
    },
  };
}

/** Figures come from upstreams: what the pool would refuse is brought into its bounds. */
function reportItem(lease: TurnLease, report: TurnReport, now: number): ReportItem {
  const { retryAfterMs, resetAt, usage } = report;
  return {
    report_id: randomUUID(),
    account_id: lease.account.id,
    fence: lease.account.fence,
    token_version: lease.account.token_version,
    outcome: report.outcome,
    at: new Date(now).toISOString(),
    ...(retryAfterMs === undefined
      ? {}
      : { retry_after_ms: Math.round(amount(retryAfterMs, longestRetryMs)) }),
    ...(resetAt === undefined || Number.isNaN(resetAt.getTime()) ? {} : { reset_at: resetAt.toISOString() }),
    ...(usage === undefined
      ? {}
      : {
          usage: {
            input_tokens: Math.round(amount(usage.inputTokens, mostUsage)),
            output_tokens: Math.round(amount(usage.outputTokens, mostUsage)),
            ...(usage.credits === undefined ? {} : { credits: amount(usage.credits, mostUsage) }),
            ...(usage.costCents === undefined ? {} : { cost_cents: amount(usage.costCents, mostUsage) }),
          },
        }),
  };
}
