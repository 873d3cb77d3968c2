import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { backoffMs } from '../lib/backoff.ts';
import { DatabaseError, thisCommand } from './database.ts';
import { cannotOpen } from './postgres-errors.ts';
import type { ServerReach } from './server-reach.ts';

export interface Listening {
  close(): Promise<void>;
}

/** A connection of its own that hears a channel and holds the database; throws DatabaseError. */
export async function listen(
  settings: pg.ClientConfig,
  place: string,
  hearing: {
    readonly channel: string;
    readonly hold: 'shared' | 'exclusive';
    onNews(payload: string): void;
    onGap(): void;
    /** Of the connection. */
    lost(error: unknown): void;
    readonly reach: ServerReach;
  },
): Promise<Listening> {
  let isClosed = false;
  let present: pg.Client | undefined;
  const stopped = new AbortController();

  const connect = async (): Promise<void> => {
    const client = new pg.Client({ ...settings, application_name: holderName() });
    let isOver = false;
    const lose = (error?: unknown): void => {
      if (isOver) return;
      isOver = true;
      if (error !== undefined && !isClosed) hearing.lost(error);
      if (present === client) {
        present = undefined;
        void reconnect();
      }
    };
    client.on('error', lose);
    client.on('end', () => lose());
    client.on('notification', ({ payload }) => hearing.onNews(payload ?? ''));
    try {
      await client.connect();
      await holdDatabase(client, place, hearing.hold);
      await client.query(`LISTEN ${client.escapeIdentifier(hearing.channel)}`);
    } catch (error) {
      isOver = true;
      await client.end().catch(() => {});
      throw error;
    }
    if (isClosed || isOver) {
      await client.end().catch(() => {});
      if (isOver && !isClosed) throw new Error('Connection terminated while it was made');
      return;
    }
    present = client;
  };
  const reconnect = async (): Promise<void> => {
    for (let tries = 0; !isClosed; tries += 1) {
      try {
        await hearing.reach.whenBack();
        await sleep(backoffMs(tries, 50, 5000), undefined, { signal: stopped.signal, ref: false });
        await connect();
        if (!isClosed) hearing.onGap();
        return;
      } catch (error) {
        if (!isClosed) hearing.lost(error);
      }
    }
  };

  try {
    await connect();
  } catch (error) {
    throw error instanceof DatabaseError ? error : cannotOpen(place, error);
  }
  return {
    async close() {
      isClosed = true;
      stopped.abort();
      const client = present;
      present = undefined;
      // An unreachable server would let this wait; closing the database ends it anyway.
      client?.end().catch(() => {});
    },
  };
}

/** Any number that no other program takes for its advisory lock. */
export const heldNumber = 8_019_801_821;

/** By which others that want the database see who has it. */
const holderName = (): string => `${thisCommand()}, process ${process.pid}`;

/** Of the processes that hold the lock of this number. */
export const holdersQuery = `SELECT DISTINCT application_name || COALESCE(' at ' || host(client_addr), '') AS holder
  FROM pg_locks JOIN pg_stat_activity USING (pid)
  WHERE locktype = 'advisory' AND objsubid = 1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = $1::bigint`;

/** Takes the database's lock for as long as the connection lasts. */
async function holdDatabase(client: pg.Client, place: string, hold: 'shared' | 'exclusive'): Promise<void> {
  const take = hold === 'shared' ? 'pg_try_advisory_lock_shared' : 'pg_try_advisory_lock';
  const { rows } = await client.query<{ is_held: boolean }>(`SELECT ${take}($1::bigint) AS is_held`, [
    heldNumber,
  ]);
  if (rows[0]?.is_held === true) return;
  const holders = await client.query<{ holder: string }>(holdersQuery, [heldNumber]);
  const named = holders.rows.map(({ holder }) => holder).join('; ') || 'Another process';
  throw new DatabaseError(
    'database_in_use',
    hold === 'shared'
      ? `${named} has the database ${place} for itself, for the time of a key rotation: try again after it.`
      : `The database ${place} is in use by ${named}: stop every service that uses it first.`,
  );
}
