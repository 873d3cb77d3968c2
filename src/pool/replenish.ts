import { BackgroundTasks } from '../lib/background-tasks.ts';
import { createLimit } from '../lib/limit.ts';
import type { ReplenishAnswer, StatusAnswer } from '../pool-api/schema.ts';
import type { PoolContext } from './pool-context.ts';
import { isoTime } from './present.ts';
import { createRoom, usableIn } from './room.ts';
import { logFailure } from './server-errors.ts';
import { createSourceStates } from './source-states.ts';
import { createDraw, type Tally } from './sources/draw.ts';
import { keysBySource } from './sources/key-journal.ts';
import { type Draw, type Source, SourceError } from './sources/source.ts';
import type { Stats } from './store/store.ts';

/** Keeps enough usable accounts in the pool, from sources in order. */
export interface Replenisher {
  start(): void;
  /** Ends what is under way and answers when it has ended. */
  stop(): Promise<void>;
  /** The housekeeper's round: begins to fill up to the minimum, if that is called for. Never waits, never throws. */
  tend(): void;
  /** Fills up to the minimum, or brings `count` more as far as the maximum allows. */
  replenish(count: number | undefined, actor: string): Promise<ReplenishAnswer>;
  sources(): Promise<StatusAnswer['sources']>;
  /** Something to fill from is there: a configured source, or accounts in standby. */
  hasSource(stats: Stats): boolean;
  /** Runs a task among those that bring accounts in, of which only so many run at a time. */
  readonly limit: <T>(task: () => Promise<T>) => Promise<T>;
}

const housekeeper = 'housekeeper';
const recoverEveryMs = 60_000;

