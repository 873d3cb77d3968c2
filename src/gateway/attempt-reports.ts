import type { AppError } from '../core/errors.ts';
import type { Outcome } from '../core/outcome.ts';
import type { Usage } from '../core/turn.ts';
import type { LeaseCache, TurnLease } from './lease-cache.ts';
import type { Reporter, ReportResult } from './reporter.ts';

/**
 * Reports one turn's attempts to the pool. The vendor's own answer about an account is reported immediately. That an upstream
 * failed or fell silent is reported only once another account has answered the same request: where all of them fail, the
 * upstream is at fault.
 */
export class AttemptReports {
  readonly #reporter: Reporter;
  readonly #leases: Pick<LeaseCache, 'retireFree'>;
  readonly #suspects: { readonly lease: TurnLease; readonly outcome: Outcome }[] = [];

  constructor(reporter: Reporter, leases: Pick<LeaseCache, 'retireFree'>) {
    this.#reporter = reporter;
    this.#leases = leases;
  }

  succeeded(lease: TurnLease, usage: Usage | undefined): void {
    void this.#reporter.report(lease, { outcome: 'success', usage });
    for (const { lease: suspect, outcome } of this.#suspects) {
      if (suspect.account.id !== lease.account.id) void this.#report(suspect, { outcome });
    }
  }

  /** Resolves to the pool's answer, if there was a report. */
  async failed(
    lease: TurnLease,
    error: AppError,
    usage: Usage | undefined,
  ): Promise<ReportResult | undefined> {
    const { outcome, fault, retryAfterMs, resetAt } = error;
    if (outcome !== undefined && fault !== 'upstream') {
      return this.#report(lease, { outcome, usage, retryAfterMs, resetAt });
    }
    if (outcome !== undefined) this.#suspects.push({ lease, outcome });
    // It says nothing about the account, and counts what was used.
    if (usage !== undefined) void this.#reporter.report(lease, { outcome: 'cancelled', usage });
    return undefined;
  }

  async #report(
    lease: TurnLease,
    report: Parameters<Reporter['report']>[1],
  ): Promise<ReportResult | undefined> {
    const { outcome } = report;
    if (outcome === 'quota_exhausted' || outcome === 'refused' || outcome === 'rate_limited') lease.retire();
    const result = await this.#reporter.report(lease, report);
    if (outcome === 'quota_exhausted' && lease.account.free) {
      // Until the pool says that some is left, the account counts as spent.
      if (!result || result.status === 'exhausted') this.#leases.retireFree(lease.account.provider);
    }
    return result;
  }
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
