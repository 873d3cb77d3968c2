import type { Migration } from '../../db/migrate.ts';
import { openPostgres } from '../../db/postgres.ts';
import { migratePostgres } from '../../db/postgres-migrate.ts';
import type { Clock } from '../../lib/clock.ts';
import { type Entry, maxEntryBytes, type OpenKeep, sizeOf } from './keep.ts';

const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'entries',
    // Sealed bytes do not shrink, so nobody need try.
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

/** The pool may keep its tables in the same database. */
const migrationsTable = 'gateway_keep_migrations';

/** Plans are made while the table is empty and kept. A crash of the server may take the last commits: they may be lost. */
const planning = { enable_seqscan: 'off', jit: 'off', synchronous_commit: 'off' };
const connections = 4;
/** A turn does not wait for a database that is away. */
const patienceMs = 300;
/** What may wait to be written before more is refused. */
const maxPendingBytes = 64 * 1024 * 1024;
/** Uses within this time are one. */
const useMs = 60_000;
const tidyMs = 60_000;
/** After so much of the whole was written, what is too much goes. */
const tidyShare = 1 / 16;
const batch = 200;
const mostBatches = 50;

interface Row {
  readonly value: Uint8Array;
  readonly used_at: number;
  readonly expires_at: number;
}

export interface PostgresKeepOptions {
  readonly clock: Clock;
  /** Of all instances together. */
  readonly maxBytes: number;
  /** What went wrong between calls. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Keeps entries in a PostgreSQL database that several gateways share. A claim is one statement, so of all instances one
 * gets the entry. A put answers once it is written; calls of this instance about the same key wait for it, those of
 * another one may come too early by the time one statement takes. Throws DatabaseError.
 */
export async function openPostgresKeep(url: string, options: PostgresKeepOptions): Promise<OpenKeep> {
  const { clock, maxBytes, onFailure } = options;
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

  const puts = new Map<string, Promise<void>>();
  /** What nobody waits for but the end. */
  const background = new Set<Promise<unknown>>();
  let pendingBytes = 0;
  let writtenBytes = 0;
  let isChanged = true;
  let totals = { entries: 0, bytes: 0 };
  let tidying: Promise<void> | undefined;
  let cancelTidy = clock.after(tidyMs, tidyInTurn);

  function tidyInTurn(): void {
    cancelTidy = clock.after(tidyMs, tidyInTurn);
    if (isChanged) tidy().catch(onFailure);
  }

  /** Any instance does it; two at once remove the same rows once. */
  function tidy(): Promise<void> {
    tidying ??= removeSome().finally(() => {
      tidying = undefined;
    });
    return tidying;
  }

  async function removeSome(): Promise<void> {
    isChanged = false;
    writtenBytes = 0;
    for (let round = 0; round < mostBatches; round += 1) {
      const removed = await db.writing.run(
        `DELETE FROM gateway_keep WHERE key IN (SELECT key FROM gateway_keep WHERE expires_at <= $1
           ORDER BY expires_at LIMIT ${batch} FOR UPDATE SKIP LOCKED)`,
        clock.now(),
      );
      if (removed < batch) break;
    }
    for (let round = 0; round < mostBatches; round += 1) {
      await count();
      const excess = totals.bytes - maxBytes;
      if (excess <= 0) return;
      await db.writing.run(
        `DELETE FROM gateway_keep WHERE key IN (
           SELECT key FROM (
             SELECT key, SUM(size) OVER (ORDER BY used_at, key) - size AS before
             FROM (SELECT key, size, used_at FROM gateway_keep ORDER BY used_at, key LIMIT ${batch}) AS oldest
           ) AS running WHERE before < $1)`,
        excess,
      );
    }
  }

  async function count(): Promise<void> {
    const found = await db.reading.get<{ entries: number; bytes: number }>(
      'SELECT COUNT(*)::bigint AS entries, COALESCE(SUM(size), 0)::bigint AS bytes FROM gateway_keep WHERE used_at > 0',
    );
    if (found) totals = found;
  }

  async function write(key: string, entry: Entry): Promise<void> {
    await db.writing.run(
      `INSERT INTO gateway_keep (key, size, used_at, expires_at, value) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (key) DO UPDATE SET size = excluded.size, used_at = excluded.used_at,
         expires_at = excluded.expires_at, value = excluded.value`,
      key,
      sizeOf(entry.value),
      clock.now(),
      entry.expiresAt,
      entry.value,
    );
    isChanged = true;
    writtenBytes += sizeOf(entry.value);
    if (writtenBytes >= maxBytes * tidyShare) await tidy();
  }

  async function remove(key: string): Promise<Row | undefined> {
    return await db.writing.get<Row>(
      'DELETE FROM gateway_keep WHERE key = $1 RETURNING value, used_at, expires_at',
      key,
    );
  }

  /** What became of it is its caller's matter. */
  const settled = async (key: string): Promise<void> => void (await puts.get(key)?.catch(() => {}));

  async function inOrder(key: string, entry: Entry): Promise<void> {
    const size = sizeOf(entry.value);
    await settled(key);
    if (size > maxBytes || entry.value.length > maxEntryBytes) return void (await remove(key));
    if (pendingBytes + size > maxPendingBytes) throw new Error('the database does not keep up with the keep');
    pendingBytes += size;
    try {
      await write(key, entry);
    } finally {
      pendingBytes -= size;
    }
  }

  return {
    async get(key) {
      await settled(key);
      const now = clock.now();
      const row = await db.reading.get<Row>(
        'SELECT value, used_at, expires_at FROM gateway_keep WHERE key = $1 AND expires_at > $2',
        key,
        now,
      );
      if (row && now - row.used_at >= useMs) {
        const noting = db.writing
          .run('UPDATE gateway_keep SET used_at = $2 WHERE key = $1 AND used_at < $2', key, now)
          .catch(onFailure)
          .finally(() => background.delete(noting));
        background.add(noting);
      }
      return row?.value;
    },

    put(key, value, ttlMs) {
      const entry = { value, expiresAt: clock.now() + ttlMs };
      const writing = inOrder(key, entry).finally(() => {
        if (puts.get(key) === writing) puts.delete(key);
      });
      puts.set(key, writing);
      return writing;
    },

    async claim(key) {
      await settled(key);
      const row = await remove(key);
      return row && row.expires_at > clock.now() ? row.value : undefined;
    },

    figures: () => ({
      store: 'postgres',
      isReachable: db.isReachable,
      ...totals,
      unwritten: puts.size + background.size,
      isWritable: true,
    }),

    async close() {
      cancelTidy();
      await Promise.allSettled([...puts.values(), ...background]);
      await tidying?.catch(() => {});
      await db.close();
    },
  };
}
