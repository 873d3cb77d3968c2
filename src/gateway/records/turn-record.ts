import { LRUCache } from 'lru-cache';
import type { AppError, ErrorCode } from '../../core/errors.ts';
import type { Dialect } from '../../core/protocol.ts';
import type { TurnContent } from '../../core/shown-turn.ts';
import type { Usage } from '../../core/turn.ts';
import type { Clock } from '../../lib/clock.ts';
import type { BegunSpan } from '../../lib/telemetry/telemetry.ts';
import type { TraceHeaders } from '../../lib/telemetry/trace-headers.ts';
import { PoolError } from '../../pool-api/errors.ts';
import { sumUsage } from '../emulation/token-count.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { SpentLimit } from '../leases/account-limits.ts';
import type { OutputCap } from '../models/known-refusals.ts';
import type { Route } from '../models/route.ts';
import { TurnMinutes } from './turn-minutes.ts';

/** Why a candidate or an account was passed over. It becomes words only where it is shown. */
export type Evidence =
  | { readonly kind: 'limit'; readonly limit: SpentLimit }
  /** Every place on the account that the conversation or session prefers is taken. */
  | { readonly kind: 'full'; readonly accountId: string }
  /** The pool had none to lend. */
  | {
      readonly kind: 'none-lent';
      readonly message: string;
      readonly reasons: Readonly<Record<string, number>> | undefined;
    }
  /** What in the request this upstream does not take. */
  | { readonly kind: 'field'; readonly message: string }
  | { readonly kind: 'circuit'; readonly until: number };

export interface CandidateNote {
  readonly route: Route;
  /** Since the turn began, as all times of notes. */
  readonly atMs: number;
  skipped: Skip[];
}

export type Skip = Evidence & { readonly atMs: number };

/** Why this account: it is tried again, the conversation is remembered on it, the session prefers it, or it was free. */
type Choice = 'same' | 'conversation' | 'session' | 'free';

export interface AttemptNote {
  readonly route: Route;
  readonly accountId: string;
  readonly choice: Choice;
  /** The gateway held it already, without a call to the pool. */
  readonly wasHeld: boolean;
  readonly waitedMs: number;
  readonly startedMs: number;
  /** Where a shorter answer was asked for than the request would ask for. */
  readonly outputCap?: OutputCap | undefined;
  /** Its span; undefined where no traces are sent. */
  readonly span: AttemptSpan | undefined;
  connectedMs: number | undefined;
  firstContentMs: number | undefined;
  endedMs: number | undefined;
  /** Of the upstream's answer. */
  status: number | undefined;
  outcome: ErrorCode | 'success' | undefined;
  message: string | undefined;
  usage: Usage | undefined;
  /** How the account stands after the report, where the pool said so. */
  accountStatus: string | undefined;
}

/** What an attempt knows of itself; times are monotonic. */
interface TimedAttempt {
  readonly connectedAt: number | undefined;
  readonly firstContentAt: number | undefined;
  /** Of the upstream's answer. */
  readonly status: number | undefined;
  readonly countedUsage?: Usage | undefined;
}

export interface TurnEnded {
  readonly outcome: ErrorCode | 'success';
  readonly message: string | undefined;
  readonly status: number;
  readonly durationMs: number;
  readonly firstContentMs: number | undefined;
  readonly finish: string | undefined;
  readonly usage: Usage | undefined;
}

export interface AskedTurn {
  readonly requestId: string;
  readonly client: ClientKey;
  readonly dialect: Dialect;
  readonly model: string;
  readonly isStream: boolean;
  /** Answers that were asked for, which share the record; 1 if absent. */
  readonly choices?: number | undefined;
  /** How the turn came, for its trace. */
  readonly call?: CalledBy;
}

export interface CalledBy {
  readonly by: 'http' | 'websocket' | 'background';
  readonly method: string;
  /** As the service declares it. */
  readonly path: string;
  readonly trace: TraceHeaders | undefined;
}

export interface AttemptSpan {
  readonly context: BegunSpan['context'];
  /** What the upstream gets of it; undefined: nothing. */
  readonly passedOn: TraceHeaders | undefined;
}

/** What becomes of records as traces and metrics. */
export interface TurnTracing {
  begin(asked: AskedTurn): BegunSpan | undefined;
  attempt(turn: BegunSpan, provider: string): AttemptSpan;
  ended(record: TurnRecord): void;
}

/** Notes of each kind in one record; later ones are counted only. */
const mostNotes = 24;
/** A record's own size, and that of one note, roughly. */
const recordBytes = 600;
const noteBytes = 250;

