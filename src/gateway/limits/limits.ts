import { randomUUID } from 'node:crypto';
import { AppError } from '../../core/errors.ts';
import type { KeyUse } from '../../core/shown-key.ts';
import { DatabaseError } from '../../db/database.ts';
import type { RemoteVerbs } from '../../db/verbs.ts';
import { type Clock, sleep, within } from '../../lib/clock.ts';
import { type Logger, onceAMinute } from '../../lib/log/logger.ts';
import type { ClientKey } from '../keys/client-key.ts';
import {
  Allowance,
  estimatedUnits,
  limitName,
  rateHeaders,
  refusal,
  type TurnEstimate,
} from './allowance.ts';
import { type AnsweredSlice, type limitVerbs, type UsedLimit, warnings } from './limit-verbs.ts';
import { amountOf, type KeyWithLimits, LimitedKey, type Slice, type SliceAsk, shareOf } from './slices.ts';

export interface LimitsDatabase {
  readonly isShared: boolean;
  ask<Answer>(question: (verbs: LimitsVerbs) => Promise<Answer>): Promise<Answer>;
}
type LimitsVerbs = RemoteVerbs<ReturnType<typeof limitVerbs>>;

/** A budget of which 80 or 100 % are used, once in its window. */
export interface PassedBudget {
  readonly key: string | undefined;
  readonly key_id: string;
  readonly budget: string;
  readonly used: number;
  readonly limit: number;
}

/** Spent amounts are in the database this soon: what a gateway that is killed has not said is lost. */
const sayAfterMs = 50;
/** Between two exchanges, so that refused turns that come again and again cannot keep the database busy. */
const pauseMs = 20;
const tickMs = 500;
/** A key that no turn came for gives back what it holds. */
const idleAfterMs = 3_000;
/** A window that is in use is got ready so long before it begins. */
const readyBeforeMs = 2_000;
/** Of several gateways, each says so often that it is there. */
const heartbeatMs = 5_000;
const lookAgainMs = 250;
const mostLooks = 6;
const tryAgainMs = 1_000;
const pruneEveryMs = 60 * 60_000;

/**
 * Counts what turns of managed keys take of the limits of their keys. A gateway spends only what it has taken from the
 * database, ahead of need, so that turns of a key that is in use wait for nothing.
 */
export class Limits {
  readonly #database: LimitsDatabase;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #patienceMs: number;
  readonly #id = `gw_${randomUUID()}`;
  readonly #keys = new Map<string, LimitedKey>();
  #queue: Slice[] = [];
  #next: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #begunAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;
  #heardAt = Number.NEGATIVE_INFINITY;
  #prunedAt: number;
  #cancelSaying: (() => void) | undefined;
  #cancelTick: () => void;
  readonly #listeners: ((passed: PassedBudget, percent: number) => void)[] = [];
  #isClosing = false;
  /** Turns that were refused, by the name of the limit. */
  readonly refused = new Map<string, number>();
  /** Budgets of which so many percent were used. */
  readonly passed = new Map<number, number>(warnings.map((percent) => [percent, 0]));

  /** `patienceMs`: a turn waits so long for the database at most. */
  constructor(database: LimitsDatabase, clock: Clock, logger: Logger, patienceMs = 2_000) {
    this.#patienceMs = patienceMs;
    this.#database = database;
    this.#clock = clock;
    this.#logger = logger;
    this.#prunedAt = clock.monotonic();
    this.#cancelTick = clock.after(tickMs, this.#tick);
  }

  /** The limits of a client's key; undefined where it has none. */
  keyOf({ managed }: ClientKey): LimitedKey | undefined {
    if (!managed) return undefined;
    let key = this.#keys.get(managed.keyId);
    if (key?.limits === managed.limits) return key;
    if (!key) {
      key = new LimitedKey(managed);
      if (key.isUnlimited) return undefined;
      this.#keys.set(managed.keyId, key);
    } else key.configure(managed, this.#clock.now());
    return key.isUnlimited ? undefined : key;
  }

  /** Reserves what a turn may take. A promise only where the database has to be asked. Throws AppError, and so may the promise. */
  reserve(asked: LimitedKey, turn: TurnEstimate): Allowance | Promise<Allowance> {
    const key = this.#kept(asked);
    key.use(this.#clock.now(), this.#clock.monotonic());
    const short = key.current.find(({ isOpen }) => !isOpen);
    if (!short) return this.#take(key, turn);
    const spent = key.current.find(({ isSpent }) => isSpent);
    if (spent) throw this.#refused(key, spent, turn);
    return this.#wait(key, turn);
  }

  /** Of a turn that has ended: says so to the database soon. */
  settled(slices: readonly Slice[]): void {
    for (const slice of slices) if (slice.isUnsaid) this.#enqueue(slice);
    this.#saySoon();
  }

  /** It may have been forgotten while its turn waited for something else: no key may be counted twice. */
  #kept(asked: LimitedKey): LimitedKey {
    const key = this.#keys.get(asked.keyId) ?? asked;
    this.#keys.set(key.keyId, key);
    return key;
  }

  #take(key: LimitedKey, turn: TurnEstimate): Allowance {
    const allowance = new Allowance(this, key, turn);
    let isLow = false;
    for (const slice of key.current) {
      if (!slice.isLow) continue;
      this.#enqueue(slice);
      isLow = true;
    }
    if (isLow) this.#exchangeInBackground();
    return allowance;
  }

