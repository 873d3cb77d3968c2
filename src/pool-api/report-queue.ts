import { randomBytes, randomUUID } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { PoolError } from './errors.ts';
import {
  type LeasedAccount,
  mostReportedTurns,
  mostUsage,
  type ReportAnswer,
  type ReportItem,
  reportItem,
} from './schema.ts';

export type ReportResult = ReportAnswer['results'][number];

export interface ReportQueueOptions {
  readonly timing: Clock;
  /**
   * Sends reports of one session, which stand for `count` of those that were queued; undefined when the pool is unreachable:
   * they are kept then. Never throws.
   */
  send(
    sessionId: string,
    items: readonly ReportItem[],
    count: number,
  ): Promise<readonly ReportResult[] | undefined>;
  onDropped(count: number): void;
}

interface Queued {
  item: ReportItem;
  /** So many reports are added up in it. */
  count: number;
  result: ReportResult | undefined;
}

/** The reports of one session, oldest first. */
interface Lane {
  readonly sessionId: string;
  readonly items: Queued[];
  /** Those that further reports of the same kind may be added to: never sent, and no incident since. */
  readonly open: Map<string, Queued>;
  /** So many of the first are being sent. */
  underWay: number;
  sending: Promise<boolean> | undefined;
}

const flushAfterMs = 1_000;
const flushAtCount = 200;
const maxKept = 1_000;

const idPrefix = `seq-${randomBytes(9).toString('base64url')}`;
let lastNumber = 0;

/**
 * The id of a report that goes through a queue. The numbers of one prefix rise, and the queue sends those of a session in
 * their order, one call after another: of a lease, the pool need remember the highest number only.
 */
export function nextReportId(): string {
  lastNumber += 1;
  return `${idPrefix}.${lastNumber}`;
}

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

/**
 * Reports on their way to the pool: sent in batches, and again with the same ids. Those that change no account are added up
 * by lease, so that the pool has no work for each turn. While the pool is unreachable it keeps at most 1,000 of these
 * sums and incidents, dropping successes first.
 */
export class ReportQueue {
  readonly #options: ReportQueueOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Reports that were queued and are not delivered. */
  #pending = 0;
  /** What these are added up to. */
  #kept = 0;
  #dropped = 0;
  /** The last flush found the pool unreachable: only the timer tries again. */
  #isHeldUp = false;
  #cancelFlush: (() => void) | undefined;
  #flushing: Promise<void> | undefined;

  constructor(options: ReportQueueOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#pending;
  }

