import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { backoffMs } from '../lib/backoff.ts';
import { type Database, DatabaseError, type Queries, type Value } from './database.ts';
import {
  cannotOpen,
  codeOf,
  isAnswer,
  isConnectionLoss,
  isNotSent,
  isPlanOld,
  isReadOnly,
  isRolledBack,
  isTooSlow,
  takesNoChanges,
  unreachable,
} from './postgres-errors.ts';
import { heldNumber, holdersQuery, type Listening, listen } from './postgres-listen.ts';
import { ServerReach } from './server-reach.ts';

export interface PostgresQueries extends Queries {
  /** Several statements without values, one after the other. For those that may take long; see `statement_timeout`. */
  script(sql: string): Promise<void>;
}

/**
 * A PostgreSQL database. Every call outlives a server that restarts: it waits up to `patienceMs` for it and then
 * rejects with DatabaseError `database_unreachable`. While the server is known to be away it rejects immediately.
 * What may have been committed is never sent twice.
 */
export type Postgres = Awaited<ReturnType<typeof openPostgres>>;

export interface PostgresOptions {
  /** How long a call waits for a server that is away. */
  readonly patienceMs?: number;
  readonly connections?: number;
  /** The variable that holds the URL, for messages. */
  readonly setting?: string;
  /** Set on every connection, by name: how statements are planned, for instance. */
  readonly settings?: Readonly<Record<string, string>>;
  /** What went wrong between calls; of one outage its beginning, and that it lasts. */
  onTrouble?(error: unknown): void;
  /** The server answers again after an outage that calls had to hear of. */
  onBack?(awayForMs: number): void;
}

const connectLimitMs = 5000;
/** Connections that nothing has passed for so long are tested, so that one which a firewall forgot is noticed. */
const keepAliveAfterMs = 10_000;
/** An unreachable server does not answer a goodbye. */
const closeLimitMs = 2000;
/** The server gives up a statement after this time, so that none goes on holding locks for a caller that has gone. */
const statementLimitMs = 20_000;
/** Beyond this a server or the way to it is taken for dead. */
const queryLimitMs = 25_000;
/** What is run as a script may change large tables. */
const scriptLimitMs = 30 * 60_000;
/** Locks of an instance that has frozen must not outlive it for long. */
const idleInTransactionMs = 15_000;
const limits = {
  statement_timeout: String(statementLimitMs),
  idle_in_transaction_session_timeout: String(idleInTransactionMs),
};
const mostTries = 30;
const int8 = 20;

type Attempt<T> = (client: pg.PoolClient, sent: { isSent: boolean }) => Promise<T>;