  async #wait(asked: LimitedKey, turn: TurnEstimate): Promise<Allowance> {
    const { now, monotonic } = this.#clock;
    for (let looks = 1; ; looks += 1) {
      const key = this.#kept(asked);
      if (monotonic() - this.#failedAt < tryAgainMs) throw unreachable();
      const needs = key.current.map((slice) => ({
        slice,
        units: estimatedUnits(slice.counted.meter, turn),
      }));
      for (const { slice, units } of needs) {
        slice.waiting += units;
        if (!slice.isOpen) this.#enqueue(slice);
      }
      try {
        await within(this.#exchanged(), this.#clock, this.#patienceMs, () => {
          throw unreachable();
        });
      } finally {
        for (const { slice, units } of needs) slice.waiting -= units;
      }
      key.use(now(), monotonic());
      const shut = key.current.filter(({ isOpen }) => !isOpen);
      const [first] = shut;
      if (!first) return this.#take(key, turn);
      const spent = shut.find(({ isSpent }) => isSpent);
      const mayOpen = shut.every(({ isKnown, isFreeElsewhere }) => !isKnown || isFreeElsewhere);
      if (spent || !mayOpen || looks >= mostLooks) throw this.#refused(key, spent ?? first, turn);
      // Another gateway holds some that it does not need.
      await sleep(this.#clock, lookAgainMs);
    }
  }

