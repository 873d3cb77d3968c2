import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { TryAgain } from './database.ts';
import { type Migration, migratePostgres } from './migrate.ts';
import { openPostgres, type Postgres, type PostgresOptions } from './postgres.ts';
import { type PostgresServer, startPostgresServer } from './testing/postgres-server.ts';

type TestServer = PostgresServer & { readonly database: string };

let shared: PostgresServer;
let databases = 0;
beforeAll(async () => {
  shared = await startPostgresServer();
});
afterAll(() => shared.dispose());

/** The file's server, for stopping and starting, with a database of its own for the test. */
async function startServer(): Promise<TestServer> {
  databases += 1;
  const database = `test_${databases}`;
  const maintenance = await openPostgres(shared.url('postgres'));
  await maintenance.writing.script(`CREATE DATABASE ${database}`);
  await maintenance.close();
  return { ...shared, database };
}

async function open(server: TestServer, options: PostgresOptions = {}): Promise<Postgres> {
  const db = await openPostgres(server.url(server.database), options);
  onTestFinished(() => db.close());
  return db;
}

async function openWithCount(server: TestServer, options: PostgresOptions = {}): Promise<Postgres> {
  const db = await open(server, options);
  await db.writing.script('CREATE TABLE counts (id integer PRIMARY KEY, n bigint NOT NULL)');
  await db.writing.script('INSERT INTO counts VALUES (1, 0), (2, 0)');
  return db;
}

const add = (id: number) => `UPDATE counts SET n = n + 1 WHERE id = ${id}`;

