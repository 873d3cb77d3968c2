import { EventFeed } from '../../lib/api/event-streams.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Pool } from '../../pool-api/pool.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import type { Limits, PassedBudget } from '../limits/limits.ts';
import type { TurnRecord, TurnRecords } from '../records/turn-record.ts';

/** How the gateway does, every second. */
export interface Figures {
  readonly type: 'figures';
  readonly at: string;
  readonly running_turns: number;
  readonly waiting_turns: number;
  /** Of the last minute. */
  readonly turns_per_minute: number;
  readonly errors_per_minute: number;
  /** The median of the last minute; null where no turn had content. */
  readonly first_content_ms: number | null;
  readonly pool_reachable: boolean;
}

export interface TurnChange {
  readonly type: 'turn-began' | 'turn-ended';
  readonly request_id: string;
  readonly model: string;
  /** Of a turn that ended: `success` or the code of an error. */
  readonly outcome?: string;
}

/** A client key has used so much of a budget: once in its window. */
export interface KeyNearLimit extends PassedBudget {
  readonly type: 'key-near-limit';
  readonly percent: number;
}

/** What `GET /api/events` of the gateway sends: the pool's events, and its own. `reset`: events of the pool were missed. */
export type GatewayEvent = PoolEvent | Figures | TurnChange | KeyNearLimit | { readonly type: 'reset' };

export interface LiveSources {
  readonly pool: Pick<Pool, 'subscribe'>;
  readonly poolWatch: Pick<PoolWatch, 'isReachable'>;
  readonly records: Pick<TurnRecords, 'newest' | 'listen'>;
  readonly limits: Pick<Limits, 'listen'>;
  readonly clock: Clock;
  turns(): number;
  waiting(): number;
}

const everyMs = 1_000;
const minuteMs = 60_000;
/** Changes of turns that are sent in a second: at more the figures say enough. */
const mostChanges = 50;

/** What the admin page hears while it is open. Without readers nothing is made for them. */
export class LiveEvents {
  readonly feed = new EventFeed<GatewayEvent>();
  readonly #sources: LiveSources;
  readonly #stop = new AbortController();
  #changes = 0;
  #cancel = () => {};

  constructor(sources: LiveSources) {
    this.#sources = sources;
    let wasConnected = false;
    sources.pool.subscribe(
      (event) => this.feed.publish(event),
      (isConnected) => {
        if (isConnected && wasConnected) this.#missed();
        wasConnected ||= isConnected;
      },
      this.#stop.signal,
    );
    sources.limits.listen((passed, percent) =>
      this.feed.publish({ type: 'key-near-limit', percent, ...passed }),
    );
    sources.records.listen((record) => this.#noteTurn(record));
    this.#schedule();
  }

  close(): void {
    this.#cancel();
    this.#stop.abort();
  }

  #missed(): void {
    this.feed.reset();
    this.feed.publishBriefly({ type: 'reset' });
  }

  #noteTurn({ asked, ended }: TurnRecord): void {
    if (this.feed.readers === 0 || this.#changes >= mostChanges) return;
    this.#changes += 1;
    const { requestId: request_id, model } = asked;
    this.feed.publishBriefly(
      ended === undefined
        ? { type: 'turn-began', request_id, model }
        : { type: 'turn-ended', request_id, model, outcome: ended.outcome },
    );
  }

  #schedule(): void {
    this.#cancel = this.#sources.clock.after(everyMs, () => {
      this.#changes = 0;
      if (this.feed.readers > 0) this.feed.publishBriefly(this.#figures());
      this.#schedule();
    });
  }

  #figures(): Figures {
    const { clock, records, poolWatch, turns, waiting } = this.#sources;
    const now = clock.now();
    const ended: TurnRecord[] = [];
    let oldest = now;
    for (const record of records.newest()) {
      oldest = Math.min(oldest, record.at);
      if (record.ended && now - record.at - record.ended.durationMs < minuteMs) ended.push(record);
    }
    // At more turns than the records hold, these are of less than a minute.
    const share = ended.length >= mostChanges ? Math.min(1, Math.max(now - oldest, everyMs) / minuteMs) : 1;
    const failed = ended.filter(
      ({ ended: end }) => end?.outcome !== 'success' && end?.outcome !== 'cancelled',
    );
    return {
      type: 'figures',
      at: new Date(now).toISOString(),
      running_turns: turns(),
      waiting_turns: waiting(),
      turns_per_minute: Math.round(ended.length / share),
      errors_per_minute: Math.round(failed.length / share),
      first_content_ms: median(ended.flatMap(({ ended: end }) => end?.firstContentMs ?? [])),
      pool_reachable: poolWatch.isReachable,
    };
  }
}

function median(values: number[]): number | null {
  return values.sort((one, other) => one - other)[values.length >> 1] ?? null;
}