/** The first of `sources` is the pool's own inventory; the others are those that were configured. */
export function createReplenisher(context: PoolContext, sources: readonly Source[]): Replenisher {
  const { store, clock, logger, settings } = context;
  const room = createRoom(store, clock);
  const states = createSourceStates(store, clock, context.random);
  const limit = createLimit(settings.provisionConcurrency);
  const aborting = new AbortController();
  /** A source is drawn from once at a time: another draw would find the same files, and start the same command. */
  const turns = new Map(sources.map((source) => [source.name, createLimit(1)]));
  const running = new BackgroundTasks();
  const stopWatching: (() => void)[] = [];
  let stopTimer = (): void => {};
  let isTending = false;

  const inBackground = (what: string, task: () => Promise<unknown>): void => {
    running.add(task().catch((error: unknown) => logFailure(logger, error, what)));
  };

  const drawFrom = async (source: Source, draw: Draw, tally: () => Tally): Promise<void> => {
    const before = tally();
    const wantedBefore = draw.wanted();
    const sum = (): { added: number; fault: string | null } => {
      const { added, reasons } = tally();
      const fresh = reasons.slice(before.reasons.length);
      return { added: added - before.added, fault: fresh.length === 0 ? null : fresh.join('; ') };
    };
    try {
      await source.draw(draw);
      const { added, fault } = sum();
      if (added > 0 || wantedBefore === 0) await states.succeeded(source.name, added, fault);
      else if (draw.wanted() > 0) await states.wasEmpty(source.name, fault, source.restsWhenEmpty);
    } catch (error) {
      if (draw.signal.aborted) return;
      const message =
        error instanceof SourceError
          ? context.secrets.redact(error.message)
          : 'it failed in an unforeseen way; the log has the details';
      logger.warn({ err: error, source: source.name }, 'a source of accounts failed');
      const reason = `${source.name}: ${message}`;
      draw.fault(reason);
      await states.failed(source.name, sum().added, reason);
    }
  };

  /** Reserves and fills. `ceiling` is how many usable accounts there may be at the end. */
  const fill = async (
    wanted: number,
    ceiling: number,
    actor: string,
  ): Promise<Tally & { readonly granted: number }> => {
    const reservation = await room.reserve(wanted, ceiling);
    const { draw, tally } = createDraw({ reservation, actor, signal: aborting.signal, limit });
    const passedOver: string[] = [];
    try {
      for (const source of sources) {
        if (draw.wanted() === 0 || aborting.signal.aborted) break;
        const turn = turns.get(source.name);
        await turn?.(async () => {
          const { state, retryAt } = await states.of(source.name);
          const isResting = retryAt !== null && retryAt > clock.now();
          if (isResting && (state === 'backing_off' || actor === housekeeper)) {
            passedOver.push(`${source.name} is left alone until ${isoTime(retryAt)} after a failure`);
          } else await drawFrom(source, draw, tally);
        });
      }
    } finally {
      await reservation.drop();
    }
    const { added, failed, reasons } = tally();
    if (added > 0 || failed > 0) context.metrics.replenished(added, failed);
    const others = actor === housekeeper ? [] : passedOver;
    return { granted: reservation.granted, added, failed, reasons: [...reasons, ...others] };
  };

  const hasSource = (stats: Stats): boolean => sources.length > 1 || stats.standby > 0;

  const tendOnce = async (): Promise<void> => {
    const stats = await store.stats(clock.now());
    const missing = settings.minPoolSize - usableIn(stats);
    if (missing <= 0 || !hasSource(stats)) return;
    const { added, failed, reasons } = await fill(missing, settings.minPoolSize, housekeeper);
    if (added > 0) logger.info({ added, failed }, 'the pool was replenished');
    if (failed > 0) logger.warn({ failed, reasons }, 'some accounts could not be brought into the pool');
  };

  const tend = (): void => {
    if (isTending || aborting.signal.aborted) return;
    isTending = true;
    inBackground('replenishing failed; it is tried again', () =>
      tendOnce().finally(() => {
        isTending = false;
      }),
    );
  };

  const recover = async (): Promise<void> => {
    for (const source of sources) {
      await turns.get(source.name)?.(async () => {
        if (!aborting.signal.aborted) await source.recover?.();
      });
    }
  };
  /** Nobody else knows that these keys can be deleted at their vendor. */
  const nameForsakenKeys = async (): Promise<void> => {
    for (const [source, keys] of await keysBySource(store)) {
      if (turns.has(source)) continue;
      logger.warn(
        { source, keys },
        'keys were made by a source that is not configured any more: the pool cannot delete them at their vendor',
      );
    }
  };
  const recoverAndAgain = (): void => {
    inBackground('what a source left undone could not be finished; it is tried again', () =>
      recover().finally(() => {
        if (!aborting.signal.aborted) stopTimer = clock.after(recoverEveryMs, recoverAndAgain);
      }),
    );
  };

  return {
    limit,
    tend,
    hasSource,
    start() {
      inBackground('the keys that sources made could not be counted', nameForsakenKeys);
      recoverAndAgain();
      tend();
      for (const source of sources) {
        const stop = source.watch?.(tend);
        if (stop !== undefined) stopWatching.push(stop);
      }
    },
    async stop() {
      aborting.abort();
      stopTimer();
      for (const stop of stopWatching) stop();
      await running.ended();
    },

    async replenish(count, actor) {
      const stats = await store.stats(clock.now());
      const requested = count ?? Math.max(0, settings.minPoolSize - usableIn(stats));
      await store.note(clock.now(), {
        actor,
        action: 'replenish',
        accountId: null,
        detail: { requested },
      });
      if (requested === 0) {
        const message = 'The pool has as many usable accounts as it should.';
        return { success: true, requested, added: 0, failed: 0, reasons: [], message };
      }
      if (!hasSource(stats)) {
        const message =
          'No source of accounts is configured: add accounts with POST /api/accounts, or name sources in warp2api.yaml.';
        return { success: true, requested, added: 0, failed: 0, reasons: ['no source configured'], message };
      }
      const ceiling = count === undefined ? settings.minPoolSize : settings.maxPoolSize;
      const { granted, added, failed, reasons } = await fill(requested, ceiling, actor);
      const said = [...reasons];
      if (granted < requested) {
        const limitName = count === undefined ? 'MIN_POOL_SIZE' : 'MAX_POOL_SIZE';
        said.unshift(
          `there was room for ${granted} of ${requested}: ${limitName} is ${ceiling}, counting accounts on their way`,
        );
      }
      if (added < granted && said.length === 0) said.push('the sources have no more accounts at present');
      return {
        success: true,
        requested,
        added,
        failed,
        reasons: said,
        message: summary(requested, added, failed),
      };
    },

    async sources() {
      if (sources.length === 0) return [];
      const now = clock.now();
      const { standby } = await store.stats(now);
      return Promise.all(
        sources.map(async ({ name, type, pendingLogin }, index) => {
          const { state, added, lastError, retryAt } = await states.of(name);
          const isOver = retryAt === null || retryAt <= now;
          // The inventory is known without asking.
          const shown =
            index === 0 && state !== 'backing_off'
              ? standby > 0
                ? 'ok'
                : 'empty'
              : isOver && state === 'backing_off'
                ? 'ok'
                : state;
          return {
            name,
            type,
            state: shown,
            // What an older release stored was not cleaned.
            last_error: lastError && context.secrets.redact(lastError),
            retry_at: isOver ? null : isoTime(retryAt),
            added,
            ...(pendingLogin === undefined ? {} : { login: await pendingLogin() }),
          };
        }),
      );
    },
  };
}

function summary(requested: number, added: number, failed: number): string {
  const wanted = requested === 1 ? '1 account was wanted' : `${requested} accounts were wanted`;
  const faults = failed === 0 ? '' : ` ${failed} failed; the reasons say why.`;
  return `${wanted}, ${added} added.${faults}`;
}