describe('a PostgreSQL database', () => {
  it('lets calls wait through a restart of the server, none lost and none done twice', async () => {
    const server = await startServer();
    // On a busy machine the restart may take so long that calls find it unreachable.
    let wasAway = false;
    const db = await openWithCount(server, { patienceMs: 60_000, onBack: () => (wasAway = true) });
    let done = 0;
    let unsure = 0;
    let isOver = false;
    const callers = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        try {
          await db.transaction((queries) => queries.run(add(1)));
          done += 1;
        } catch (error) {
          // Its commit was on the way when the server went: the one case nobody can know.
          expect(error).toMatchObject({ code: 'database_unreachable' });
          unsure += 1;
          await sleep(10);
        }
      }
    });
    await sleep(200);
    await server.stop();
    await server.start();
    const before = done;
    await vi.waitFor(() => expect(done).toBeGreaterThan(before + 20));
    isOver = true;
    await Promise.all(callers);
    const counted = await db.reading.get<{ n: number }>('SELECT n FROM counts WHERE id = 1');
    expect(counted?.n).toBeGreaterThanOrEqual(done);
    expect(counted?.n).toBeLessThanOrEqual(done + unsure);
    if (!wasAway) expect(unsure).toBeLessThanOrEqual(8);
  });

  it('says after a bounded wait that the server is away, and goes on when it is back', async () => {
    const server = await startServer();
    const db = await openWithCount(server, { patienceMs: 300 });
    await server.stop();
    await expect(db.reading.get('SELECT 1')).rejects.toMatchObject({ code: 'database_unreachable' });
    await expect(db.writing.run(add(1))).rejects.toMatchObject({ code: 'database_unreachable' });
    await expect(db.transaction((queries) => queries.run(add(1)))).rejects.toMatchObject({
      code: 'database_unreachable',
    });
    await server.start();
    // Its patience is shorter than a busy machine takes to connect.
    await vi.waitFor(async () => expect(await db.writing.run(add(1))).toBe(1));
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 1 });
  });

  it('waits seconds for a server that is frozen, then no longer, and goes on once it is thawed', async () => {
    const server = await startServer();
    const db = await openWithCount(server);
    const heard: string[] = [];
    let gaps = 0;
    await db.listen(
      'news',
      (payload) => heard.push(payload),
      () => {
        gaps += 1;
      },
    );
    server.freeze();
    onTestFinished(() => server.thaw());
    const unreachable = {
      code: 'database_unreachable',
      message: expect.stringContaining('cannot be reached'),
    };
    // More than there are connections.
    const calls = Array.from({ length: 30 }, (_, number) =>
      number % 2 === 0 ? db.reading.get('SELECT 1') : db.transaction((queries) => queries.run(add(1))),
    );
    for (const result of await Promise.allSettled(calls)) {
      expect(result).toMatchObject({ status: 'rejected', reason: unreachable });
    }
    expect(db.isReachable).toBe(false);
    // Without a timer or an answer of anything: before any of them has its turn.
    const late = setImmediate('it waits');
    const refused = db.reading.get('SELECT 1').catch((error: unknown) => error);
    expect(await Promise.race([refused, late])).toMatchObject(unreachable);
    server.thaw();
    await vi.waitFor(() => expect(db.isReachable).toBe(true));
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 0 });
    await vi.waitFor(() => expect(gaps).toBe(1));
    await db.writing.run("SELECT pg_notify('news', 'one')");
    await vi.waitFor(() => expect(heard).toEqual(['one']));
  });

  it('goes on with the connections it has where the server lets it make no more, then says why, and recovers', async () => {
    const server = await startServer();
    const db = await openWithCount(server, { patienceMs: 500 });
    const folder = new URL(server.url('postgres')).searchParams.get('host') ?? '';
    const admit = (method: 'trust' | 'reject'): void => {
      writeFileSync(join(folder, 'data', 'pg_hba.conf'), `local all all ${method}\n`);
      process.kill(
        Number(readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]),
        'SIGHUP',
      );
    };
    onTestFinished(() => admit('trust'));
    // As a password that was changed does, or a limit of connections.
    admit('reject');
    await vi.waitFor(() => expect(openPostgres(server.url(server.database))).rejects.toThrow(/pg_hba\.conf/));
    expect(await db.writing.run(add(1))).toBe(1);
    expect(db.isReachable).toBe(true);
    await db.reading.get('SELECT pg_terminate_backend(pg_backend_pid())').catch(() => {});
    await expect(db.reading.get('SELECT 1')).rejects.toMatchObject({
      code: 'database_unreachable',
      message: expect.stringMatching(
        /cannot be reached: .*Check the user in DATABASE_URL and the server.s pg_hba/,
      ),
    });
    expect(db.isReachable).toBe(false);
    admit('trust');
    await vi.waitFor(() => expect(db.isReachable).toBe(true));
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 1 });
  });

  it('closes within seconds while the server is frozen and calls are on their way', async () => {
    const server = await startServer();
    const db = await openPostgres(server.url(server.database));
    server.freeze();
    onTestFinished(() => server.thaw());
    const call = expect(db.reading.get('SELECT 1')).rejects.toMatchObject({ code: 'database_unreachable' });
    // Its limits are some seconds; without them it ends with the server, which is frozen for as long as this waits.
    await db.close();
    await call;
    await expect(db.reading.get('SELECT 1')).rejects.toMatchObject({ code: 'database_unreachable' });
  });

  it('cannot be opened while it is frozen, and says so within seconds', async () => {
    const server = await startServer();
    server.freeze();
    onTestFinished(() => server.thaw());
    await expect(openPostgres(server.url(server.database))).rejects.toMatchObject({
      code: 'database_unreachable',
      message: expect.stringMatching(
        /Cannot open the database .*Check that the server runs and that DATABASE_URL/,
      ),
    });
  });

  it('runs a transaction again whose connection was lost before the commit was sent', async () => {
    const server = await startServer();
    const db = await openWithCount(server);
    let runs = 0;
    await db.transaction(async (queries) => {
      runs += 1;
      await queries.run(add(1));
      if (runs > 1) return;
      const own = await queries.get<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await db.reading.get('SELECT pg_terminate_backend($1::integer)', own?.pid ?? 0);
      await queries.run(add(2));
    });
    expect(runs).toBe(2);
    expect(await db.reading.all('SELECT n FROM counts ORDER BY id')).toEqual([{ n: 1 }, { n: 0 }]);
  });

  it('does not send a statement again that may have taken effect', async () => {
    const server = await startServer();
    const db = await openWithCount(server);
    const slow = db.writing.run(`${add(1)} AND pg_sleep(30) IS NOT NULL`);
    const outcome = expect(slow).rejects.toMatchObject({ code: 'database_unreachable' });
    const end =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE 'UPDATE%'";
    await vi.waitFor(async () => expect(await db.reading.all(end)).toHaveLength(1));
    await outcome;
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 0 });
  });

  it('runs both of two transactions that were in each other’s way', async () => {
    const db = await openWithCount(await startServer());
    let runs = 0;
    let holding = 0;
    const bothHold = Promise.withResolvers<void>();
    const crossing = (first: number, second: number) =>
      db.transaction(async (queries) => {
        runs += 1;
        await queries.run(add(first));
        holding += 1;
        if (holding === 2) bothHold.resolve();
        await bothHold.promise;
        await queries.run(add(second));
      });
    await Promise.all([crossing(1, 2), crossing(2, 1)]);
    expect(runs).toBeGreaterThan(2);
    expect(await db.reading.all('SELECT n FROM counts ORDER BY id')).toEqual([{ n: 2 }, { n: 2 }]);
  });

  it('runs a task again that wants it, and passes on every other error with nothing written', async () => {
    const db = await openWithCount(await startServer());
    let runs = 0;
    await db.transaction(async (queries) => {
      runs += 1;
      await queries.run(add(1));
      if (runs < 3) throw new TryAgain('not yet');
    });
    const failing = db.transaction(async (queries) => {
      await queries.run(add(1));
      throw new RangeError('wrong');
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 1 });
  });

  it('finds nothing by a text with a NUL, which no row can have, instead of failing', async () => {
    const db = await open(await startServer());
    await db.writing.script("CREATE TABLE named (name text); INSERT INTO named VALUES ('a'), ('b')");
    const { reading } = db;
    expect(await reading.all('SELECT name FROM named WHERE name = $1', 'a\0')).toEqual([]);
    const list = 'SELECT name FROM named WHERE name = ANY ($1::text[])';
    expect(await reading.all(list, ['a\0', 'b'])).toEqual([{ name: 'b' }]);
  });

  it('gives up a statement that takes too long, and says so', async () => {
    const server = await startServer();
    const db = await openWithCount(server, { settings: { statement_timeout: '1500' } });
    await expect(db.writing.run(`${add(1)} AND pg_sleep(30) IS NOT NULL`)).rejects.toMatchObject({
      code: 'database_unreachable',
      message: expect.stringContaining('statement timeout'),
    });
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 0 });
  });

  it('is not away because every connection is at a slow statement', async () => {
    const server = await startServer();
    const onTrouble = vi.fn<(error: unknown) => void>();
    const db = await openWithCount(server, { connections: 1, onTrouble });
    await db.writing.run(`${add(1)} AND pg_sleep(8) IS NOT NULL`);
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 1 });
    expect(onTrouble).not.toHaveBeenCalled();
  });

  it('says that it takes no changes, as on a full disk, and works on once it does', async () => {
    const server = await startServer();
    const db = await openWithCount(server);
    // What a server says whose disk is full, or that is a standby.
    const refuse = (code: string) =>
      `DO $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '${code}'; END $$`;
    for (const code of ['53100', '25006']) {
      await expect(db.writing.run(refuse(code))).rejects.toMatchObject({
        code: 'database_unusable',
        message: expect.stringMatching(/takes no changes: .*disk has space/),
      });
    }
    await db.writing.run(add(1));
    expect(await db.reading.get('SELECT n FROM counts WHERE id = 1')).toEqual({ n: 1 });
  });

  it('plans anew after another release has changed a table', async () => {
    const db = await openWithCount(await startServer(), { connections: 1 });
    const read = () => db.reading.get('SELECT * FROM counts WHERE id = $1', 1);
    expect(await read()).toEqual({ id: 1, n: 0 });
    await db.writing.script("ALTER TABLE counts ADD COLUMN note text DEFAULT 'new'");
    expect(await read()).toEqual({ id: 1, n: 0, note: 'new' });
  });

  it('keeps what it has committed in a crash although the server is set to lose it', async () => {
    const server = await startServer();
    const first = await open(server);
    await first.writing.script(`ALTER DATABASE ${server.database} SET synchronous_commit = off`);
    const db = await open(server);
    expect(await db.reading.get('SHOW synchronous_commit')).toEqual({ synchronous_commit: 'on' });
  });

  it('hears notifications, and again after a restart, with word of the gap', async () => {
    const server = await startServer();
    const db = await open(server);
    const heard: string[] = [];
    let gaps = 0;
    const listening = await db.listen(
      'news',
      (payload) => heard.push(payload),
      () => {
        gaps += 1;
      },
    );
    await db.writing.run("SELECT pg_notify('news', 'one')");
    await vi.waitFor(() => expect(heard).toHaveLength(1));
    await server.stop();
    await server.start();
    await vi.waitFor(() => expect(gaps).toBe(1));
    await db.writing.run("SELECT pg_notify('news', 'two')");
    await vi.waitFor(() => expect(heard).toHaveLength(2));
    await listening.close();
    expect({ heard, gaps }).toEqual({ heard: ['one', 'two'], gaps: 1 });
  });
});