  /** Sends what may change the account now, and answers what came of it; the rest goes with others, within a second. */
  queue(sessionId: string, item: ReportItem): Promise<ReportResult | undefined> | undefined {
    if (item.outcome !== 'success' && item.outcome !== 'cancelled') return this.send(sessionId, item);
    const open = this.#lanes.get(sessionId)?.open.get(kindOf(item));
    const merged = open && sumOf(open.item, item);
    if (merged) {
      open.item = merged;
      open.count += 1;
      this.#pending += 1;
      return undefined;
    }
    const queued: Queued = { item, count: 1, result: undefined };
    this.#push(sessionId, queued, kindOf(item));
    if (this.#kept >= flushAtCount && !this.#isHeldUp && !this.#flushing) void this.flush();
    return undefined;
  }

  /** Sends it now, after those of its session that wait. Undefined when the pool is unreachable: then it is kept. */
  async send(sessionId: string, item: ReportItem): Promise<ReportResult | undefined> {
    const queued: Queued = { item, count: 1, result: undefined };
    const lane = this.#push(sessionId, queued);
    // A success before an incident is another thing than one after it.
    lane.open.clear();
    await this.#drain(lane);
    return queued.result;
  }

  /** Sends what is there, once. */
  async flush(): Promise<void> {
    // One that is running may have passed what came since.
    await this.#flushing;
    // One that has nothing to send is over before it is known here.
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** Sends what is left, once, and stops the clock. */
  async close(): Promise<void> {
    await this.flush();
    this.#cancelFlush?.();
  }

  /** `kind`: further reports of it may be added, unless this very one is dropped. */
  #push(sessionId: string, queued: Queued, kind?: string): Lane {
    let lane = this.#lanes.get(sessionId);
    if (lane === undefined) {
      lane = { sessionId, items: [], open: new Map(), underWay: 0, sending: undefined };
      this.#lanes.set(sessionId, lane);
    }
    lane.items.push(queued);
    if (kind !== undefined) lane.open.set(kind, queued);
    this.#pending += 1;
    this.#kept += 1;
    if (this.#kept > maxKept) this.#drop();
    this.#cancelFlush ??= this.#options.timing.after(flushAfterMs, () => void this.flush());
    return lane;
  }

  /** The oldest success that is not being sent, else the oldest report. */
  #drop(): void {
    for (const mayGo of [({ item }: Queued) => item.outcome === 'success', () => true]) {
      for (const { sessionId, items, open, underWay } of this.#lanes.values()) {
        const at = items.findIndex((queued, index) => index >= underWay && mayGo(queued));
        if (at === -1) continue;
        const [{ count } = { count: 0 }] = items.splice(at, 1);
        open.clear();
        if (items.length === 0) this.#lanes.delete(sessionId);
        this.#kept -= 1;
        this.#pending -= count;
        this.#dropped += count;
        return;
      }
    }
  }

  async #flush(): Promise<void> {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    this.#isHeldUp = false;
    for (const lane of [...this.#lanes.values()]) {
      this.#isHeldUp = !(await this.#drain(lane));
      if (this.#isHeldUp) break;
    }
    if (this.#pending > 0)
      this.#cancelFlush ??= this.#options.timing.after(flushAfterMs, () => void this.flush());
    if (this.#dropped > 0) this.#options.onDropped(this.#dropped);
    this.#dropped = 0;
  }

  /** Sends what waits now; what is added meanwhile waits for others. False when the pool is unreachable. */
  async #drain(lane: Lane): Promise<boolean> {
    if (lane.sending && !(await lane.sending)) return false;
    if (lane.items.length > 0) lane.sending ??= this.#sendOnce(lane);
    return (await lane.sending) ?? true;
  }

  async #sendOnce(lane: Lane): Promise<boolean> {
    const sent = [...lane.items];
    lane.underWay = sent.length;
    lane.open.clear();
    const count = sent.reduce((sum, queued) => sum + queued.count, 0);
    const results = await this.#options.send(
      lane.sessionId,
      sent.map(({ item }) => item),
      count,
    );
    lane.underWay = 0;
    lane.sending = undefined;
    if (results === undefined) return false;
    lane.items.splice(0, sent.length);
    if (lane.items.length === 0) this.#lanes.delete(lane.sessionId);
    this.#kept -= sent.length;
    this.#pending -= count;
    sent.forEach((queued, index) => {
      queued.result = results[index];
    });
    return true;
  }
}

/** Reports of one kind say the same about an account, but for what was used. */
function kindOf({ account_id, fence, token_version, outcome }: ReportItem): string {
  return `${outcome} ${fence} ${token_version} ${account_id}`;
}

const amounts = ['input_tokens', 'output_tokens', 'credits', 'cost_cents'] as const;

/** One report for both, under the first one's id; undefined where it would exceed what the pool takes. */
function sumOf(first: ReportItem, second: ReportItem): ReportItem | undefined {
  const turns = (first.usage?.turns ?? 1) + (second.usage?.turns ?? 1);
  if (turns > mostReportedTurns) return undefined;
  const usage: NonNullable<ReportItem['usage']> = { ...first.usage, turns };
  for (const name of amounts) {
    const more = second.usage?.[name];
    if (more === undefined) continue;
    const sum = (usage[name] ?? 0) + more;
    if (sum > mostUsage) return undefined;
    usage[name] = sum;
  }
  return { ...first, at: second.at, usage };
}