/** How one request of a client was decided and what became of it. Its choices share it. */
export class TurnRecord {
  readonly asked: AskedTurn;
  /** Wall clock. */
  readonly at: number;
  candidates: CandidateNote[] = [];
  attempts: AttemptNote[] = [];
  /** Undefined where no traces are sent. */
  readonly trace: BegunSpan | undefined;
  ended: TurnEnded | undefined;
  /** Of its first choice, where LOG_CONTENT keeps it. */
  content: TurnContent | undefined;
  /** Choices that have not ended. */
  running: number;
  bytes = recordBytes;
  /** Notes that had no room. */
  omitted = 0;
  /** Set by the ring that holds it. */
  sequence = 0;
  countedBytes = 0;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #startedAt: number;
  readonly #tracing: TurnTracing | undefined;
  readonly #most: number;

  constructor(asked: AskedTurn, clock: Clock, tracing?: TurnTracing, most = mostNotes) {
    this.asked = asked;
    this.running = asked.choices ?? 1;
    this.#tracing = tracing;
    this.#most = most;
    this.trace = tracing?.begin(asked);
    this.at = clock.now();
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
    this.bytes += 2 * (asked.requestId.length + asked.model.length);
  }

  /** Of a monotonic time. */
  #sinceStart(at: number): number {
    return Math.round(at - this.#startedAt);
  }

  /** The candidate that is looked at from now on. */
  candidate(route: Route): CandidateNote {
    const note = { route, atMs: this.#sinceStart(this.#clock.monotonic()), skipped: [] };
    this.candidates = this.#with(this.candidates, note, 0);
    return note;
  }

  skipped(candidate: CandidateNote, evidence: Evidence): void {
    const text = 'message' in evidence ? evidence.message.length : 0;
    const atMs = this.#sinceStart(this.#clock.monotonic());
    candidate.skipped = this.#with(candidate.skipped, { ...evidence, atMs }, 2 * text);
  }

  /** Accounts that have nothing left for the candidate's model. */
  limited(candidate: CandidateNote, limits: Iterable<SpentLimit>): void {
    for (const limit of limits) {
      const isNoted = candidate.skipped.some((noted) => noted.kind === 'limit' && noted.limit === limit);
      if (!isNoted) this.skipped(candidate, { kind: 'limit', limit });
    }
  }

  noneLent(candidate: CandidateNote, error: Error): void {
    const reasons = error instanceof PoolError ? error.shortage?.reasons : undefined;
    this.skipped(candidate, { kind: 'none-lent', message: error.message, reasons });
  }

  attempt(
    given: Pick<AttemptNote, 'route' | 'accountId' | 'choice' | 'wasHeld' | 'waitedMs' | 'outputCap'>,
  ): AttemptNote {
    const note: AttemptNote = {
      route: given.route,
      accountId: given.accountId,
      choice: given.choice,
      wasHeld: given.wasHeld,
      waitedMs: Math.round(given.waitedMs),
      startedMs: this.#sinceStart(this.#clock.monotonic()),
      outputCap: given.outputCap,
      span: this.trace && this.#tracing?.attempt(this.trace, given.route.provider.name),
      connectedMs: undefined,
      firstContentMs: undefined,
      endedMs: undefined,
      status: undefined,
      outcome: undefined,
      message: undefined,
      usage: undefined,
      accountStatus: undefined,
    };
    this.attempts = this.#with(this.attempts, note, 0);
    return note;
  }

  attemptEnded(note: AttemptNote, attempt: TimedAttempt | undefined, error: AppError | undefined): void {
    const { connectedAt, firstContentAt } = attempt ?? {};
    note.connectedMs = connectedAt === undefined ? undefined : this.#sinceStart(connectedAt);
    note.firstContentMs = firstContentAt === undefined ? undefined : this.#sinceStart(firstContentAt);
    note.endedMs = this.#sinceStart(this.#clock.monotonic());
    note.status = attempt?.status;
    note.outcome = error?.code ?? 'success';
    note.message = error?.message;
    note.usage = attempt?.countedUsage;
    this.bytes += 2 * (error?.message.length ?? 0);
  }

  end(ended: TurnEnded): void {
    this.ended = this.ended === undefined ? ended : bothEnded(this.ended, ended);
    this.running -= 1;
    this.bytes += 2 * (ended.message?.length ?? 0);
  }

  addContent(content: TurnContent): void {
    if (this.content) return;
    this.content = content;
    for (const { parts } of [...content.input, ...content.output])
      for (const part of parts) this.bytes += 2 * part.content.length + 60;
  }

  #with<Note>(notes: Note[], note: Note, bytes: number): Note[] {
    if (notes.length >= this.#most) {
      this.omitted += 1;
      return notes;
    }
    this.bytes += noteBytes + bytes;
    return [...notes, note];
  }
}

