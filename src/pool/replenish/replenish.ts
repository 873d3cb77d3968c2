import { z } from 'zod';
import { backoffMs, withJitter } from '../../lib/backoff.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { BackgroundTasks, createLimit, type Limit } from '../../lib/tasks.ts';
import { type ReplenishAnswer, replenishRequest, type StatusAnswer } from '../../pool-api/owner-schema.ts';
import type { Basics, Caller } from '../base/basics.ts';
import { compareAndSet } from '../base/facts.ts';
import { logFailure } from '../base/failures.ts';
import { isoTime, parse } from '../base/present.ts';
import type { Stats } from '../store/store.ts';
import { Batch, type Reservation, reserve, usableIn } from './batch.ts';
import { keysBySource } from './issued-keys.ts';
import { type Source, SourceError } from './source.ts';

const housekeeper = 'housekeeper';
const recoverEveryMs = 60_000;

/** Keeps enough usable accounts in the pool, from sources in order. */
export class Replenisher {
  readonly #basics: Basics;
  readonly #sources: readonly Source[];
  readonly #limit: Limit;
  readonly #states: SourceStates;
  readonly #aborting = new AbortController();
  /** A source is asked once at a time: another call would find the same files, and start the same command. */
  readonly #turns: ReadonlyMap<string, Limit>;
  readonly #running = new BackgroundTasks();
  readonly #stopWatching: (() => void)[] = [];
  #stopTimer = (): void => {};
  #isTending = false;

  /**
   * The first of `sources` is the pool's own inventory; the others are those that were configured. `limit` bounds how many
   * accounts come in at a time.
   */
  constructor(basics: Basics, sources: readonly Source[], limit: Limit) {
    this.#basics = basics;
    this.#sources = sources;
    this.#limit = limit;
    this.#states = new SourceStates(basics);
    this.#turns = new Map(sources.map(({ name }) => [name, createLimit(1)]));
  }

  start(): void {
    this.#inBackground('the keys that sources made could not be counted', () => this.#nameForsakenKeys());
    this.#recoverAndAgain();
    this.tend();
    for (const source of this.#sources) {
      const stop = source.watch?.(() => this.tend());
      if (stop !== undefined) this.#stopWatching.push(stop);
    }
  }

