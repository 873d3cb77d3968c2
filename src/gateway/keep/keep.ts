/** Expiring state that may be lost: whoever reads it must be able to go on without. Values are opaque bytes. */
export interface Keep {
  get(key: string): Promise<Uint8Array | undefined>;
  /** Keys are written once; a second write of the same key replaces the value whole. */
  put(key: string, value: Uint8Array, ttlMs: number): Promise<void>;
  /** Removes the entry and answers it: of several callers at once exactly one gets it. */
  claim(key: string): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}
