import { DatabaseError } from '../../db/database.ts';
import { type Clock, within } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { type Logger, onceAMinute } from '../../lib/log/logger.ts';
import { inOwnMemory } from '../../lib/read-bytes.ts';
import {
  type Change,
  freeMemory,
  maxEntryBytes,
  type PutOptions,
  type StateFigures,
  type StateStore,
  type Storage,
  type StorageEvents,
  sizeOf,
} from './state-store.ts';

export interface BufferedStoreOptions {
  readonly clock: Clock;
  /** What the store holds at most. */
  readonly maxBytes: number;
  /** Unset: all there is lies in memory. */
  readonly storage?: { open(events: StorageEvents): Promise<Storage>; readonly logger: Logger };
}

interface Held {
  /** Undefined: the entry was removed, and has to be removed from the storage. */
  readonly value: Uint8Array | undefined;
  readonly expiresAt: number;
  /** When it is to be written. */
  readonly dueAt: number;
  /**
   * Short-lived and not written yet: claimed, it leaves nothing to be removed. Where a storage still has an earlier entry
   * under the same key, going on from that one is as good.
   */
  readonly isNew: boolean;
  /** Its memory goes back as soon as it is written. */
  readonly isGiven: boolean;
}

/** How long changes are gathered before they are written in one transaction. */
const batchMs = 100;
/** How long a short-lived entry waits to be claimed before it is written. */
const shortLifeMs = 5_000;
/** What falls due that soon is written with the rest. */
const earlyMs = 1_000;
/** More than that is written without waiting. */
const mostWaitingBytes = 8 * 1024 * 1024;
const mostBatchBytes = 2 * 1024 * 1024;
/** Writes to a shared storage at one time: one that is slow does not hold up what is put after it. */
const mostWrites = 4;
/** Beyond that what waits to be written is forgotten, the oldest first. */
const mostUnwrittenBytes = 64 * 1024 * 1024;
/** The same while there is no storage. */
const mostSpareBytes = 16 * 1024 * 1024;
/** A turn waits this long for a storage that does not answer, and then does without. */
const limitMs = 1_000;
/** A storage that failed or could not be opened is left alone for so long. */
const restMs = 5_000;
/** A write that fails where the one before went well is tried again this soon: others wait for it, and a connection may just be lost. */
const againMs = 250;

/**
 * Memory before a storage that may fail. Entries are held here until they are written, and nothing longer; a short-lived
 * one that is claimed meanwhile is never written. A storage that cannot be opened is tried again, one that fails or hangs
 * is left alone for a while, so that it never holds up the turns.
 *
 * A process that is killed loses what was not written: of short-lived entries up to the last five seconds. A conversation
 * lost so is resent in full. One that was claimed may be found again: the turn it was claimed for broke off with the
 * process, and going on from where the conversation stood before is what the upstreams expect.
 */
export class BufferedStore implements StateStore {
  readonly #options: BufferedStoreOptions;
  readonly #clock: Clock;
  #storage: Storage | undefined;
  /** What was used or put last is at the end. */
  readonly #held = new Map<string, Held>();
  #heldBytes = 0;
  /** What is being written: by one write, or by several where others read the storage, each with keys of its own. */
  readonly #batch = new Map<string, Held>();
  readonly #writes = new Set<Promise<void>>();
  readonly #inserting = new Map<string, Promise<Uint8Array | undefined>>();
  #flushAt = Number.POSITIVE_INFINITY;
  #cancelFlush = (): void => {};
  #opening: Promise<void> | undefined;
  #cancelOpening = (): void => {};
  #restsUntil = Number.NEGATIVE_INFINITY;
  /** The last write failed, and is tried again then. */
  #writesAgainAt: number | undefined;
  #isOutageReported = false;
  /** The storage is not open and may hold what is asked for: a server, which others write to as well. */
  #isUnknown = false;
  #isClosed = false;
  /** Calls of the storage that failed so far. */
  failures = 0;
  readonly #warn: (error: unknown) => void;