  /** Ends what runs and answers when it has ended. */
  async stop(): Promise<void> {
    this.#aborting.abort();
    this.#stopTimer();
    for (const stop of this.#stopWatching) stop();
    await this.#running.ended();
  }

  /** The housekeeper's round: begins to fill up to the minimum, if that is called for. Never waits, never throws. */
  tend(): void {
    if (this.#isTending || this.#aborting.signal.aborted) return;
    this.#isTending = true;
    this.#inBackground('replenishing failed; it is tried again', () =>
      this.#tendOnce().finally(() => {
        this.#isTending = false;
      }),
    );
  }

  /** Something to fill from is there: a configured source, or accounts in standby. */
  hasSource(stats: Stats): boolean {
    return this.#sources.length > 1 || stats.standby > 0;
  }

  /** Fills up to the minimum, or brings `count` more as far as the maximum allows. */
  async replenish(caller: Caller, request: unknown): Promise<ReplenishAnswer> {
    const { store, clock, settings } = this.#basics;
    const { count } = parse(replenishRequest, request === undefined ? {} : request);
    const actor = caller.keyId;
    const stats = await store.stats(clock.now());
    const requested = count ?? Math.max(0, settings.minPoolSize - usableIn(stats));
    await store.note(clock.now(), { actor, action: 'replenish', accountId: null, detail: { requested } });
    if (requested === 0) {
      const message = 'The pool has as many usable accounts as it should.';
      return { success: true, requested, added: 0, failed: 0, reasons: [], message };
    }
    if (!this.hasSource(stats)) {
      const message =
        'No source of accounts is configured: add accounts with POST /api/accounts, or name sources in warp2api.yaml.';
      return { success: true, requested, added: 0, failed: 0, reasons: ['no source configured'], message };
    }
    const ceiling = count === undefined ? settings.minPoolSize : settings.maxPoolSize;
    const { granted, added, failed, reasons } = await this.#fill(requested, ceiling, actor);
    const said = [...reasons];
    if (granted < requested) {
      const limitName = count === undefined ? 'MIN_POOL_SIZE' : 'MAX_POOL_SIZE';
      said.unshift(
        `there was room for ${granted} of ${requested}: ${limitName} is ${ceiling}, counting accounts on their way`,
      );
    }
    if (added < granted && said.length === 0) said.push('the sources have no more accounts at present');
    const message = summary(requested, added, failed);
    return { success: true, requested, added, failed, reasons: said, message };
  }

  async sources(): Promise<StatusAnswer['sources']> {
    const { store, clock, secrets } = this.#basics;
    const now = clock.now();
    const { standby } = await store.stats(now);
    return Promise.all(
      this.#sources.map(async (source, index) => {
        const { name, type } = source;
        const { state, added, lastError, retryAt } = await this.#states.of(name);
        const isOver = retryAt === null || retryAt <= now;
        // The inventory is known without asking.
        const known = index === 0 ? (standby > 0 ? 'ok' : 'empty') : state;
        return {
          name,
          type,
          state: state !== 'backing_off' ? known : isOver ? 'ok' : state,
          // What an older release stored was not cleaned.
          last_error: lastError && secrets.redact(lastError),
          retry_at: isOver ? null : isoTime(retryAt),
          added,
          ...(source.pendingLogin && { login: await source.pendingLogin() }),
        };
      }),
    );
  }

  /** Reserves and fills. `ceiling` is how many usable accounts there may be at the end. */
  async #fill(wanted: number, ceiling: number, actor: string) {
    const { store, clock, metrics } = this.#basics;
    const reservation: Reservation = await reserve(store, clock, wanted, ceiling);
    const { signal } = this.#aborting;
    const batch = new Batch(reservation, actor, signal, this.#limit);
    const passedOver: string[] = [];
    try {
      for (const source of this.#sources) {
        if (batch.wanted === 0 || signal.aborted) break;
        await this.#turns.get(source.name)?.(async () => {
          const { state, retryAt } = await this.#states.of(source.name);
          const isResting = retryAt !== null && retryAt > clock.now();
          if (isResting && (state === 'backing_off' || actor === housekeeper)) {
            passedOver.push(`${source.name} is left alone until ${isoTime(retryAt)} after a failure`);
          } else await this.#fetchFrom(source, batch);
        });
      }
    } finally {
      await reservation.drop();
    }
    const { added, failed, reasons } = batch;
    if (added > 0 || failed > 0) metrics.replenished(added, failed);
    const others = actor === housekeeper ? [] : passedOver;
    return { granted: reservation.granted, added, failed, reasons: [...reasons, ...others] };
  }

  async #fetchFrom(source: Source, batch: Batch): Promise<void> {
    const { logger, secrets } = this.#basics;
    const { name } = source;
    const before = { added: batch.added, reasons: batch.reasons.length, wanted: batch.wanted };
    try {
      await source.fetch(batch);
      const added = batch.added - before.added;
      const fault = batch.reasons.slice(before.reasons).join('; ') || null;
      if (added > 0 || before.wanted === 0) await this.#states.note(name, 'ok', added, fault, false);
      else if (batch.wanted > 0) await this.#states.note(name, 'empty', 0, fault, source.restsWhenEmpty);
    } catch (error) {
      if (batch.signal.aborted) return;
      const message =
        error instanceof SourceError
          ? secrets.redact(error.message)
          : 'it failed in an unforeseen way; the log has the details';
      logger.warn({ err: error, source: name }, 'a source of accounts failed');
      const reason = `${name}: ${message}`;
      batch.fault(reason);
      await this.#states.note(name, 'backing_off', batch.added - before.added, reason, true);
    }
  }

  async #tendOnce(): Promise<void> {
    const { store, clock, logger, settings } = this.#basics;
    const stats = await store.stats(clock.now());
    const missing = settings.minPoolSize - usableIn(stats);
    if (missing <= 0 || !this.hasSource(stats)) return;
    const { added, failed, reasons } = await this.#fill(missing, settings.minPoolSize, housekeeper);
    if (added > 0) logger.info({ added, failed }, 'the pool was replenished');
    if (failed > 0) logger.warn({ failed, reasons }, 'some accounts could not be brought into the pool');
  }

  #recoverAndAgain(): void {
    this.#inBackground('what a source left undone could not be finished; it is tried again', () =>
      this.#recover().finally(() => {
        if (this.#aborting.signal.aborted) return;
        this.#stopTimer = this.#basics.clock.after(recoverEveryMs, () => this.#recoverAndAgain());
      }),
    );
  }

  async #recover(): Promise<void> {
    for (const source of this.#sources) {
      await this.#turns.get(source.name)?.(async () => {
        if (!this.#aborting.signal.aborted) await source.recover?.();
      });
    }
  }

  /** No other place knows that these keys can be deleted at their vendor. */
  async #nameForsakenKeys(): Promise<void> {
    const { store, logger } = this.#basics;
    for (const [source, keys] of await keysBySource(store)) {
      if (this.#turns.has(source)) continue;
      logger.warn(
        { source, keys },
        'keys were made by a source that is not configured any more: the pool cannot delete them at their vendor',
      );
    }
  }

  #inBackground(what: string, task: () => Promise<unknown>): void {
    this.#running.add(task().catch((error: unknown) => logFailure(this.#basics.logger, error, what)));
  }
}

