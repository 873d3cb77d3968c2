import { randomUUID } from 'node:crypto';
import { PoolError } from './errors.ts';
import { nextReportId } from './report-queue.ts';
import { type LeasedAccount, type ReportItem, reportItem } from './schema.ts';

/** What a turn did to an account. The id and the time are filled in when absent. */
export type Report = Omit<ReportItem, 'report_id' | 'at'> & Partial<Pick<ReportItem, 'report_id' | 'at'>>;

/** What a report says beyond the outcome. */
export type ReportDetails = Pick<ReportItem, 'usage' | 'retry_after_ms' | 'reset_at'>;

export function complete(report: Report, now: number): ReportItem {
  return {
    ...report,
    report_id: report.report_id ?? randomUUID(),
    at: report.at ?? new Date(now).toISOString(),
  };
}

/** One turn's report on a leased account. Throws PoolError `invalid_request` for figures the pool would refuse. */
export function reportOn(
  account: LeasedAccount,
  outcome: ReportItem['outcome'],
  details: ReportDetails,
  now: number,
): ReportItem {
  const { id, fence, token_version: version } = account;
  const report = {
    ...details,
    report_id: nextReportId(),
    account_id: id,
    fence,
    token_version: version,
    outcome,
  };
  const read = reportItem.safeParse(complete(report, now));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const param = issue?.path.join('.') ?? 'report';
  throw new PoolError('invalid_request', `The report cannot be sent: ${param}: ${issue?.message}.`, {
    param,
  });
}
