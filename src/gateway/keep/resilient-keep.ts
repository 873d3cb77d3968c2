import { DatabaseError } from '../../db/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import { createBoundedEntries } from './bounded-entries.ts';
import type { Keep, KeepFigures, OpenKeep } from './keep.ts';

export interface ResilientKeepOptions {
  /** Opens the store; `onLost` is called when what it answered is beyond use. */
  readonly open: (onLost: (error: unknown) => void) => Promise<OpenKeep>;
  readonly clock: Clock;
  /** Memory for what the store cannot take. */
  readonly spareBytes: number;
  /** The store could not be opened, or was lost: only memory keeps now. Told once, until it is back. */
  readonly onAway: (error: unknown) => void;
  readonly onBack: () => void;
  readonly onFailure: (error: unknown) => void;
}

const nothing: KeepFigures = {
  store: 'memory',
  isReachable: false,
  entries: 0,
  bytes: 0,
  unwritten: 0,
  isWritable: false,
};

/** A turn waits this long for a store that does not answer, and then does without. */
const limitMs = 1_000;
/** After a failure the store is left alone for so long. */
const restMs = 5_000;
const reopenMs = 5_000;

/**
 * A keep over a store that may fail. What cannot be written stays in this process's memory, a store that cannot be
 * opened is tried again, and one that fails or hangs is not asked for a while, so that it never holds up the turns.
 */
export async function openResilientKeep(options: ResilientKeepOptions): Promise<OpenKeep> {
  const { clock, onFailure } = options;
  const spare = createBoundedEntries(options.spareBytes, clock.now);
  let store: OpenKeep | undefined;
  let restsUntil = 0;
  let isAwayTold = false;
  /** A store that is not open and may hold what is asked for: a server, which others write to as well. */
  let isUnknown = false;
  let isClosed = false;
  let opening: Promise<void> | undefined;
  let pouring: Promise<void> | undefined;
  let cancelReopen = (): void => {};
  let cancelPour: (() => void) | undefined;

  async function open(): Promise<void> {
    let isLost = false;
    try {
      const opened = await options.open((error) => {
        isLost = true;
        if (store === opened) store = undefined;
        if (!isClosed) away(error);
      });
      if (isLost) return;
      if (isClosed) return await opened.close();
      store = opened;
      restsUntil = 0;
      if (isAwayTold) options.onBack();
      isAwayTold = false;
      await pour();
    } catch (error) {
      away(error);
    }
  }

  function away(error: unknown): void {
    if (!isAwayTold) options.onAway(error);
    isAwayTold = true;
    isUnknown = error instanceof DatabaseError && error.code === 'database_unreachable';
    if (isClosed) return;
    cancelReopen();
    cancelReopen = clock.after(reopenMs, () => {
      opening = open();
    });
  }

  /** What was kept in the meantime moves to where it belongs, as long as the store takes it. */
  function pour(): Promise<void> {
    pouring ??= (async () => {
      for (const [key] of [...spare]) {
        if (!present()) return;
        const entry = spare.take(key);
        if (entry) await put(key, entry.value, entry.expiresAt - clock.now());
      }
    })().finally(() => {
      pouring = undefined;
    });
    return pouring;
  }

  function works(): void {
    if (spare.count > 0) void pour();
  }

  function fail(error: unknown): void {
    restsUntil = clock.monotonic() + restMs;
    onFailure(error);
  }

  const isReachable = (): boolean => store?.figures().isReachable === true;
  const present = (): OpenKeep | undefined =>
    clock.monotonic() < restsUntil || !isReachable() ? undefined : store;

  async function put(key: string, value: Uint8Array, ttlMs: number): Promise<void> {
    const keep = present();
    spare.take(key);
    try {
      if (keep) {
        await keep.put(key, value, ttlMs);
        works();
        return;
      }
    } catch (error) {
      fail(error);
    }
    spare.set(key, { value, expiresAt: clock.now() + ttlMs });
    if (!isClosed) cancelPour ??= clock.after(restMs, pourInTurn);
  }

  /** Without a call that shows it, too: what waits here is lost with the process. */
  function pourInTurn(): void {
    cancelPour = undefined;
    void pour().finally(() => {
      if (spare.count > 0 && !isClosed) cancelPour ??= clock.after(restMs, pourInTurn);
    });
  }

  async function look(
    ask: (keep: Keep) => Promise<Uint8Array | undefined>,
    lookHere: () => Uint8Array | undefined,
  ): Promise<Uint8Array | undefined> {
    const here = lookHere();
    if (here) return here;
    const keep = present();
    // It may hold what is asked for: callers have to tell "not there" from "not known".
    if (!keep && (store || isUnknown)) throw new Error('the store of the keep rests after a failure');
    if (!keep) return undefined;
    try {
      const found = await inTime(ask(keep));
      works();
      return found;
    } catch (error) {
      fail(error);
      const late = lookHere();
      if (late) return late;
      throw error;
    }
  }

  function inTime<T>(task: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(limitMs, () =>
        reject(new Error(`the store of the keep did not answer in ${limitMs} ms`)),
      );
      task.then(
        (answer) => {
          cancel();
          resolve(answer);
        },
        (error: unknown) => {
          cancel();
          reject(error);
        },
      );
    });
  }

  await open();

  return {
    get: (key) =>
      look(
        (keep) => keep.get(key),
        () => spare.get(key)?.value,
      ),
    claim: (key) =>
      look(
        (keep) => keep.claim(key),
        () => spare.take(key)?.value,
      ),
    put,
    figures() {
      const kept = store?.figures() ?? nothing;
      return {
        ...kept,
        entries: kept.entries + spare.count,
        bytes: kept.bytes + spare.size,
        unwritten: kept.unwritten + spare.count,
        isWritable: kept.isWritable && spare.count === 0 && present() !== undefined,
      };
    },
    async close() {
      isClosed = true;
      cancelReopen();
      cancelPour?.();
      await opening;
      await pouring;
      restsUntil = 0;
      await pour();
      await store?.close();
      spare.clear();
    },
  };
}
