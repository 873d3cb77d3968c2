import type { Database, Queries } from '../../db/database.ts';
import type { TablesStep } from '../../db/migrate.ts';
import type { KeyBudget, KeyLimits, ManagedKey } from './client-key.ts';

/** `whole` is the type of a whole number that may be large. */
const tables = (whole: string, end: string) => `
  CREATE TABLE client_keys (
    key_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT,
    prefix TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    former_digest TEXT,
    former_until ${whole},
    client_id TEXT NOT NULL UNIQUE,
    models TEXT,
    providers TEXT,
    labels TEXT,
    limits TEXT NOT NULL,
    expires_at ${whole},
    is_enabled INTEGER NOT NULL,
    revoked_at ${whole},
    created_at ${whole} NOT NULL,
    last_used_at ${whole},
    number ${whole} NOT NULL UNIQUE,
    revision ${whole} NOT NULL UNIQUE
  )${end};
  CREATE INDEX client_keys_name ON client_keys (name);
  CREATE UNIQUE INDEX client_keys_live_name ON client_keys (name) WHERE revoked_at IS NULL;
  CREATE TABLE key_revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision ${whole} NOT NULL
  )${end};
  INSERT INTO key_revision VALUES (1, 0);
`;

export const keyTables: TablesStep = {
  version: 1,
  name: 'keys',
  sqlite: tables('INTEGER', ' STRICT'),
  postgres: tables('BIGINT', ''),
};

/** A managed key as its row has it. Of its secret only the digest is stored. */
export interface StoredKey extends ManagedKey {
  /** How the secret begins, for people. */
  readonly prefix: string;
  readonly digest: string;
  /** Of the secret before the last rotation, which is good until `formerUntil`. */
  readonly formerDigest: string | null;
  readonly formerUntil: number | null;
  /** `ClientKey.id` */
  readonly clientId: string;
  readonly revokedAt: number | null;
  readonly createdAt: number;
  readonly lastUsedAt: number | null;
  /** Counts the keys that were made, in order. */
  readonly number: number;
}

export type NewKey = Omit<
  StoredKey,
  'formerDigest' | 'formerUntil' | 'revokedAt' | 'lastUsedAt' | 'number' | 'revision'
>;

type Changeable =
  | 'name'
  | 'owner'
  | 'models'
  | 'providers'
  | 'labels'
  | 'expiresAt'
  | 'isEnabled'
  | 'revokedAt';

/** What is undefined stays; null takes one limit away, or all of them. */
export type KeyChange = { readonly [Name in Changeable]?: StoredKey[Name] | undefined } & {
  readonly limits?: LimitsChange | null | undefined;
};

type LimitsChange = {
  readonly [Name in Exclude<keyof KeyLimits, 'budgets'>]?: KeyLimits[Name] | null | undefined;
} & { readonly budgets?: readonly KeyBudget[] | null | undefined };

export type KeyFault = 'not_found' | 'name_taken' | 'revoked';
export type KeyWritten = { readonly key: StoredKey } | { readonly fault: KeyFault };

/** By the names of the columns: those of the key's fields in snake case. */
type Row = Readonly<Record<string, string | number | null>>;

/** Kept as JSON. */
const lists: ReadonlySet<string> = new Set<keyof StoredKey>(['models', 'providers', 'labels', 'limits']);