/** Connects once to see that it can. Throws DatabaseError with what to do. */
export async function openPostgres(url: string, options: PostgresOptions = {}) {
  const { patienceMs = 5000, connections = 10, setting = 'DATABASE_URL', onTrouble = () => {} } = options;
  const settings = connectionSettings(url, setting);
  const place = placeOf(settings, setting);
  const sockets = new Set<Socket>();
  const newSocket = (): Socket => {
    const socket = new Socket();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const dropConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  let isOpen = false;
  let isClosed = false;

  const reach = new ServerReach({
    async look() {
      // While all connections are at slow statements, only one more tells whether the server is there.
      const isFull = pool.idleCount === 0 && pool.totalCount >= connections;
      if (!reach.isAway && !isFull) return ask(await pool.connect());
      const client = new pg.Client({ ...settings, stream: newSocket });
      client.on('error', () => {});
      try {
        await client.connect();
        await client.query('SELECT 1');
      } finally {
        client.end().catch(() => {});
      }
    },
    onAway(cause) {
      // Calls that wait for an answer hear now that none will come.
      dropConnections();
      if (isOpen) onTrouble(unreachable(place, cause, setting));
    },
    onBack: (awayForMs) => options.onBack?.(awayForMs),
  });
  const lost = (error: unknown): void => {
    if (isClosed) return;
    if (reach.isReachable && isOpen) onTrouble(error);
    reach.failed(error);
  };

  const pool = new pg.Pool({
    ...settings,
    stream() {
      const socket = newSocket();
      if (reach.isAway || isClosed) process.nextTick(() => socket.destroy());
      return socket;
    },
    max: connections,
    idleTimeoutMillis: 60_000,
    async onConnect(client: pg.ClientBase) {
      // The pool hears only idle ones; an error that nobody hears ends the process.
      client.on('error', lost);
      await prepareConnection(client, { ...limits, ...options.settings });
    },
  } as pg.PoolConfig);
  pool.on('error', lost);

  /** `isSafe`: may be sent again although it may have had its effect. */
  const withClient = async <T>(attempt: Attempt<T>, isSafe: boolean): Promise<T> => {
    const deadline = performance.now() + patienceMs;
    for (let tries = 1; ; tries += 1) {
      if (reach.isAway || isClosed)
        throw unreachable(place, reach.failure ?? new Error('it is closed here'), setting);
      const sent = { isSent: false };
      let client: pg.PoolClient | undefined;
      try {
        client = await pool.connect();
        const answer = await attempt(client, sent);
        reach.answered();
        client.release();
        return answer;
      } catch (error) {
        // Whatever the server has against a further connection, it may be over soon: a limit, a changed password.
        const isLost = isConnectionLoss(error) || (client === undefined && isOpen);
        // A server that takes no changes may have become a standby: a new connection may find the other one.
        client?.release(isLost || isPlanOld(error) || isReadOnly(error));
        if (isLost) lost(error);
        else if (isAnswer(error)) reach.answered();
        if (isLost) {
          const mayHaveHappened = sent.isSent && !isSafe && !isNotSent(error);
          if (mayHaveHappened || performance.now() >= deadline) throw unreachable(place, error, setting);
          await sleep(backoffMs(tries, 25, 500));
        } else if (isTooSlow(error)) {
          onTrouble(error);
          throw unreachable(place, error, setting);
        } else if (isReadOnly(error)) {
          throw takesNoChanges(place, error);
        } else if (isRolledBack(error) && tries < mostTries) {
          await sleep(Math.random() * Math.min(50, 2 * tries));
        } else if (!isPlanOld(error) || tries >= mostTries) {
          throw error;
        }
      }
    }
  };

  const single = (isSafe: boolean): PostgresQueries =>
    queriesOver((query) =>
      withClient((client, sent) => {
        sent.isSent = true;
        return client.query(query);
      }, isSafe),
    );

  const close = async (): Promise<void> => {
    isClosed = true;
    reach.close();
    if (!reach.isReachable) dropConnections();
    const ended = Promise.all([
      pool.end(),
      ...[...sockets].map((socket) => once(socket, 'close', { signal: AbortSignal.timeout(closeLimitMs) })),
    ]);
    await ended.catch(() => {});
    dropConnections();
  };

  try {
    await withClient((client) => client.query('SELECT 1'), true);
    isOpen = true;
  } catch (error) {
    await close();
    const cause = error instanceof DatabaseError ? error.cause : error;
    throw cannotOpen(place, cause, setting);
  }

  return {
    isShared: true,
    /** Host, port and database, without a password. */
    place,
    /** The processes that hold the database's lock now, this one too. */
    async holders(): Promise<readonly string[]> {
      const rows = await single(true).all<{ holder: string }>(holdersQuery, heldNumber);
      return rows.map(({ holder }) => holder);
    },
    /** Whether the server has answered within the last seconds, asked for that where no call did. */
    get isReachable(): boolean {
      return reach.isReachable;
    },
    /** One statement that changes nothing: sent again when its connection was lost. */
    reading: single(true),
    /** One statement, a transaction of its own: sent again only when it surely had no effect. */
    writing: single(false),
    /** Run again from its start after a deadlock, a TryAgain, or a connection lost before the commit was sent. */
    transaction: <T>(task: (queries: PostgresQueries) => Promise<T>): Promise<T> =>
      withClient(async (client, sent) => {
        await client.query('BEGIN');
        try {
          const answer = await task(queriesOver((query) => client.query(query)));
          sent.isSent = true;
          await client.query('COMMIT');
          return answer;
        } catch (error) {
          // After a failed COMMIT there is nothing to roll back, and a lost connection has rolled back by itself.
          if (!isConnectionLoss(error)) await client.query('ROLLBACK');
          throw error;
        }
      }, false),
    /**
     * A connection of its own that listens on a channel and is made again when lost; `onGap` after news may have been missed.
     * It also holds the database's lock, with others or alone: throws DatabaseError `database_in_use` when it cannot.
     */
    listen: (
      channel: string,
      onNews: (payload: string) => void,
      onGap: () => void,
      hold: 'shared' | 'exclusive' = 'shared',
    ): Promise<Listening> =>
      listen({ ...settings, stream: newSocket }, place, { channel, hold, onNews, onGap, lost, reach }),
    /** Ends within seconds, whatever the server does. */
    close,
  } satisfies Database & Record<string, unknown>;
}

/** Any answer shows that the server is there. */
async function ask(client: pg.PoolClient): Promise<void> {
  let isAnswered = false;
  try {
    await client.query('SELECT 1');
    isAnswered = true;
  } finally {
    client.release(!isAnswered);
  }
}

function queriesOver(send: (query: pg.QueryConfig) => Promise<pg.QueryResult>): PostgresQueries {
  const ask = (sql: string, values: Value[]) => send(statement(sql, values));
  return {
    all: async <Row>(sql: string, ...values: Value[]) => (await ask(sql, values)).rows as Row[],
    get: async <Row>(sql: string, ...values: Value[]) => (await ask(sql, values)).rows[0] as Row | undefined,
    run: async (sql, ...values) => (await ask(sql, values)).rowCount ?? 0,
    script: async (sql) => void (await send({ text: sql, query_timeout: scriptLimitMs } as pg.QueryConfig)),
  };
}

const names = new Map<string, string>();
const mostNames = 500;

/** A name lets each connection prepare the statement once; the same text has the same name in every process. */
function statement(sql: string, values: Value[]): pg.QueryConfig {
  let name = names.get(sql);
  if (name === undefined && names.size < mostNames) {
    name = createHash('sha256').update(sql).digest('base64url').slice(0, 22);
    names.set(sql, name);
  }
  return { text: sql, values: values.map(storable), ...(name === undefined ? {} : { name }) };
}

/** A text of PostgreSQL holds no NUL, and a value with one fails its statement. No row has it, so what it names is not there. */
function storable(value: Value): Value {
  if (typeof value === 'string') return withoutNul(value);
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  return value.map((each) => (typeof each === 'string' ? withoutNul(each) : each));
}

const withoutNul = (text: string): string => text.replaceAll('\0', '\uFFFD');

async function prepareConnection(
  client: pg.ClientBase,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  // A server may be set to lose the last commits in a crash; what the pool has committed must stay.
  await client.query(
    `SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') IN ('off', 'local')`,
  );
  // Not as parameters of the connection: poolers refuse those they do not know.
  await client.query(
    'SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS given (name, value)',
    [Object.keys(settings), Object.values(settings)],
  );
}

function connectionSettings(url: string, setting: string): pg.ClientConfig {
  // Passwords may hold anything: what the parser says about a bad URL is not shown, for it shows the URL.
  if (!URL.canParse(url.replace(/^(postgres(?:ql)?:\/\/[^/?]*)@\//, '$1@localhost/'))) {
    throw new DatabaseError(
      'database_unusable',
      `${setting} is no URL: write postgres://user:password@host:5432/database, and percent-encode what is special in the password.`,
    );
  }
  return {
    connectionString: url,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveAfterMs,
    connectionTimeoutMillis: connectLimitMs,
    query_timeout: queryLimitMs,
    application_name: 'warp2api',
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === int8
          ? Number
          : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
    },
  };
}

function placeOf(settings: pg.ClientConfig, setting: string): string {
  try {
    const { host, port, database, user } = new pg.Client(settings);
    return `${database ?? user} at ${host}:${port}`;
  } catch (error) {
    // The cause is left out: it may show the URL.
    throw new DatabaseError(
      'database_unusable',
      `${setting} cannot be used (${codeOf(error) || 'bad URL'}).`,
    );
  }
}