  #refused(key: LimitedKey, slice: Slice, turn: TurnEstimate): AppError {
    const now = this.#clock.now();
    const limit = limitName(slice);
    const error = refusal(slice, now, rateHeaders(key.current, turn.dialect, now));
    this.refused.set(limit, (this.refused.get(limit) ?? 0) + 1);
    this.#lineOf(key, limit)(turn.requestId, error.code);
    return error;
  }

  /** Clients that come again and again must not fill the log. */
  #lineOf(key: LimitedKey, limit: string): (requestId: string, code: string) => void {
    let line = key.refusalLines.get(limit);
    if (!line) {
      line = onceAMinute(this.#clock, (refused, request_id: string, outcome: string) => {
        const fields = { request_id, key: key.name, key_id: key.keyId, limit, outcome, refused };
        this.#logger.info(fields, 'a limit of a client key refused turns');
      });
      key.refusalLines.set(limit, line);
    }
    return line;
  }

  async uses(keys: readonly KeyWithLimits[]): Promise<Map<string, readonly KeyUse[]>> {
    const now = this.#clock.now();
    const keyIds = keys.map(({ keyId }) => keyId);
    const rows = await this.#database.ask((verbs) => verbs.usedLimits(this.#id, keyIds)).catch(() => []);
    return new Map(keys.map((key) => [key.keyId, usesOf(key, this.#keys.get(key.keyId), rows, now)]));
  }

  /** Says what was spent, and gives back what is held. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#cancelTick();
    this.#cancelSaying?.();
    for (const key of this.#keys.values()) {
      for (const slice of key.all) {
        slice.usedAt = Number.NEGATIVE_INFINITY;
        if (slice.isUnsaid || slice.isHolding) this.#enqueue(slice);
      }
    }
    try {
      while (this.#queue.length > 0) await this.#exchanged();
      if (this.#keys.size > 0) await this.#database.ask((verbs) => verbs.forgetGateway(this.#id));
    } catch (error) {
      this.#logger.warn({ err: error }, 'the last use of client keys could not be written');
    }
  }

  #enqueue(slice: Slice): void {
    if (slice.isQueued) return;
    slice.isQueued = true;
    this.#queue.push(slice);
  }

  #saySoon(afterMs = sayAfterMs): void {
    if (this.#queue.length === 0 || this.#isClosing) return;
    this.#cancelSaying ??= this.#clock.after(afterMs, () => {
      this.#cancelSaying = undefined;
      this.#exchangeInBackground();
    });
  }

  #exchangeInBackground(): void {
    // A failure is noted by the exchange itself.
    this.#exchanged().catch(() => {});
  }

  /** Resolves when the database has answered all that is queued now. */
  #exchanged(): Promise<void> {
    this.#next ??= this.#exchangeAfter(this.#running);
    return this.#next;
  }

  async #exchangeAfter(running: Promise<void> | undefined): Promise<void> {
    await running?.catch(() => {});
    const waitMs = this.#begunAt + pauseMs - this.#clock.monotonic();
    if (waitMs > 0 && !this.#isClosing) await sleep(this.#clock, waitMs, undefined, true);
    this.#running = this.#next;
    this.#next = undefined;
    await this.#exchange();
  }

  async #exchange(): Promise<void> {
    const { monotonic } = this.#clock;
    const begunAt = monotonic();
    this.#begunAt = begunAt;
    const slices = this.#queue.splice(0);
    for (const slice of slices) {
      slice.isQueued = false;
      slice.isAsked = true;
    }
    const share = shareOf(this.#database.isShared);
    const asks = slices.map((slice) => slice.ask(begunAt - slice.usedAt < idleAfterMs, share));
    const asked = slices.map(({ counted: { keyId, name, window, isBudget } }, at) => {
      const endsAt = Number.isFinite(window.endsAt) ? window.endsAt : null;
      return { ...(asks[at] as SliceAsk), keyId, name, isBudget, endsAt };
    });
    try {
      const answers = await this.#database.ask((verbs) => verbs.exchangeLimits(this.#id, asked));
      for (const [at, slice] of slices.entries()) {
        const answer = answers[at] as AnsweredSlice;
        slice.granted(asks[at] as SliceAsk, answer);
        if (answer.passed !== undefined) this.#near(slice, answer.passed);
        if (slice.isUnsaid) this.#enqueue(slice);
      }
      this.#heardAt = monotonic();
      this.#failedAt = Number.NEGATIVE_INFINITY;
      this.#saySoon();
    } catch (error) {
      this.#failedAt = monotonic();
      for (const slice of slices) this.#enqueue(slice);
      this.#saySoon(tryAgainMs);
      if (error instanceof DatabaseError) throw unreachable(error);
      this.#logger.error({ err: error }, 'the use of client keys could not be counted');
      throw error;
    } finally {
      for (const slice of slices) slice.isAsked = false;
    }
  }

  /** Hears of each budget that is nearly used, or used up. */
  listen(listener: (passed: PassedBudget, percent: number) => void): void {
    this.#listeners.push(listener);
  }

  #near(slice: Slice, percent: number): void {
    const { keyId, meter } = slice.counted;
    const passed: PassedBudget = {
      key: this.#keys.get(keyId)?.name,
      key_id: keyId,
      budget: limitName(slice),
      used: amountOf(meter, slice.spent),
      limit: amountOf(meter, slice.limit),
    };
    this.passed.set(percent, (this.passed.get(percent) ?? 0) + 1);
    for (const listener of this.#listeners) listener(passed, percent);
    this.#logger.warn(
      passed,
      percent >= 100 ? 'a client key has used up a budget' : `a client key has used ${percent} % of a budget`,
    );
  }

  readonly #tick = (): void => {
    this.#cancelTick = this.#clock.after(tickMs, this.#tick);
    const monotonic = this.#clock.monotonic();
    const now = this.#clock.now();
    const { isShared } = this.#database;
    const isBeat = monotonic - this.#heardAt >= heartbeatMs;
    for (const key of this.#keys.values()) {
      const isBusy = key.current.some(({ usedAt }) => monotonic - usedAt < idleAfterMs);
      if (isBusy) for (const slice of key.readyFor(now, now + readyBeforeMs)) this.#use(slice, monotonic);
      for (const slice of key.all) {
        const isOwed = isShared && slice.isHolding && (slice.free > 0 || isBeat);
        if (slice.isUnsaid || isOwed) this.#enqueue(slice);
      }
      key.dropEnded(now);
      if (!isBusy && key.all.every(isOver)) this.#keys.delete(key.keyId);
    }
    if (this.#queue.length > 0 && monotonic - this.#failedAt >= tryAgainMs) this.#exchangeInBackground();
    if (monotonic - this.#prunedAt < pruneEveryMs) return;
    this.#prunedAt = monotonic;
    this.#database
      .ask((verbs) => verbs.pruneLimits(this.#id, now))
      .catch((error: unknown) => this.#logger.warn({ err: error }, 'old counts of client keys stay'));
  };

  #use(slice: Slice, monotonic: number): void {
    slice.usedAt = monotonic;
    this.#enqueue(slice);
  }
}

function isOver({ isHolding, isDue, reserved, waiting }: Slice): boolean {
  return !isHolding && !isDue && reserved === 0 && waiting === 0;
}

function unreachable(cause?: unknown): AppError {
  return new AppError(
    'storage_unavailable',
    'The database that counts what this key may use cannot be reached; try again in a few seconds.',
    { cause, retryAfterMs: 5_000 },
  );
}

/** `known` is what this gateway counts for the key, beside what the database has. */
function usesOf(
  managed: KeyWithLimits,
  known: LimitedKey | undefined,
  rows: readonly UsedLimit[],
  now: number,
): readonly KeyUse[] {
  const key = known ?? new LimitedKey(managed);
  key.configure(managed, now);
  return key.current.map((slice) => {
    const { name, meter, windowName, window } = slice.counted;
    const row = rows.find((one) => one.keyId === managed.keyId && one.name === name);
    const spent = row ? row.spent + slice.unsaid.spent : slice.spent;
    const unknown = row ? row.unknown + slice.unsaid.unknown : slice.unknown;
    const running = slice.reserved + (row?.held ?? 0);
    return {
      meter,
      window: windowName,
      limit: amountOf(meter, slice.limit),
      used: amountOf(meter, meter === 'turns' ? running : spent),
      ...(meter === 'cost_cents' && { unpriced_turns: unknown }),
      resets_at: Number.isFinite(window.endsAt) ? new Date(window.endsAt).toISOString() : null,
    };
  });
}
