/**
 * Expiring state that may be lost: its readers must be able to go on without. Keys are secrets, see `sealed-entry.ts`;
 * values are opaque bytes. Any call may reject while the storage is unreachable.
 */
export interface StateStore {
  get(key: string): Promise<Uint8Array | undefined>;
  /** A second write of a key replaces its value whole. What is too large is not stored. */
  put(key: string, value: Uint8Array, ttlMs: number, options?: PutOptions): Promise<void>;
  /** Removes the entry and answers it: of several callers exactly one gets it. */
  claim(key: string): Promise<Uint8Array | undefined>;
}

export interface PutOptions {
  /** Whose it is, for a store that shares its room out. */
  readonly clientId?: string;
  /** Probably claimed within seconds, and then never written. A process that is killed loses it until then. */
  readonly isShortLived?: boolean;
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
  /** May be repeated after a failure. */
  write(changes: readonly Change[]): Promise<void>;
  close(): Promise<void>;
}

/** One entry larger than this is not stored: to read it again would cost more than to do without. */
export const maxEntryBytes = 32 * 1024 * 1024;

/** What an entry counts beside its bytes. */
const entryOverhead = 200;

export function sizeOf(value: Uint8Array | undefined): number {
  return (value?.length ?? 0) + entryOverhead;
}
