import { randomUUID } from 'node:crypto';
import type { Outcome } from '../core/outcome.ts';
import type { Usage } from '../core/turn.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Pool } from '../pool-api/pool.ts';
import type { ReportAnswer, ReportItem } from '../pool-api/schema.ts';
import type { TurnLease } from './held-lease.ts';
import { isAway } from './held-leases.ts';

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

interface QueuedReport {
  readonly sessionId: string;
  readonly item: ReportItem;
}

const flushAfterMs = 1_000;
const flushAtCount = 200;
const maxKept = 1_000;
const answerTimeoutMs = 5_000;
const longestRetryMs = 31 * 86_400_000;

/** Tells the pool what turns did to accounts. With the pool away it keeps a bounded number, dropping successes first. */
export function createReporter(pool: Pool, clock: Clock, logger: Logger): Reporter {
  let queue: QueuedReport[] = [];
  /** Taken from the queue and not answered yet; they count against the bound. */
  let underWay = 0;
  let dropped = 0;
  /** The last attempt found the pool away: only the timer tries again. */
  let isHeldUp = false;
  let cancelFlush: (() => void) | undefined;
  let flushing: Promise<void> | undefined;
  const incidents = new Set<Promise<unknown>>();

  function keep(reports: readonly QueuedReport[]): void {
    queue.push(...reports);
    let excess = queue.length + underWay - maxKept;
    if (excess > 0) {
      dropped += Math.min(excess, queue.length);
      queue = queue.filter((queued) => {
        if (excess === 0 || queued.item.outcome !== 'success') return true;
        excess -= 1;
        return false;
      });
      queue.splice(0, excess);
    }
    cancelFlush ??= clock.after(flushAfterMs, () => void flush());
  }

  /** Sends reports of one session. False when the pool is away; they are kept then. */
  async function send(
    sessionId: string,
    reports: readonly QueuedReport[],
  ): Promise<readonly ReportResult[] | undefined> {
    try {
      const answer = await pool.report({
        session_id: sessionId,
        reports: reports.map((queued) => queued.item),
      });
      return answer.results;
    } catch (error) {
      if (isAway(error)) return undefined;
      logger.error({ err: error, session_id: sessionId, count: reports.length }, 'the pool refused reports');
      return [];
    }
  }

  async function flushOnce(): Promise<void> {
    const bySession = [...Map.groupBy(queue, (queued) => queued.sessionId)];
    underWay = queue.length;
    queue = [];
    while (bySession.length > 0) {
      const [sessionId, reports] = bySession[0] ?? ['', []];
      if ((await send(sessionId, reports)) === undefined) break;
      underWay -= reports.length;
      bySession.shift();
    }
    underWay = 0;
    const unsent = bySession.flatMap(([, reports]) => reports);
    isHeldUp = unsent.length > 0;
    const newer = queue;
    queue = [];
    if (unsent.length + newer.length > 0) keep([...unsent, ...newer]);
    if (dropped > 0) {
      logger.warn({ dropped }, 'too many reports waited for the pool: some were dropped');
      dropped = 0;
    }
  }

  function flush(): Promise<void> {
    cancelFlush?.();
    cancelFlush = undefined;
    flushing ??= flushOnce().finally(() => {
      flushing = undefined;
    });
    return flushing;
  }

  async function sendAtOnce(queued: QueuedReport): Promise<ReportResult | undefined> {
    const results = await send(queued.sessionId, [queued]);
    if (!results) keep([queued]);
    return results?.[0];
  }

  return {
    get pending() {
      return queue.length + underWay;
    },

    async report(lease, report) {
      const queued = { sessionId: lease.sessionId, item: reportItem(lease, report, clock.now()) };
      if (report.outcome === 'success' || report.outcome === 'cancelled') {
        keep([queued]);
        if (queue.length >= flushAtCount && !isHeldUp) void flush();
        return undefined;
      }
      const sending = sendAtOnce(queued);
      incidents.add(sending);
      void sending.finally(() => incidents.delete(sending));
      return await withTimeout(sending, clock, answerTimeoutMs);
    },

    async close() {
      await Promise.all(incidents);
      await flushing;
      await flush();
      cancelFlush?.();
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
      : { retry_after_ms: Math.min(Math.round(amount(retryAfterMs)), longestRetryMs) }),
    ...(resetAt === undefined || Number.isNaN(resetAt.getTime()) ? {} : { reset_at: resetAt.toISOString() }),
    ...(usage === undefined
      ? {}
      : {
          usage: {
            input_tokens: Math.round(amount(usage.inputTokens)),
            output_tokens: Math.round(amount(usage.outputTokens)),
            ...(usage.credits === undefined ? {} : { credits: amount(usage.credits) }),
          },
        }),
  };
}

function amount(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

async function withTimeout<Value>(
  promise: Promise<Value>,
  clock: Clock,
  timeoutMs: number,
): Promise<Value | undefined> {
  let cancel = () => {};
  const timeout = new Promise<undefined>((resolve) => {
    cancel = clock.after(timeoutMs, () => resolve(undefined));
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    cancel();
  }
}
