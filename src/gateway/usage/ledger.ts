import { randomUUID } from 'node:crypto';
import { DatabaseError } from '../../db/database.ts';
import type { Clock } from '../../lib/clock.ts';
import { type Logger, onceAMinute } from '../../lib/log/logger.ts';
import { dayMs, type LedgerRow, type LedgerTurn, rowOf } from './ledger-turn.ts';
import type { Batch } from './note-turns.ts';
import type { UsageVerbs } from './usage-verbs.ts';

/** Where the ledger is kept: see `GatewayDatabase`. */
export interface UsageDatabase {
  ask<Answer>(question: (verbs: UsageVerbs) => Promise<Answer>): Promise<Answer>;
}

export interface LedgerOptions {
  readonly database: UsageDatabase;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0: nothing is kept. */
  readonly keepDays: number;
  readonly maxBytes: number;
}

export interface LedgerFigures {
  /** Turns that are not written yet. */
  readonly waiting: number;
  readonly written: number;
  /** Turns that will never be. */
  readonly dropped: number;
}

/**
 * A turn is written after this at most, unless the database is slow: well within the second that a gateway which is killed may
 * lose. A batch costs a millisecond of processor time however small it is, so it gathers as long as that allows.
 */
const gatherMs = 800;
const againMs = 1_000;
/** Of one transaction. */
const mostInBatch = 500;
const mostWaiting = 20_000;
const mostWaitingBytes = 32 * 1024 * 1024;
/** A batch that the database refuses so often, though it can be reached, is given up. */
const mostTries = 5;
const firstPruneMs = 1_000;
const pruneEveryMs = 60_000;
const mostPortions = 50;

/** A turn that waits for its batch, as the functions that make its row and its record. */
interface WaitingTurn {
  readonly turn: () => LedgerTurn;
  readonly record: (() => unknown) | undefined;
}

/**
 * The turns on their way to the ledger. They wait here while the database cannot be reached, up to a bound; what is beyond it
 * is dropped, counted and reported.
 */
