import { type Migration, migratePostgres } from '../../db/migrate.ts';
import { openPostgres, type Postgres } from '../../db/postgres.ts';
import type { Clock } from '../../lib/clock.ts';
import { BackgroundTasks } from '../../lib/tasks.ts';
import {
  type Change,
  type Entry,
  maxEntryBytes,
  type Storage,
  sealingOf,
  sizeOf,
  type Totals,
} from './state-store.ts';

const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'entries',
    // Sealed bytes do not shrink, so compressing them is left out.
    sql: `
      CREATE TABLE gateway_keep (
        key text PRIMARY KEY, size integer NOT NULL, used_at bigint NOT NULL, expires_at bigint NOT NULL,
        value bytea NOT NULL
      );
      ALTER TABLE gateway_keep ALTER COLUMN value SET STORAGE EXTERNAL;
      CREATE INDEX gateway_keep_by_expiry ON gateway_keep (expires_at);
      CREATE INDEX gateway_keep_by_use ON gateway_keep (used_at, key) INCLUDE (size);`,
  },
];

/** The pool may have its tables in the same database. */
const migrationsTable = 'gateway_keep_migrations';

/** Plans are made while the table is empty and kept. A crash of the server may take the last commits: they may be lost. */
const planning = { enable_seqscan: 'off', jit: 'off', synchronous_commit: 'off' };
const connections = 4;
/** A turn does not wait for a database that is unreachable. */
const patienceMs = 300;
/** Uses within this time are one. */
const useMs = 60_000;
const tidyMs = 60_000;
/** After so much of the whole was written, what is too much is removed. */
const tidyShare = 1 / 16;
const batch = 200;
const mostBatches = 50;

interface Row {
  readonly value: Uint8Array;
  readonly used_at: number;
  readonly expires_at: number;
}

/** Throws DatabaseError. `onFailure`: what went wrong between calls. */
export async function openPostgresStorage(
  url: string,
  clock: Clock,
  maxBytes: number,
  onFailure: (error: unknown) => void,
): Promise<Storage> {
  const db = await openPostgres(url, {
    onTrouble: onFailure,
    settings: planning,
    setting: 'KEEP_URL',
    connections,
    patienceMs,
  });
  try {
    await migratePostgres(db, migrations, clock.now(), migrationsTable);
  } catch (error) {
    await db.close();
    throw error;
  }
  return new PostgresStorage(db, clock, maxBytes, onFailure);
}

/**
 * Entries in a PostgreSQL database that several gateways share. A claim is one statement, so of all instances one gets the
 * entry. What an instance puts is found by others once its statement has run.
 */
class PostgresStorage implements Storage {
  readonly name = 'postgres';
  readonly isShared = true;
  readonly maxEntryBytes: number;
  readonly #db: Postgres;
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #onFailure: (error: unknown) => void;
  /** Of all instances together, as counted last. */
  #totals: Totals = { entries: 0, bytes: 0 };
  #writtenBytes = 0;
  #isChanged = true;
  #tidying: Promise<void> | undefined;
  #cancelTidy: () => void;
  readonly #noting = new BackgroundTasks();

  constructor(db: Postgres, clock: Clock, maxBytes: number, onFailure: (error: unknown) => void) {
    this.#db = db;
    this.#clock = clock;
    this.#maxBytes = maxBytes;
    this.#onFailure = onFailure;
    this.maxEntryBytes = Math.min(maxBytes, maxEntryBytes);
    this.#cancelTidy = clock.after(tidyMs, () => this.#tidyInTurn());
  }

  get totals(): Totals {
    return this.#totals;
  }

  get isReachable(): boolean {
    return this.#db.isReachable;
  }

