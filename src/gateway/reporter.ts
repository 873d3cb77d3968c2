import type { Outcome } from '../core/outcome.ts';
import type { Usage } from '../core/turn.ts';
import { amount } from '../lib/amount.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import { within } from '../lib/within.ts';
import { isAway } from '../pool-api/errors.ts';
import type { Pool } from '../pool-api/pool.ts';
import { nextReportId, ReportQueue, type ReportResult } from '../pool-api/report-queue.ts';
import { mostUsage, type ReportItem } from '../pool-api/schema.ts';
import type { LeaseCache, TurnLease } from './lease-cache.ts';

export type { ReportResult } from '../pool-api/report-queue.ts';

type ReportedLease = Pick<TurnLease, 'account' | 'sessionId'>;

export interface TurnReport {
  readonly outcome: Outcome;
  readonly usage?: Usage | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly resetAt?: Date | undefined;
}

const answerTimeoutMs = 5_000;
const longestRetryMs = 31 * 86_400_000;

/** Tells the pool what turns did to accounts. */
export class Reporter {
  readonly #clock: Clock;
  readonly #queue: ReportQueue;

  constructor(
    pool: Pick<Pool, 'report'>,
    leases: Pick<LeaseCache, 'noteReport'>,
    clock: Clock,
    logger: Logger,
  ) {
    this.#clock = clock;
    this.#queue = new ReportQueue({
      timing: clock,
      async send(sessionId, items) {
        try {
          const { results } = await pool.report({ session_id: sessionId, reports: [...items] });
          leases.noteReport(sessionId, results);
          return results;
        } catch (error) {
          if (isAway(error)) return undefined;
          logger.error(
            { err: error, session_id: sessionId, count: items.length },
            'the pool refused reports',
          );
          return [];
        }
      },
      onDropped: (dropped) => {
        logger.warn({ dropped }, 'too many reports waited for the pool: some were dropped');
      },
    });
  }

  get pending(): number {
    return this.#queue.pending;
  }

  /** Plain successes wait for others; the answer to anything else is worth waiting for. Never throws. */
  report(lease: ReportedLease, report: TurnReport): Promise<ReportResult | undefined> | undefined {
    const item = reportItem(lease, report, this.#clock.now());
    if (report.outcome === 'success' || report.outcome === 'cancelled') {
      this.#queue.add(lease.sessionId, item);
      return undefined;
    }
    return within(this.#queue.send(lease.sessionId, item), this.#clock, answerTimeoutMs);
  }

  /** Sends what is left, once. */
  close(): Promise<void> {
    return this.#queue.close();
  }
}

/** Figures come from upstreams: what the pool would refuse is brought into its bounds. */
function reportItem(lease: ReportedLease, report: TurnReport, now: number): ReportItem {
  const { retryAfterMs, resetAt, usage } = report;
  return {
    report_id: nextReportId(),
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