describe('a PostgreSQL database that cannot be opened', () => {
  const secret = 'hunter2';
  const opening = (url: string) => openPostgres(url, { patienceMs: 50 }).then(() => 'opened', String);

  it('says why and what to do, and never shows the password', async () => {
    const server = await startServer();
    const unreachable = await opening(`postgres://me:${secret}@127.0.0.1:1/pool`);
    expect(unreachable).toMatch(/pool at 127\.0\.0\.1:1.*ECONNREFUSED.*Check that the server runs/s);
    const socket = server.url('nothing-there').replace('postgres@', `postgres:${secret}@`);
    expect(await opening(socket)).toMatch(/"nothing-there" does not exist.*createdb/);
    const stranger = server.url('postgres').replace('postgres@', `stranger:${secret}@`);
    expect(await opening(stranger)).toMatch(/role "stranger" does not exist.*DATABASE_URL/);
    const broken = await opening(`postgres://me:${secret}@[half/pool`);
    expect(broken).toMatch(/is no URL.*percent-encode/);
    for (const message of [unreachable, broken, await opening(socket), await opening(stranger)]) {
      expect(message).not.toContain(secret);
    }
  });
});

describe('migrations of a PostgreSQL database', () => {
  const steps: Migration[] = [
    { version: 1, name: 'one', sql: 'CREATE TABLE one (id integer)' },
    { version: 2, name: 'two', sql: 'CREATE TABLE two (id integer); INSERT INTO two VALUES (1)' },
  ];

  it('happen once when many instances start together', async () => {
    const server = await startServer();
    const instances = await Promise.all(Array.from({ length: 6 }, () => open(server)));
    await Promise.all(instances.map((db) => migratePostgres(db, steps, 1)));
    const [db] = instances;
    expect(await db?.reading.all('SELECT id FROM two')).toEqual([{ id: 1 }]);
    expect(await db?.reading.all('SELECT version, name FROM schema_migrations ORDER BY version')).toEqual([
      { version: 1, name: 'one' },
      { version: 2, name: 'two' },
    ]);
  });

  it('go on from where the database is, all or nothing, and refuse a newer one', async () => {
    const db = await open(await startServer());
    await migratePostgres(db, steps.slice(0, 1), 1);
    const broken = [...steps, { version: 3, name: 'bad', sql: 'CREATE TABLE broken (' }];
    await expect(migratePostgres(db, broken, 1)).rejects.toMatchObject({ code: 'database_unusable' });
    expect(await db.reading.get('SELECT MAX(version) AS version FROM schema_migrations')).toEqual({
      version: 1,
    });
    await migratePostgres(db, steps, 1);
    await expect(migratePostgres(db, steps.slice(0, 1), 1)).rejects.toMatchObject({
      code: 'database_too_new',
    });
  });

  it('say what to do when the user may not make tables', async () => {
    const server = await startServer();
    const owner = await open(server);
    await owner.writing.script('CREATE ROLE guest LOGIN');
    const guest = await openPostgres(server.url(server.database).replace('postgres@', 'guest@'));
    onTestFinished(() => guest.close());
    await expect(migratePostgres(guest, steps, 1)).rejects.toThrow(
      /permission denied.*right to create tables/s,
    );
  });
});