  async read(secret: string): Promise<Uint8Array | undefined> {
    const { place, unseal } = sealingOf(secret);
    const now = this.#clock.now();
    const row = await this.#db.reading.get<Row>(
      'SELECT value, used_at, expires_at FROM gateway_keep WHERE key = $1 AND expires_at > $2',
      place,
      now,
    );
    if (row && now - row.used_at >= useMs) this.#noteUse(place, now);
    return row && this.#opened(row, unseal);
  }

  async take(secret: string): Promise<Uint8Array | undefined> {
    const { place, unseal } = sealingOf(secret);
    const row = await this.#db.writing.get<Row>(
      'DELETE FROM gateway_keep WHERE key = $1 RETURNING value, used_at, expires_at',
      place,
    );
    return row && row.expires_at > this.#clock.now() ? this.#opened(row, unseal) : undefined;
  }

  async insert(secret: string, entry: Entry): Promise<boolean> {
    return (await this.#put(secret, entry, 'WHERE gateway_keep.expires_at <= $3')) > 0;
  }

  async write(changes: readonly Change[]): Promise<void> {
    await Promise.all(
      changes.map(([secret, entry]) => (entry ? this.#put(secret, entry) : this.#remove(secret))),
    );
    if (this.#writtenBytes >= this.#maxBytes * tidyShare) await this.#tidy();
  }

  async close(): Promise<void> {
    this.#cancelTidy();
    await this.#noting.ended();
    await this.#tidying?.catch(() => {});
    await this.#db.close();
  }

  #remove(secret: string): Promise<number> {
    return this.#db.writing.run('DELETE FROM gateway_keep WHERE key = $1', sealingOf(secret).place);
  }

  /** `replaced`: which entries under the same key it replaces. Answers how many it has written. */
  async #put(secret: string, entry: Entry, replaced = ''): Promise<number> {
    const { place, seal } = sealingOf(secret);
    const size = sizeOf(entry.value);
    const written = await this.#db.writing.run(
      `INSERT INTO gateway_keep (key, size, used_at, expires_at, value) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (key) DO UPDATE SET size = excluded.size, used_at = excluded.used_at,
         expires_at = excluded.expires_at, value = excluded.value ${replaced}`,
      place,
      size,
      this.#clock.now(),
      entry.expiresAt,
      seal(entry.value),
    );
    this.#isChanged = true;
    this.#writtenBytes += size;
    return written;
  }

  #opened(row: Row, unseal: (sealed: Uint8Array) => Uint8Array): Uint8Array | undefined {
    try {
      return unseal(row.value);
    } catch (error) {
      // Changed in the database: as good as not there.
      this.#onFailure(error);
      return undefined;
    }
  }

  #noteUse(place: string, now: number): void {
    const noting = this.#db.writing
      .run('UPDATE gateway_keep SET used_at = $2 WHERE key = $1 AND used_at < $2', place, now)
      .catch(this.#onFailure);
    this.#noting.add(noting);
  }

  #tidyInTurn(): void {
    this.#cancelTidy = this.#clock.after(tidyMs, () => this.#tidyInTurn());
    if (this.#isChanged) this.#tidy().catch(this.#onFailure);
  }

  /** Any instance does it; two together remove the same rows once. */
  #tidy(): Promise<void> {
    this.#tidying ??= this.#removeSome().finally(() => {
      this.#tidying = undefined;
    });
    return this.#tidying;
  }

  async #removeSome(): Promise<void> {
    this.#isChanged = false;
    this.#writtenBytes = 0;
    for (let round = 0; round < mostBatches; round += 1) {
      const removed = await this.#db.writing.run(
        `DELETE FROM gateway_keep WHERE key IN (SELECT key FROM gateway_keep WHERE expires_at <= $1
           ORDER BY expires_at LIMIT ${batch} FOR UPDATE SKIP LOCKED)`,
        this.#clock.now(),
      );
      if (removed < batch) break;
    }
    for (let round = 0; round < mostBatches; round += 1) {
      const found = await this.#db.reading.get<Totals>(
        'SELECT COUNT(*)::bigint AS entries, COALESCE(SUM(size), 0)::bigint AS bytes FROM gateway_keep WHERE used_at > 0',
      );
      if (found) this.#totals = found;
      const excess = this.#totals.bytes - this.#maxBytes;
      if (excess <= 0) return;
      await this.#db.writing.run(
        `DELETE FROM gateway_keep WHERE key IN (
           SELECT key FROM (
             SELECT key, SUM(size) OVER (ORDER BY used_at, key) - size AS before
             FROM (SELECT key, size, used_at FROM gateway_keep ORDER BY used_at, key LIMIT ${batch}) AS oldest
           ) AS running WHERE before < $1)`,
        excess,
      );
    }
  }
}
