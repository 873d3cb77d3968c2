import type { Database, Queries } from '../../db/database.ts';
import type { TablesStep } from '../../db/migrate.ts';
import { type Grant, grantOf, type SliceAsk, type StoredSlice, shareOf } from './slices.ts';

// `name` is meter, window and period of a limit; amounts are whole units of `slices.ts`.
const tables = (whole: string) => `
CREATE TABLE key_limits (
  key_id TEXT NOT NULL,
  name TEXT NOT NULL,
  ends_at ${whole},
  spent ${whole} NOT NULL DEFAULT 0,
  unknown ${whole} NOT NULL DEFAULT 0,
  warned ${whole} NOT NULL DEFAULT 0,
  PRIMARY KEY (key_id, name)
);
CREATE INDEX key_limits_end ON key_limits (ends_at);
CREATE TABLE limit_slices (
  key_id TEXT NOT NULL,
  name TEXT NOT NULL,
  gateway_id TEXT NOT NULL,
  held ${whole} NOT NULL,
  reserved ${whole} NOT NULL,
  spent ${whole} NOT NULL,
  unknown ${whole} NOT NULL,
  PRIMARY KEY (key_id, name, gateway_id)
);
CREATE TABLE limit_gateways (gateway_id TEXT PRIMARY KEY, seen_at ${whole} NOT NULL);
`;

export const limitTables: TablesStep = {
  version: 2,
  name: 'limits',
  sqlite: tables('INTEGER'),
  postgres: tables('BIGINT'),
};

/** A slice of one key's limit, by the names it has in the database. */
export interface AskedSlice extends SliceAsk {
  readonly keyId: string;
  readonly name: string;
  /** Null: the window never ends. */
  readonly endsAt: number | null;
  /** Its key is to be reported when it comes near. */
  readonly isBudget: boolean;
}

/** Beside the grant: the percentage of a budget that was passed with this exchange, and never before in its window. */
export type AnsweredSlice = Grant & { readonly passed: number | undefined };

export interface UsedLimit {
  readonly keyId: string;
  readonly name: string;
  readonly spent: number;
  readonly unknown: number;
  /** By other gateways: of `turns` those that run there, or may. */
  readonly held: number;
}

interface LimitRow {
  readonly keyId: string;
  readonly name: string;
  readonly spent: number;
  readonly unknown: number;
  readonly warned: number;
}
interface SliceRow extends StoredSlice {
  readonly keyId: string;
  readonly name: string;
  readonly gatewayId: string;
}

/** What a gateway holds that was not heard of for so long is for the others. */
const aliveMs = 30_000;
/** Ended windows stay for a turn that ends late. */
const keptMs = 24 * 60 * 60_000;
/** Percentages of a budget that are reported when they are used. */
export const warnings = [100, 80] as const;

