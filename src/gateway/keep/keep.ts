/**
 * Expiring state that may be lost: whoever reads it must be able to go on without. Values are opaque bytes. Any call may
 * reject while the store is away.
 */
export interface Keep {
  get(key: string): Promise<Uint8Array | undefined>;
  /** Keys are written once; a second write of the same key replaces the value whole. What is too large is not kept. `clientId`: whose it is, for a keep that shares its room out. */
  put(key: string, value: Uint8Array, ttlMs: number, clientId?: string): Promise<void>;
  /** Removes the entry and answers it: of several callers at once exactly one gets it. */
  claim(key: string): Promise<Uint8Array | undefined>;
  /** Writes what is still to be written. */
  close(): Promise<void>;
}

/** What a keep holds now, as far as it knows without looking. */
export interface KeepFigures {
  readonly store: 'memory' | 'sqlite' | 'postgres';
  readonly entries: number;
  readonly bytes: number;
  /** Changes that are only in this process's memory yet. */
  readonly unwritten: number;
  /** False while its store cannot be opened or its server does not answer. */
  readonly isReachable: boolean;
  /** False while what is put stays in this process's memory, because its store does not take it. */
  readonly isWritable: boolean;
}

export interface OpenKeep extends Keep {
  figures(): KeepFigures;
}

export interface Entry {
  readonly value: Uint8Array;
  /** Milliseconds since 1970. Of the instance that wrote it: entries live for hours, so a clock's fault matters little. */
  readonly expiresAt: number;
}

/** One entry larger than this is not kept: to read it again would cost more than to do without. */
export const maxEntryBytes = 32 * 1024 * 1024;

/** What an entry counts beside its bytes. */
const entryOverhead = 200;

export function sizeOf(value: Uint8Array): number {
  return value.length + entryOverhead;
}
