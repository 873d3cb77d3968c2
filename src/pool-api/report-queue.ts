import type { ReportItem } from './schema.ts';
import type { Timing } from './timing.ts';

interface QueuedReport {
  readonly sessionId: string;
  readonly item: ReportItem;
}

export interface ReportQueueOptions {
  readonly timing: Timing;
  /** Sends reports of one session; false when the pool is away: they are kept then. Never throws. */
  send(sessionId: string, items: readonly ReportItem[]): Promise<boolean>;
  onDropped(count: number): void;
}

/** Reports on their way to the pool: a bounded number, sent in batches, and again with the same ids. */
export interface ReportQueue {
  add(sessionId: string, item: ReportItem): void;
  /** Waiting or under way. */
  readonly pending: number;
  /** Sends what is there, once. */
  flush(): Promise<void>;
  /** Sends what is left, once, and stops the clock. */
  close(): Promise<void>;
}

const flushAfterMs = 1_000;
const flushAtCount = 200;
const maxKept = 1_000;

/** With the pool away it keeps at most 1,000 reports, dropping successes first. */
export function createReportQueue({ timing, send, onDropped }: ReportQueueOptions): ReportQueue {
  let queue: QueuedReport[] = [];
  /** Taken from the queue and not answered yet; they count against the bound. */
  let underWay = 0;
  let dropped = 0;
  /** The last attempt found the pool away: only the timer tries again. */
  let isHeldUp = false;
  let cancelFlush: (() => void) | undefined;
  let flushing: Promise<void> | undefined;

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
    cancelFlush ??= timing.after(flushAfterMs, () => void flush());
  }

  async function flushOnce(): Promise<void> {
    const bySession = groupBySession(queue);
    underWay = queue.length;
    queue = [];
    while (bySession.length > 0) {
      const [sessionId, reports] = bySession[0] ?? ['', []];
      const items = reports.map((queued) => queued.item);
      if (!(await send(sessionId, items))) break;
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
      onDropped(dropped);
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

  return {
    get pending() {
      return queue.length + underWay;
    },
    add(sessionId, item) {
      keep([{ sessionId, item }]);
      if (queue.length >= flushAtCount && !isHeldUp) void flush();
    },
    flush,
    async close() {
      await flushing;
      await flush();
      cancelFlush?.();
    },
  };
}

function groupBySession(queue: readonly QueuedReport[]): [string, QueuedReport[]][] {
  const groups = new Map<string, QueuedReport[]>();
  for (const queued of queue) {
    const group = groups.get(queued.sessionId);
    if (group) group.push(queued);
    else groups.set(queued.sessionId, [queued]);
  }
  return [...groups];
}