function bothEnded(one: TurnEnded, other: TurnEnded): TurnEnded {
  const shown = one.outcome === 'success' ? other : one;
  return {
    ...shown,
    durationMs: Math.max(one.durationMs, other.durationMs),
    firstContentMs: one.firstContentMs ?? other.firstContentMs,
    usage: sumUsage(one.usage, other.usage),
  };
}

const mostRecords = 5_000;
const mostBytes = 8 * 1024 * 1024;
const refusalEveryMs = 1_000;

/** The latest records, the running ones included: bounded in number and bytes, in memory. */
export class TurnRecords {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #mostBytes: number;
  readonly #tracing: TurnTracing | undefined;
  /** A ring: each sequence number has its place. */
  readonly #places: (TurnRecord | undefined)[] = [];
  readonly #listeners: ((record: TurnRecord) => void)[] = [];
  /** By client, when its last refused request was kept. */
  readonly #refusedAt = new LRUCache<string, number>({ max: 1_000 });
  readonly minutes = new TurnMinutes();
  /** Refused requests that were not kept. */
  leftOut = 0;
  #oldest = 0;
  #next = 0;
  #bytes = 0;

  constructor(clock: Clock, tracing?: TurnTracing, most = mostRecords, bytes = mostBytes) {
    this.#clock = clock;
    this.#tracing = tracing;
    this.#most = most;
    this.#mostBytes = bytes;
    this.listen(({ ended }) => ended && this.minutes.note(ended.outcome, clock.now()));
  }

  begin(asked: AskedTurn): TurnRecord {
    const record = new TurnRecord(asked, this.#clock, this.#tracing);
    this.#add(record);
    for (const listener of this.#listeners) listener(record);
    return record;
  }

  /**
   * A request that was refused before a turn began. Of one client one a second is kept, here and in the ledger: a program that
   * asks again and again must not push out the records of others. Answers whether this one is.
   */
  refuse(asked: AskedTurn, ended: TurnEnded): boolean {
    const now = this.#clock.monotonic();
    const last = this.#refusedAt.get(asked.client.id);
    if (last !== undefined && now - last < refusalEveryMs) {
      this.leftOut += 1;
      return false;
    }
    this.#refusedAt.set(asked.client.id, now);
    const record = new TurnRecord(asked, this.#clock);
    record.end(ended);
    this.#add(record);
    for (const listener of this.#listeners) listener(record);
    return true;
  }

  /** Hears of every turn when it begins and when it has ended. */
  listen(listener: (record: TurnRecord) => void): void {
    this.#listeners.push(listener);
  }

  /** To be called once for each choice: the first error counts, and the usage of all. */
  end(record: TurnRecord, ended: TurnEnded): void {
    record.end(ended);
    if (record.running === 0) this.#tracing?.ended(record);
    // One that ran for long may have been dropped meanwhile.
    if (!this.#holds(record)) this.#add(record);
    else {
      this.#bytes += record.bytes - record.countedBytes;
      record.countedBytes = record.bytes;
      this.#dropOldest();
    }
    if (record.running > 0) return;
    for (const listener of this.#listeners) listener(record);
  }

  /** Newest first, of those before this sequence number. */
  *newest(before = this.#next): Generator<TurnRecord> {
    for (let sequence = Math.min(this.#next, before) - 1; sequence >= this.#oldest; sequence -= 1) {
      const record = this.#places[sequence % this.#most];
      if (record?.sequence === sequence) yield record;
    }
  }

  /** Clients may choose a request's id, and the same one again: the newest is meant. */
  find(requestId: string): TurnRecord | undefined {
    for (const record of this.newest()) if (record.asked.requestId === requestId) return record;
    return undefined;
  }

  #holds(record: TurnRecord): boolean {
    return this.#places[record.sequence % this.#most] === record;
  }

  #add(record: TurnRecord): void {
    record.sequence = this.#next;
    record.countedBytes = record.bytes;
    this.#next += 1;
    this.#bytes += record.bytes;
    this.#dropOldest();
    this.#places[record.sequence % this.#most] = record;
  }

  #dropOldest(): void {
    while (
      this.#next - this.#oldest > this.#most ||
      (this.#bytes > this.#mostBytes && this.#oldest < this.#next - 1)
    ) {
      const place = this.#oldest % this.#most;
      const record = this.#places[place];
      this.#bytes -= record?.countedBytes ?? 0;
      // The ledger may hold it until its database takes it: only its decisions.
      if (record?.running === 0) record.content = undefined;
      this.#places[place] = undefined;
      this.#oldest += 1;
    }
  }
}