export class UsageLedger implements UsageDatabase {
  readonly #options: LedgerOptions;
  readonly #sayDropped: (reason: string) => void;
  /** Of the next batch. */
  #noted: WaitingTurn[] = [];
  /** Full ones that wait for the batch before them. */
  #full: Batch[] = [];
  #fullBytes = 0;
  /** Is sent until the database says that it has it. */
  #batch: Batch | undefined;
  #hasFailed = false;
  /** Of this batch, by a database that can be reached. */
  #refusals = 0;
  #written = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #cancelWriting: (() => void) | undefined;
  #cancelPruning = (): void => {};
  #isClosed = false;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#sayDropped = onceAMinute(options.clock, (count, reason: string) => {
      options.logger.error(
        { turns: count, dropped: this.#dropped },
        `turns are missing in the usage ledger: ${reason}`,
      );
    });
    if (this.isOn) this.#pruneLater(firstPruneMs);
  }

  get isOn(): boolean {
    return this.#options.keepDays > 0;
  }

  get figures(): LedgerFigures {
    const waiting = this.#waiting + (this.#batch?.turns.length ?? 0);
    return { waiting, written: this.#written, dropped: this.#dropped };
  }

  /** Both are asked for when the batch is made: many after another cost a third of what each costs alone. */
  note(turn: () => LedgerTurn, record?: () => unknown): void {
    if (!this.isOn) return;
    if (this.#waiting >= mostWaiting || this.#fullBytes >= mostWaitingBytes) {
      this.#drop(1, 'more wait for its database than are held');
      return;
    }
    this.#noted.push({ turn, record });
    if (this.#noted.length === mostInBatch) {
      const batch = this.#takeBatch();
      this.#full.push(batch);
      this.#fullBytes += bytesOf(batch);
    }
    this.#writeLater(gatherMs);
  }

  get #waiting(): number {
    return this.#noted.length + this.#full.length * mostInBatch;
  }

  /** The answer knows of every turn that has ended, unless the database did not take it. */
  async ask<Answer>(question: (verbs: UsageVerbs) => Promise<Answer>): Promise<Answer> {
    if (this.figures.waiting > 0) {
      // It may have begun before the last of them ended.
      await this.#writing;
      if (!this.#hasFailed && !this.#isClosed) await this.#writeNow();
    }
    return this.#options.database.ask(question);
  }

  /** Writes what waits, if the database takes it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelWriting?.();
    this.#cancelPruning();
    await this.#writing;
    await this.#write();
    const { waiting } = this.figures;
    if (waiting > 0) this.#drop(waiting, 'its database could not be reached before the gateway stopped');
  }

  #writeLater(delayMs: number): void {
    if (this.#cancelWriting || this.#writing || this.#isClosed) return;
    this.#cancelWriting = this.#options.clock.after(delayMs, () => void this.#writeNow());
  }

  #writeNow(): Promise<void> {
    this.#cancelWriting?.();
    this.#cancelWriting = undefined;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
      if (this.figures.waiting > 0) this.#writeLater(this.#hasFailed ? againMs : gatherMs);
    });
    return this.#writing;
  }

  /** Until all that waits now is written, or the database fails; what ends meanwhile gathers for the next time. */
  async #write(): Promise<void> {
    const { database, logger } = this.#options;
    for (let { waiting } = this.figures; waiting > 0; ) {
      const batch = this.#next();
      if (!batch) return;
      waiting -= batch.turns.length;
      try {
        await database.ask(({ noteTurns }) => noteTurns(batch));
        this.#written += batch.turns.length;
      } catch (error) {
        // Whether it was committed is not always known: the same batch is sent again, under the same id.
        this.#hasFailed = true;
        if (error instanceof DatabaseError) return;
        this.#refusals += 1;
        if (this.#refusals < mostTries) return;
        logger.error(
          { err: error, turns: batch.turns.length },
          'the database does not take a batch of turns',
        );
        this.#drop(batch.turns.length, 'its database does not take them');
      }
      this.#batch = undefined;
      this.#hasFailed = false;
      this.#refusals = 0;
    }
  }

  #next(): Batch | undefined {
    if (this.#batch) return this.#batch;
    this.#batch = this.#full.shift();
    if (this.#batch) this.#fullBytes -= bytesOf(this.#batch);
    else if (this.#noted.length > 0) this.#batch = this.#takeBatch();
    return this.#batch;
  }

  #takeBatch(): Batch {
    const noted = this.#noted;
    this.#noted = [];
    const turns: LedgerRow[] = [];
    const requestIds: string[] = [];
    const records: unknown[] = [];
    for (const { turn, record } of noted) {
      const ended = turn();
      turns.push(rowOf(ended));
      if (!record) continue;
      requestIds.push(ended.requestId);
      records.push(record());
    }
    const kept = records.length === 0 ? undefined : { requestIds, json: JSON.stringify(records) };
    return { id: randomUUID(), turns, records: kept };
  }

  #drop(count: number, reason: string): void {
    this.#dropped += count;
    this.#sayDropped(reason);
  }

  #pruneLater(delayMs = pruneEveryMs): void {
    this.#cancelPruning = this.#options.clock.after(delayMs, () => {
      void this.#prune().finally(() => {
        if (!this.#isClosed) this.#pruneLater();
      });
    });
  }

  async #prune(): Promise<void> {
    const { database, clock, logger, keepDays, maxBytes } = this.#options;
    const bounds = { keptMs: keepDays * dayMs, maxBytes };
    try {
      while (!this.#isClosed && (await database.ask(({ moveHours }) => moveHours())));
      for (let portion = 0; portion < mostPortions && !this.#isClosed; portion += 1) {
        if (!(await database.ask(({ pruneUsage }) => pruneUsage(clock.now(), bounds)))) return;
      }
    } catch (error) {
      if (!(error instanceof DatabaseError))
        logger.error({ err: error }, 'old turns could not be removed from the ledger');
    }
  }
}

function bytesOf({ turns, records }: Batch): number {
  return 300 * turns.length + 2 * (records?.json.length ?? 0);
}