export function keyVerbs(db: Database) {
  return {
    /** All keys that have changed since a revision, those changed last at the end; 0: all there are. */
    async keysSince(revision: number): Promise<readonly StoredKey[]> {
      const rows = await db.reading.all<Row>(
        'SELECT * FROM client_keys WHERE revision > $1 ORDER BY revision',
        revision,
      );
      return rows.map(keyOf);
    },

    /** By its id, or by its name: of keys that had the same, the one that is not revoked, else the newest. */
    async findKey(idOrName: string): Promise<StoredKey | undefined> {
      const row = await db.reading.get<Row>(
        `SELECT * FROM client_keys WHERE key_id = $1 OR name = $1
         ORDER BY (CASE WHEN key_id = $1 THEN 0 WHEN revoked_at IS NULL THEN 1 ELSE 2 END), number DESC LIMIT 1`,
        idOrName,
      );
      return row && keyOf(row);
    },

    /** The newest first. `before`: the number of the last one seen. */
    async keyPage(query: {
      readonly limit: number;
      readonly before: number | undefined;
      readonly withRevoked: boolean;
    }): Promise<readonly StoredKey[]> {
      const rows = await db.reading.all<Row>(
        `SELECT * FROM client_keys WHERE number < $1 ${query.withRevoked ? '' : 'AND revoked_at IS NULL'}
         ORDER BY number DESC LIMIT $2`,
        query.before ?? Number.MAX_SAFE_INTEGER,
        query.limit,
      );
      return rows.map(keyOf);
    },

    createKey(given: NewKey): Promise<KeyWritten> {
      return changing(db, async (queries, revision) => {
        if (await isTaken(queries, given.name, given.keyId)) return { fault: 'name_taken' };
        const key: StoredKey = {
          ...given,
          formerDigest: null,
          formerUntil: null,
          revokedAt: null,
          lastUsedAt: null,
          number: revision,
          revision,
        };
        await write(queries, key);
        return { key };
      });
    },

    changeKey(keyId: string, { limits, ...change }: KeyChange): Promise<KeyWritten> {
      return changing(db, async (queries, revision) => {
        const found = await changeable(queries, keyId);
        if ('fault' in found) return found;
        const { key } = found;
        if (change.name !== undefined && (await isTaken(queries, change.name, keyId)))
          return { fault: 'name_taken' };
        const changed = { ...key, ...given(change), limits: changedLimits(key.limits, limits), revision };
        await write(queries, changed);
        return { key: changed };
      });
    },

    /** Another secret; the one it had stays good until `formerUntil`. */
    rotateKey(
      keyId: string,
      secret: Pick<StoredKey, 'digest' | 'prefix' | 'formerUntil'>,
    ): Promise<KeyWritten> {
      return changing(db, async (queries, revision) => {
        const found = await changeable(queries, keyId);
        if ('fault' in found) return found;
        const changed = { ...found.key, ...secret, formerDigest: found.key.digest, revision };
        await write(queries, changed);
        return { key: changed };
      });
    },

    /** A key's last use moves forward only: other gateways note theirs. */
    async noteKeyUse(uses: readonly { readonly key_id: string; readonly at: number }[]): Promise<void> {
      await db.writing.run(
        `UPDATE client_keys SET last_used_at = uses.at
         FROM json_to_recordset($1::json) AS uses (key_id text, at bigint)
         WHERE client_keys.key_id = uses.key_id AND (last_used_at IS NULL OR last_used_at < uses.at)`,
        JSON.stringify(uses),
      );
    },
  };
}

/**
 * One change of keys, durably. The revision is taken first, and its row stays locked until the end: changes come one after
 * another, are seen in the order of their revisions, and no two give the same name. One that finds a fault changes nothing.
 */
function changing(
  db: Database,
  task: (queries: Queries, revision: number) => Promise<KeyWritten>,
): Promise<KeyWritten> {
  return db.transaction(
    async (queries) => {
      const counter = await queries.get<{ revision: number }>(
        'UPDATE key_revision SET revision = revision + 1 RETURNING revision',
      );
      if (!counter) throw new Error('The counter of changes is missing from the database of the gateway.');
      return task(queries, counter.revision);
    },
    { durable: true },
  );
}

async function changeable(queries: Queries, keyId: string): Promise<KeyWritten> {
  const row = await queries.get<Row>('SELECT * FROM client_keys WHERE key_id = $1', keyId);
  if (!row) return { fault: 'not_found' };
  const key = keyOf(row);
  return key.revokedAt === null ? { key } : { fault: 'revoked' };
}

async function isTaken(queries: Queries, name: string, keyId: string): Promise<boolean> {
  const other = await queries.get(
    'SELECT 1 AS taken FROM client_keys WHERE name = $1 AND revoked_at IS NULL AND key_id <> $2',
    name,
    keyId,
  );
  return other !== undefined;
}

/** A new key, or one as it is now. */
async function write(queries: Queries, key: StoredKey): Promise<void> {
  // Its last use is noted beside changes.
  const { lastUsedAt: _lastUse, ...written } = key;
  const row = rowOf(written);
  const names = Object.keys(row);
  await queries.run(
    `INSERT INTO client_keys (${names.join(', ')}) VALUES (${names.map((_name, at) => `$${at + 1}`).join(', ')})
     ON CONFLICT (key_id) DO UPDATE SET ${names.map((name) => `${name} = excluded.${name}`).join(', ')}`,
    ...Object.values(row),
  );
}

function changedLimits(limits: KeyLimits, change: LimitsChange | null = {}): KeyLimits {
  if (change === null) return { budgets: [] };
  const { budgets, ...rates } = { ...limits, ...given(change) };
  const kept = Object.entries(rates).filter(([, value]) => value !== null);
  return { ...Object.fromEntries(kept), budgets: budgets ?? [] };
}

function given<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> } {
  const set = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set) as { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };
}

function keyOf(row: Row): StoredKey {
  const fields = Object.entries(row).map(([column, value]) => {
    const name = column.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
    if (name === 'isEnabled') return [name, value === 1];
    return [name, lists.has(name) && value !== null ? JSON.parse(String(value)) : value];
  });
  return Object.fromEntries(fields) as StoredKey;
}

function rowOf(key: Partial<StoredKey>): Row {
  const columns = Object.entries(key).map(([name, value]) => {
    const column = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (name === 'isEnabled') return [column, value ? 1 : 0];
    return [column, lists.has(name) && value !== null ? JSON.stringify(value) : value];
  });
  return Object.fromEntries(columns) as Row;
}