function summary(requested: number, added: number, failed: number): string {
  const wanted = requested === 1 ? '1 account was wanted' : `${requested} accounts were wanted`;
  const faults = failed === 0 ? '' : ` ${failed} failed; the reasons say why.`;
  return `${wanted}, ${added} added.${faults}`;
}

/** How a source is doing: a fact, so that a restart does not hammer one that fails, and all instances know. */
const sourceState = z.object({
  state: z.enum(['ok', 'backing_off', 'empty']),
  /** Accounts it has brought since it was first configured. */
  added: z.int(),
  /** Calls in a row that failed, or had nothing. */
  inARow: z.int(),
  lastError: z.string().nullable(),
  /** Milliseconds since 1970: not asked before. */
  retryAt: z.number().nullable(),
});
type SourceState = z.infer<typeof sourceState>;

const firstDelayMs = 60_000;
const longestDelayMs = 3_600_000;
const longestError = 1000;

const unknown: SourceState = { state: 'ok', added: 0, inARow: 0, lastError: null, retryAt: null };

class SourceStates {
  readonly #basics: Pick<Basics, 'store' | 'clock' | 'random'>;

  constructor(basics: Pick<Basics, 'store' | 'clock' | 'random'>) {
    this.#basics = basics;
  }

  async of(source: string): Promise<SourceState> {
    return stateIn(await this.#basics.store.remembered(factOf(source)));
  }

  /** How it ended when it was asked; `fault` is what was wrong, with all or some of what it gave. `rests`: for a while it is not asked. */
  note(
    source: string,
    state: SourceState['state'],
    added: number,
    fault: string | null,
    rests: boolean,
  ): Promise<void> {
    return compareAndSet(this.#basics.store, factOf(source), async (text) => {
      const before = stateIn(text);
      const inARow = before.state === state && rests ? before.inARow + 1 : 1;
      // What was wrong with some of what it gave stays to be seen; that it had failed is over.
      const isStillSeen = state === 'empty' && before.state !== 'backing_off';
      const lastError = fault ?? (isStillSeen ? before.lastError : null);
      const present: SourceState = {
        state,
        added: before.added + added,
        inARow: state === 'ok' ? 0 : inARow,
        lastError: lastError && beginningOf(lastError, longestError),
        retryAt: rests ? this.#later(inARow) : null,
      };
      return { value: JSON.stringify(present), answer: undefined };
    });
  }

  /** Doubles from a minute to an hour, and lies a little later each time, so that instances do not meet. */
  #later(times: number): number {
    const { clock, random } = this.#basics;
    const delayMs = withJitter(backoffMs(times - 1, firstDelayMs, longestDelayMs), 1, 1.25, random);
    return Math.round(clock.now() + Math.min(longestDelayMs, delayMs));
  }
}

const factOf = (source: string): string => `source:${source}`;

function stateIn(text: string | null): SourceState {
  return text === null ? unknown : sourceState.parse(JSON.parse(text));
}
