import { hash } from 'node:crypto';
import { sealBytes, unsealBytes } from '../../lib/secrets/sealed-bytes.ts';

/**
 * Expiring state that may be lost: its readers must be able to go on without. Keys are secrets, see `sealingOf`;
 * values are opaque bytes. Any call may reject while the storage is unreachable.
 */
export interface StateStore {
  get(key: string): Promise<Uint8Array | undefined>;
  /** A second write of a key replaces its value whole. What is too large is not stored. */
  put(key: string, value: Uint8Array, ttlMs: number, options?: PutOptions): Promise<void>;
  /**
   * Stores the entry unless there is one, and answers that one: of several callers exactly one gets undefined. The entry is in the
   * storage when this resolves.
   */
  insert(
    key: string,
    value: Uint8Array,
    ttlMs: number,
    options?: PutOptions,
  ): Promise<Uint8Array | undefined>;
  /** Removes the entry and answers it: of several callers exactly one gets it. */
  claim(key: string): Promise<Uint8Array | undefined>;
}

export interface PutOptions {
  /** Whose it is, for a store that shares its room out. */
  readonly clientId?: string;
  /** Probably claimed within seconds, and then never written. A process that is killed loses it until then. */
  readonly isShortLived?: boolean;
  /** All of the memory in which the value lies is the store's from the call on: no other code may read it. */
  readonly isGiven?: boolean;
}

/** What a store holds now, as far as it knows without looking. */
export interface StateFigures {
  readonly store: 'memory' | 'sqlite' | 'postgres';
  readonly entries: number;
  readonly bytes: number;
  /** Changes that are only in this process's memory yet. */
  readonly unwritten: number;
  /** False while its storage cannot be opened or its server does not answer. */
  readonly isReachable: boolean;
  /** False while entries stay in this process's memory because the storage does not take them. */
  readonly isWritable: boolean;
}

export interface Entry {
  readonly value: Uint8Array;
  /** Milliseconds since 1970, by the clock of the instance that wrote it: entries live for hours. */
  readonly expiresAt: number;
}

/** A new entry for a key, or undefined: it is to be removed. */
export type Change = readonly [key: string, entry: Entry | undefined];

export type Totals = Pick<StateFigures, 'entries' | 'bytes'>;

/** Where entries outlive the process, sealed. */
export interface Storage {
  readonly name: 'sqlite' | 'postgres';
  /** Other instances read and write it, too. */
  readonly isShared: boolean;
  readonly isReachable: boolean;
  /** As known without looking. */
  readonly totals: Totals;
  /** A larger entry is not stored. */
  readonly maxEntryBytes: number;
  read(key: string): Promise<Uint8Array | undefined>;
  take(key: string): Promise<Uint8Array | undefined>;
  /** Where others write to it, in one statement: false where there is an entry already. */
  insert?(key: string, entry: Entry): Promise<boolean>;
  /** May be repeated after a failure. */
  write(changes: readonly Change[]): Promise<void>;
  close(): Promise<void>;
}

/** What a storage says on its own. */
export interface StorageEvents {
  /** A call failed though none waits for it. */
  onFailure(error: unknown): void;
  /** The storage is beyond use and has to be opened again. */
  onLost(error: unknown): void;
}

/** One entry larger than this is not stored: to read it again would cost more than to do without. */
export const maxEntryBytes = 32 * 1024 * 1024;

/** What an entry counts beside its bytes. */
const entryOverhead = 200;

export function sizeOf(value: Uint8Array | undefined): number {
  return (value?.length ?? 0) + entryOverhead;
}

/**
 * The keys of entries are secrets that no database gets: a digest over something only the caller has, such as a client's
 * key together with what it sent, or the id of a response. Where an entry lies and the key that seals it are both derived
 * from that secret. The database alone tells nothing, there is no key to look after, and restarts and other instances
 * just work. It is as good as the secret is hard to guess: where clients show no key, a reader of the database can
 * check whether a conversation known word for word is in it.
 *
 * Place and key are two halves of one digest, so the place tells nothing about the key. The secret is a digest itself and
 * needs no stretching. As the key belongs to the place, an entry moved to another place cannot be read there.
 */
export function sealingOf(secret: string) {
  const digest = hash('sha512', `warp2api keep 1\n${secret}`, 'buffer');
  const key = digest.subarray(32);
  return {
    place: digest.toString('base64url', 0, 32),
    seal: (value: Uint8Array): Buffer => sealBytes(key, value),
    /** Throws when the bytes were changed, or sealed for another place. */
    unseal: (sealed: Uint8Array): Buffer => unsealBytes(key, sealed),
  };
}

/**
 * Gives the memory that the bytes lie in back at once: all of it, also what of it others look at. V8 takes each byte outside
 * of its heap that has grown old for a reason to collect that heap as a whole.
 */
export function freeMemory({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