  constructor(options: BufferedStoreOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#warn = onceAMinute(options.clock, (_count, error: unknown) =>
      options.storage?.logger.warn(
        { err: error, failures: this.failures },
        'the state storage failed; conversations and stored responses may be forgotten, turns go on',
      ),
    );
  }

  /** Opens the storage. Never throws: without it the store goes on in memory, says so once, and tries again. */
  static async open(options: BufferedStoreOptions): Promise<BufferedStore> {
    const store = new BufferedStore(options);
    await store.#open();
    return store;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#find(key, false);
  }

  async claim(key: string): Promise<Uint8Array | undefined> {
    return this.#find(key, true);
  }

  /** Where others read the storage it resolves when the entry is written there, or that has failed. */
  async put(key: string, value: Uint8Array, ttlMs: number, options: PutOptions = {}): Promise<void> {
    const { maxBytes, storage } = this.#options;
    const { isShortLived = false, isGiven = false } = options;
    const largest = Math.min(this.#storage?.maxEntryBytes ?? maxEntryBytes, maxBytes);
    const isTaken = value.length <= maxEntryBytes && sizeOf(value) <= largest;
    if (!storage && !isTaken) return this.#release(key);
    const isShared = this.#storage?.isShared === true;
    const now = this.#clock.now();
    this.#hold(key, {
      value: isTaken ? inOwnMemory(value) : undefined,
      expiresAt: now + ttlMs,
      dueAt: now + (isShared ? 0 : isShortLived ? shortLifeMs : batchMs),
      isNew: this.#held.get(key)?.isNew ?? (isShortLived && !this.#batch.has(key)),
      isGiven,
    });
    this.#bound();
    if (!isShared) return;
    while (this.#writes.size >= mostWrites || this.#batch.has(key)) await Promise.race(this.#writes);
    if (this.#held.has(key)) await this.#flush();
  }

  async insert(...entry: Parameters<StateStore['insert']>): Promise<Uint8Array | undefined> {
    const [key] = entry;
    const before = this.#inserting.get(key)?.catch(() => {});
    // One after another: the next finds what the first has stored.
    const inserting = Promise.resolve(before).then(() => this.#insert(...entry));
    this.#inserting.set(key, inserting);
    try {
      return await inserting;
    } finally {
      if (this.#inserting.get(key) === inserting) this.#inserting.delete(key);
    }
  }

  async #insert(...[key, value, ttlMs, options]: Parameters<StateStore['insert']>) {
    const known = await this.get(key);
    if (known) return known;
    const storage = this.#present();
    if (storage?.insert) {
      const entry = { value, expiresAt: this.#clock.now() + ttlMs };
      const isStored = await this.#inTime(storage.insert(key, entry));
      return isStored ? undefined : await this.get(key);
    }
    await this.put(key, value, ttlMs, options);
    while (storage && (this.#held.has(key) || this.#batch.has(key))) {
      if (!this.#present() || this.#writesAgainAt !== undefined)
        throw new Error('the state storage did not take an entry');
      await this.#flush(true);
    }
    return undefined;
  }

  figures(): StateFigures {
    const { entries, bytes } = this.#storage?.totals ?? { entries: 0, bytes: 0 };
    const unwritten = this.#held.size + this.#batch.size;
    const isMemory = !this.#options.storage;
    return {
      store: this.#storage?.name ?? 'memory',
      entries: entries + unwritten,
      bytes: bytes + this.#heldBytes,
      unwritten: isMemory ? 0 : unwritten,
      isReachable: isMemory || this.#storage?.isReachable === true,
      isWritable: isMemory || (this.#present() !== undefined && this.#writesAgainAt === undefined),
    };
  }

  /** Writes what is still to be written. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelOpening();
    this.#cancelFlush();
    await this.#opening;
    await Promise.all(this.#writes);
    this.#restsUntil = Number.NEGATIVE_INFINITY;
    this.#writesAgainAt = undefined;
    while (this.#held.size > 0 && this.#present() && this.#writesAgainAt === undefined) {
      await this.#flush(true);
      await Promise.all(this.#writes);
    }
    await this.#storage?.close();
    this.#storage = undefined;
  }

  async #find(key: string, isClaimed: boolean): Promise<Uint8Array | undefined> {
    const written = async () => {
      while (this.#batch.has(key)) await Promise.race(this.#writes);
    };
    const here = this.#look(key, isClaimed);
    if (here) return here.value;
    const storage = this.#present();
    if (!storage) {
      // Callers have to tell "not there" from "not known".
      if (this.#storage || this.#isUnknown) throw new Error('the state storage rests after a failure');
      return undefined;
    }
    try {
      if (storage.isShared && this.#batch.has(key)) await this.#inTime(written());
      return await this.#inTime(isClaimed ? storage.take(key) : storage.read(key));
    } catch (error) {
      this.#restsUntil = this.#clock.monotonic() + restMs;
      this.#failed(error);
      const late = this.#look(key, isClaimed);
      if (late) return late.value;
      throw error;
    }
  }

  /** What this process knows of a key; undefined when only the storage can tell. */
  #look(key: string, isClaimed: boolean): { readonly value: Uint8Array | undefined } | undefined {
    const held = this.#held.get(key);
    // What is on its way to a shared storage may be claimed there already.
    const known = held ?? (this.#storage?.isShared ? undefined : this.#batch.get(key));
    if (!known) return undefined;
    const isExpired = known.expiresAt <= this.#clock.now();
    if (isClaimed || isExpired) this.#remove(key, known, held !== undefined);
    else if (held && !this.#options.storage) this.#hold(key, held);
    if (isExpired) return { value: undefined };
    if (!known.value || !known.isGiven || (isClaimed && held)) return known;
    // It stays here. Not `slice`, which copies nothing of a Buffer.
    return { value: new Uint8Array(known.value) };
  }

  #remove(key: string, known: Held, isHeld: boolean): void {
    if (known.value === undefined) return;
    this.#release(key);
    if (!this.#options.storage || (isHeld && known.isNew)) return;
    this.#hold(key, { ...known, value: undefined, dueAt: this.#clock.now() + batchMs, isNew: false });
  }

  #hold(key: string, held: Held): void {
    this.#release(key);
    this.#held.set(key, held);
    this.#heldBytes += sizeOf(held.value);
    this.#schedule(held.dueAt);
  }

  #release(key: string): void {
    const held = this.#held.get(key);
    if (!held) return;
    this.#held.delete(key);
    this.#heldBytes -= sizeOf(held.value);
  }

  #bound(): void {
    const { maxBytes, storage } = this.#options;
    if (this.#heldBytes > mostWaitingBytes) this.#schedule(this.#clock.now());
    const spareBytes = Math.min(storage ? mostSpareBytes : maxBytes, maxBytes);
    const mostBytes = this.#storage ? mostUnwrittenBytes : spareBytes;
    for (const [key, held] of this.#held) {
      if (this.#heldBytes <= mostBytes) return;
      this.#release(key);
      // An older entry under this key must not be found again.
      if (storage && held.value && !held.isNew) this.#hold(key, { ...held, value: undefined });
    }
  }

  #present(): Storage | undefined {
    const isResting = this.#clock.monotonic() < this.#restsUntil;
    return !isResting && this.#storage?.isReachable ? this.#storage : undefined;
  }

  #schedule(at: number): void {
    if (!this.#options.storage || this.#isClosed || this.#writes.size > 0 || at >= this.#flushAt) return;
    this.#cancelFlush();
    this.#flushAt = at;
    this.#cancelFlush = this.#clock.after(at - this.#clock.now(), () => void this.#flush());
  }

  /** Writes what is due. */
  async #flush(isAll = this.#heldBytes > mostWaitingBytes): Promise<void> {
    this.#cancelFlush();
    this.#flushAt = Number.POSITIVE_INFINITY;
    const writing = this.#write(isAll).finally(() => {
      this.#writes.delete(writing);
      this.#scheduleNext();
    });
    this.#writes.add(writing);
    await writing;
  }

  #scheduleNext(): void {
    if (this.#held.size === 0) return;
    const now = this.#clock.now();
    const restsMs = (this.#writesAgainAt ?? 0) - this.#clock.monotonic();
    let next = now + (restsMs > 0 ? restsMs : restMs);
    if (this.#writesAgainAt === undefined && this.#present())
      for (const { dueAt } of this.#held.values()) next = Math.min(next, Math.max(dueAt, now));
    this.#schedule(next);
  }

  async #write(isAll: boolean): Promise<void> {
    const storage = this.#present();
    if (!storage || this.#clock.monotonic() < (this.#writesAgainAt ?? 0)) return;
    const now = this.#clock.now();
    const batch = new Map<string, Held>();
    const changes: Change[] = [];
    let bytes = 0;
    for (const [key, held] of this.#held) {
      if (this.#batch.has(key) || (!isAll && held.dueAt > now + earlyMs)) continue;
      const { value, expiresAt } = held;
      batch.set(key, held);
      this.#release(key);
      this.#batch.set(key, held);
      changes.push([key, value && expiresAt > now ? { value, expiresAt } : undefined]);
      bytes += sizeOf(value);
      if (bytes > mostBatchBytes) break;
    }
    if (batch.size === 0) return;
    try {
      await storage.write(changes);
      if (this.#clock.monotonic() >= (this.#writesAgainAt ?? 0)) this.#writesAgainAt = undefined;
      for (const { value, isGiven } of batch.values()) if (value && isGiven) freeMemory(value);
    } catch (error) {
      this.#writesAgainAt = this.#clock.monotonic() + (this.#writesAgainAt === undefined ? againMs : restMs);
      this.#failed(error);
      for (const [key, held] of batch) if (!this.#held.has(key)) this.#hold(key, held);
    } finally {
      for (const key of batch.keys()) this.#batch.delete(key);
    }
  }

  #inTime<Value>(task: Promise<Value>): Promise<Value> {
    return within(task, this.#clock, limitMs, () => {
      throw new Error(`the state storage did not answer in ${limitMs} ms`);
    });
  }

  async #open(): Promise<void> {
    let isLost = false;
    try {
      const opened = await this.#options.storage?.open({
        onFailure: (error) => this.#failed(error),
        onLost: (error) => {
          isLost = true;
          this.#storage = undefined;
          if (!this.#isClosed) this.#openLater(error);
        },
      });
      if (isLost || !opened) return;
      if (this.#isClosed) return await opened.close();
      this.#storage = opened;
      this.#restsUntil = Number.NEGATIVE_INFINITY;
      if (this.#isOutageReported) this.#options.storage?.logger.info('the state storage is open now');
      this.#isOutageReported = false;
      this.#scheduleNext();
    } catch (error) {
      this.#openLater(error);
    }
  }

  /** Reports that the storage cannot be opened, once, and tries again. */
  #openLater(error: unknown): void {
    if (!this.#isOutageReported) this.#options.storage?.logger.warn({ err: error }, unopenedMessage(error));
    this.#isOutageReported = true;
    this.#isUnknown = error instanceof DatabaseError && error.code === 'database_unreachable';
    if (this.#isClosed) return;
    this.#cancelOpening();
    this.#cancelOpening = this.#clock.after(restMs, () => {
      this.#opening = this.#open();
    });
  }

  #failed(error: unknown): void {
    this.failures += 1;
    this.#warn(error);
  }
}

function unopenedMessage(error: unknown): string {
  const isHeld = error instanceof DatabaseError && error.code === 'database_in_use';
  const advice = isHeld
    ? 'Give each gateway a file of its own (KEEP_URL=sqlite:gateway-2.db), or let them share KEEP_URL=postgres://…'
    : 'Set KEEP_URL to a file or a database that can be used, or to "memory".';
  return `Conversations and stored responses are kept in memory only, until their store can be opened. ${errorMessage(error)} ${advice}`;
}