/** What is asked of the gateway's database about what keys have used of their limits. */
export function limitVerbs(db: Database) {
  const share = shareOf(db.isShared);

  /** When this gateway was heard of, by the server's clock; where there is one gateway alone it does not matter. */
  async function heartbeat(queries: Queries, gatewayId: string): Promise<number> {
    if (!db.isShared) return 0;
    const row = await queries.get<{ seenAt: number }>(
      `INSERT INTO limit_gateways (gateway_id, seen_at)
       VALUES ($1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint)
       ON CONFLICT (gateway_id) DO UPDATE SET seen_at = excluded.seen_at
       RETURNING seen_at AS "seenAt"`,
      gatewayId,
    );
    return row?.seenAt ?? 0;
  }

  return {
    /** Counts what a gateway has spent and gives it more: all limits in one transaction, answered in the order of the slices. */
    exchangeLimits(gatewayId: string, slices: readonly AskedSlice[]): Promise<AnsweredSlice[]> {
      const names = JSON.stringify(
        slices.map(({ keyId, name, endsAt }) => ({ key_id: keyId, name, ends_at: endsAt })),
      );
      return db.transaction(async (queries) => {
        const seenAt = await heartbeat(queries, gatewayId);
        await queries.run(
          `INSERT INTO key_limits (key_id, name, ends_at)
           SELECT asked.key_id, asked.name, asked.ends_at
           FROM json_to_recordset($1) AS asked (key_id text, name text, ends_at bigint)
           WHERE true ORDER BY 1, 2
           ON CONFLICT (key_id, name) DO NOTHING`,
          names,
        );
        // In one order, so that no two gateways wait for each other; no index has it, or the limits of all keys would be walked in it.
        const limits = await queries.all<LimitRow>(
          `SELECT used.key_id AS "keyId", used.name, used.spent, used.unknown, used.warned
           FROM key_limits AS used JOIN json_to_recordset($1) AS asked (key_id text, name text)
             ON used.key_id = asked.key_id AND used.name = asked.name
           ORDER BY used.key_id || '', used.name FOR UPDATE OF used`,
          names,
        );
        const held = await queries.all<SliceRow>(
          `SELECT slice.key_id AS "keyId", slice.name, slice.held, slice.reserved, slice.spent, slice.unknown,
             slice.gateway_id AS "gatewayId"
           FROM limit_slices AS slice JOIN json_to_recordset($1) AS asked (key_id text, name text)
             ON slice.key_id = asked.key_id AND slice.name = asked.name
           WHERE slice.gateway_id = $2
             OR slice.gateway_id IN (SELECT gateway_id FROM limit_gateways WHERE seen_at > $3)`,
          names,
          gatewayId,
          seenAt - aliveMs,
        );
        const limitOf = new Map(limits.map((row) => [placeOf(row), row]));
        const heldOf = Map.groupBy(held, placeOf);
        const answers = slices.map((ask) => {
          const stored = limitOf.get(placeOf(ask)) ?? unused;
          const rows = heldOf.get(placeOf(ask)) ?? [];
          const mine = rows.find((row) => row.gatewayId === gatewayId);
          const others = rows.filter((row) => row !== mine);
          const grant = grantOf(stored, mine, others, ask, share);
          const percent = ask.isBudget
            ? warnings.find((one) => grant.spent * 100 >= one * ask.limit)
            : undefined;
          const passed = percent !== undefined && percent > stored.warned ? percent : undefined;
          return { ...grant, passed, warned: passed ?? stored.warned };
        });
        const rows = slices.map(({ keyId, name, keeps, reserved, spent, unknown }, at) => {
          const { extra = 0, ...limit } = answers[at] ?? {};
          return { key_id: keyId, name, held: keeps + extra, reserved, spent, unknown, limit };
        });
        await queries.run(
          `UPDATE key_limits AS used SET spent = said.spent, unknown = said.unknown, warned = said.warned
           FROM json_to_recordset($1) AS said (key_id text, name text, spent bigint, unknown bigint, warned bigint)
           WHERE used.key_id = said.key_id AND used.name = said.name`,
          JSON.stringify(rows.map(({ key_id, name, limit }) => ({ ...limit, key_id, name }))),
        );
        await queries.run(
          `INSERT INTO limit_slices (key_id, name, gateway_id, held, reserved, spent, unknown)
           SELECT said.key_id, said.name, $2, said.held, said.reserved, said.spent, said.unknown
           FROM json_to_recordset($1) AS said (key_id text, name text, held bigint, reserved bigint, spent bigint, unknown bigint)
           WHERE true
           ON CONFLICT (key_id, name, gateway_id) DO UPDATE SET held = excluded.held,
             reserved = excluded.reserved, spent = excluded.spent, unknown = excluded.unknown`,
          JSON.stringify(rows.map(({ limit: _limit, ...row }) => row)),
          gatewayId,
        );
        return answers;
      });
    },

    /** What keys have used of the limits with these names, and what other gateways hold of them. */
    usedLimits(gatewayId: string, keyIds: readonly string[]): Promise<UsedLimit[]> {
      return db.reading.all<UsedLimit>(
        `SELECT used.key_id AS "keyId", used.name, used.spent, used.unknown,
           COALESCE((
             SELECT SUM(slice.held) FROM limit_slices AS slice
             WHERE slice.key_id = used.key_id AND slice.name = used.name AND slice.gateway_id <> $2
               AND slice.gateway_id IN (
                 SELECT gateway_id FROM limit_gateways
                 WHERE seen_at > (SELECT MAX(seen_at) FROM limit_gateways) - $3)
           ), 0)::bigint AS held
         FROM key_limits AS used WHERE used.key_id = ANY ($1)`,
        keyIds,
        gatewayId,
        aliveMs,
      );
    },

    /** A gateway that stops has given back what it held. */
    async forgetGateway(gatewayId: string): Promise<void> {
      await db.transaction(async (queries) => {
        await queries.run('DELETE FROM limit_slices WHERE gateway_id = $1', gatewayId);
        await queries.run('DELETE FROM limit_gateways WHERE gateway_id = $1', gatewayId);
      });
    },

    /** Removes windows that ended long ago, and slices of gateways that are gone. */
    async pruneLimits(gatewayId: string, now: number): Promise<void> {
      const before = now - keptMs;
      await db.transaction(async (queries) => {
        await queries.run('DELETE FROM key_limits WHERE ends_at < $1', before);
        await queries.run(
          'DELETE FROM limit_gateways WHERE seen_at < $1 AND gateway_id <> $2',
          before,
          gatewayId,
        );
        await queries.run(
          `DELETE FROM limit_slices WHERE gateway_id <> $1
             AND gateway_id NOT IN (SELECT gateway_id FROM limit_gateways)`,
          gatewayId,
        );
        await queries.run(
          `DELETE FROM limit_slices WHERE NOT EXISTS (
             SELECT 1 FROM key_limits AS used
             WHERE used.key_id = limit_slices.key_id AND used.name = limit_slices.name)`,
        );
      });
    },
  };
}

const unused = { spent: 0, unknown: 0, warned: 0 };

function placeOf({ keyId, name }: { readonly keyId: string; readonly name: string }): string {
  return `${keyId}/${name}`;
}
