import type { AppError } from '../../core/errors.ts';
import type { Outcome } from '../../core/outcome.ts';
import type { Usage } from '../../core/turn.ts';
import { type Clock, within } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { amount } from '../../lib/parse-json.ts';
import { isAway } from '../../pool-api/errors.ts';
import type { HeldLeases } from '../../pool-api/held-leases.ts';
import type { Pool } from '../../pool-api/pool.ts';
import { nextReportId, ReportQueue, type ReportResult } from '../../pool-api/report-queue.ts';
import { mostUsage, type ReportItem } from '../../pool-api/schema.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';

type ReportedLease = Pick<TurnLease, 'account' | 'sessionId'>;

/**
 * An account whose upstream failed or fell silent. That is reported only once another account has answered the same request: where
 * all of them fail, the upstream is at fault.
 */
export interface Suspect {
  readonly lease: TurnLease;
  readonly outcome: Outcome;
}

interface TurnReport {
  readonly outcome: Outcome;
  readonly usage?: Usage | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly resetAt?: Date | undefined;
}

const answerTimeoutMs = 5_000;
const longestRetryMs = 31 * 86_400_000;

/** Tells the pool what turns did to accounts. */
export class Reporter {
  readonly #leases: Pick<HeldLeases, 'noteReport' | 'retireFree'>;
  readonly #clock: Clock;
  readonly #queue: ReportQueue;

  constructor(
    pool: Pick<Pool, 'report'>,
    leases: Pick<HeldLeases, 'noteReport' | 'retireFree'>,
    clock: Clock,
    logger: Logger,
  ) {
    this.#leases = leases;
    this.#clock = clock;
    this.#queue = new ReportQueue({
      timing: clock,
      async send(sessionId, items, count) {
        try {
          const { results } = await pool.report({ session_id: sessionId, reports: [...items] });
          leases.noteReport(sessionId, results);
          return results;
        } catch (error) {
          if (isAway(error)) return undefined;
          logger.error({ err: error, session_id: sessionId, count }, 'the pool refused reports');
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

  /** An attempt went well, and so the suspects of its turn are reported. */
  succeeded(lease: TurnLease, usage: Usage | undefined, suspects: readonly Suspect[]): void {
    lease.succeeded();
    void this.report(lease, { outcome: 'success', usage });
    for (const { lease: suspect, outcome } of suspects)
      if (suspect.account.id !== lease.account.id) void this.#failed(suspect, { outcome });
  }

  /** The vendor's own answer about an account is reported immediately. Resolves to the pool's answer, if there was a report. */
  async failed(
    lease: TurnLease,
    { outcome, fault, retryAfterMs, resetAt }: AppError,
    usage: Usage | undefined,
    suspects: Suspect[],
  ): Promise<ReportResult | undefined> {
    if (outcome !== undefined && fault !== 'upstream')
      return this.#failed(lease, { outcome, usage, retryAfterMs, resetAt });
    if (outcome !== undefined) suspects.push({ lease, outcome });
    // It says nothing about the account, and counts what was used.
    if (usage !== undefined) void this.report(lease, { outcome: 'cancelled', usage });
    return undefined;
  }

  async #failed(lease: TurnLease, report: TurnReport): Promise<ReportResult | undefined> {
    const { outcome } = report;
    if (outcome === 'quota_exhausted' || outcome === 'refused' || outcome === 'rate_limited') lease.retire();
    const result = await this.report(lease, report);
    // Until the pool says that some is left, the account counts as spent.
    const isSpent = outcome === 'quota_exhausted' && (!result || result.status === 'exhausted');
    if (isSpent && lease.account.free) this.#leases.retireFree(lease.account.provider);
    return result;
  }

  /** Plain successes wait for others; the answer to anything else is worth waiting for. Never throws. */
  report(lease: ReportedLease, report: TurnReport): Promise<ReportResult | undefined> | undefined {
    const sent = this.#queue.queue(lease.sessionId, reportItem(lease, report, this.#clock.now()));
    return sent && within(sent, this.#clock, answerTimeoutMs);
  }

  /** Sends what is left, once. */
  close(): Promise<void> {
    return this.#queue.close();
  }
}

/** Figures come from upstreams: what the pool would refuse is brought into its bounds. */
function reportItem(lease: ReportedLease, report: TurnReport, now: number): ReportItem {
  const { retryAfterMs, resetAt, usage } = report;
  const { id, fence, token_version } = lease.account;
  const item: ReportItem = {
    report_id: nextReportId(),
    account_id: id,
    fence,
    token_version,
    outcome: report.outcome,
    at: new Date(now).toISOString(),
  };
  if (retryAfterMs !== undefined) item.retry_after_ms = Math.round(amount(retryAfterMs, longestRetryMs));
  if (resetAt !== undefined && !Number.isNaN(resetAt.getTime())) item.reset_at = resetAt.toISOString();
  if (usage !== undefined) item.usage = usageItem(usage);
  return item;
}

function usageItem({ inputTokens, outputTokens, credits, costCents }: Usage): ReportItem['usage'] {
  const used: NonNullable<ReportItem['usage']> = {
    input_tokens: Math.round(amount(inputTokens, mostUsage)),
    output_tokens: Math.round(amount(outputTokens, mostUsage)),
  };
  if (credits !== undefined) used.credits = amount(credits, mostUsage);
  if (costCents !== undefined) used.cost_cents = amount(costCents, mostUsage);
  return used;
}

/** For the log. An upstream's fault is reported only once another account has answered. */
export function reported({ outcome, fault }: AppError, report: ReportResult | undefined) {
  const isHeldBack = outcome !== undefined && fault === 'upstream';
  return {
    outcome: outcome ?? 'none',
    report: isHeldBack ? 'held back' : report?.result,
    account_status: report?.status,
  };
}
