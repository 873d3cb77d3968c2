import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { callSeconds, metricsText } from '../../lib/api/metrics.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { ReportAnswer, ReportItem } from '../../pool-api/schema.ts';
import type { QuotaCause, QuotaFinding } from '../standing/account-state.ts';
import type { Stats } from '../store/store.ts';

export interface PoolFigures {
  /** Null while the store does not answer. */
  readonly stats: Stats | null;
  /** Sessions of the store that lends. */
  readonly sessions: number;
  readonly waiting: number;
  readonly eventReaders: number;
  readonly isDiskLow: boolean;
}

export type PoolMetrics = ReturnType<typeof createPoolMetrics>;

const prefix = 'warp2api_pool_';

/** The pool's figures. Labels are words of our own and providers' names: no account, session or key is ever one. */
export function createPoolMetrics(minPoolSize = 0) {
  const registry = new Registry();
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Counter({ name: `${prefix}${name}`, help, labelNames, registers });
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Gauge({ name: `${prefix}${name}`, help, labelNames, registers });

  const allocations = new Histogram({
    name: `${prefix}allocation_seconds`,
    help: 'Allocations by result: granted, or the code of the error. Includes the time they waited.',
    labelNames: ['result'] as const,
    buckets: callSeconds,
    registers,
  });
  const waits = counter('allocations_willing_to_wait_total', 'Allocations whose caller would wait.', []);
  const refusals = counter(
    'refusals_total',
    'Allocations refused for want of an account, by each reason that stood in the way.',
    ['reason'],
  );
  const reports = counter('reports_total', 'Reported outcomes, and whether they were applied.', [
    'outcome',
    'result',
  ]);
  const tokens = counter('reported_tokens_total', 'Tokens that reports counted.', ['direction']);
  const quotaChecks = counter('quota_checks_total', 'Questions to providers about what is left.', [
    'cause',
    'result',
  ]);
  const refreshes = counter('refreshes_total', 'Token refreshes by result.', ['result']);
  // Prometheus sees no increase in a figure that begins with 1.
  for (const result of ['refreshed', 'failed']) refreshes.inc({ result }, 0);
  const replenished = counter(
    'replenished_accounts_total',
    'Accounts that replenishing brought or could not.',
    ['result'],
  );
  const verbs = new Histogram({
    name: `${prefix}store_verb_seconds`,
    help: 'Time of one call to the store, with the way to its thread or server and back.',
    labelNames: ['verb', 'result'] as const,
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });

  const accounts = gauge('accounts', 'Accounts by provider and state.', ['provider', 'state']);
  const minimum = gauge('accounts_minimum', 'Usable accounts below which the pool counts as low.', []);
  minimum.set(minPoolSize);
  const available = gauge('accounts_available', 'Active accounts with a free place.', ['provider']);
  const inUse = gauge('accounts_in_use', 'Accounts with a live lease.', ['provider']);
  const remaining = gauge('quota_remaining', 'What usable accounts have left, of those with figures.', []);
  const sessions = gauge('sessions', 'Sessions that hold or held accounts.', []);
  const waiting = gauge('waiting', 'Callers that wait for an account.', []);
  const readers = gauge('event_readers', 'Readers of events.', []);
  const isUp = gauge('store_up', '1 when the store answers.', []);
  const diskLow = gauge('disk_low', '1 while a disk it writes to is nearly full.', []);

  const collect = ({ stats, ...now }: PoolFigures): void => {
    waiting.set(now.waiting);
    readers.set(now.eventReaders);
    diskLow.set(Number(now.isDiskLow));
    for (const one of [accounts, available, inUse]) one.reset();
    // What cannot be had is not shown; that it cannot be had is.
    isUp.set(stats === null ? 0 : 1);
    if (stats === null) return;
    for (const { provider, states, ...counts } of stats.byProvider) {
      for (const [state, count] of Object.entries(states)) accounts.set({ provider, state }, count);
      available.set({ provider }, counts.available);
      inUse.set({ provider }, counts.inUse);
    }
    remaining.set(stats.remaining);
    sessions.set(now.sessions);
  };

  return {
    async allocation<T>(request: unknown, task: () => Promise<T>): Promise<T> {
      const end = allocations.startTimer();
      if (wouldWait(request)) waits.inc();
      try {
        const answer = await task();
        end({ result: 'granted' });
        return answer;
      } catch (error) {
        const code = error instanceof PoolError ? error.code : 'aborted';
        end({ result: code });
        if (error instanceof PoolError && error.shortage !== undefined) {
          const reasons = Object.keys(error.shortage.reasons);
          const none = error.shortage.matching === 0 ? 'no_match' : 'too_few';
          for (const reason of reasons.length === 0 ? [none] : reasons) refusals.inc({ reason });
        }
        throw error;
      }
    },
    reported(items: readonly ReportItem[], results: ReportAnswer['results']): void {
      for (const [index, { outcome, usage }] of items.entries()) {
        const result = results[index]?.result ?? 'unknown';
        reports.inc({ outcome, result }, usage?.turns ?? 1);
        if (result === 'duplicate' || result === 'unknown') continue;
        tokens.inc({ direction: 'input' }, usage?.input_tokens ?? 0);
        tokens.inc({ direction: 'output' }, usage?.output_tokens ?? 0);
      }
    },
    quotaChecked(cause: QuotaCause | 'probe', finding: QuotaFinding): void {
      quotaChecks.inc({ cause, result: finding.type === 'answer' ? 'answer' : finding.code });
    },
    refreshed(result: string): void {
      refreshes.inc({ result });
    },
    replenished(added: number, failed: number): void {
      replenished.inc({ result: 'added' }, added);
      replenished.inc({ result: 'failed' }, failed);
    },
    /** A verb of the store begins; the answer notes how it ended. */
    verbBegun(verb: string): (result: 'done' | 'failed') => void {
      const end = verbs.startTimer({ verb });
      return (result) => void end({ result });
    },
    text(figures: PoolFigures): Promise<string> {
      collect(figures);
      return metricsText(registry);
    },
  };
}

function wouldWait(request: unknown): boolean {
  if (typeof request !== 'object' || request === null || !('wait_ms' in request)) return false;
  return typeof request.wait_ms === 'number' && request.wait_ms > 0;
}
