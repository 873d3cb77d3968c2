import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { childEnvironment, type ServiceProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';
import { createWorkplace } from './support/workplace.ts';

type Workplace = Awaited<ReturnType<typeof createWorkplace>>;

async function done(place: Workplace, line: string, change: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await place.run(line, change);
  if (code !== 0) throw new Error(`${line} ended with ${code}: ${stderr}`);
  return stdout;
}

async function accountsOf(place: Workplace, data = 'data'): Promise<number> {
  const listed = JSON.parse(await done(place, 'account list --json', { DATA_DIR: data })) as {
    accounts: object[];
  };
  return listed.accounts.length;
}

function post(url: string, body: object, key = 'any'): Promise<Response> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function turn(url: string, key?: string): Promise<number> {
  const answer = await post(`${url}/v1/chat/completions`, userTurn('auto', 'Hello'), key);
  await answer.arrayBuffer();
  return answer.status;
}

async function addAccount(service: ServiceProcess, number: number): Promise<void> {
  const [, pool] = /"url":"([^"]+)"[^\n]*the account pool listens/.exec(service.output()) ?? [];
  const body = JSON.stringify({ provider: 'warp', api_key: `wk-1.account${number}` });
  expect((await fetch(`${pool}/api/accounts`, { method: 'POST', body })).status).toBe(201);
}

/** How many turns of the key the ledger has. */
async function turnsOf(url: string, key: string): Promise<number> {
  const answer = await fetch(`${url}/api/usage/me?from=2020-01-01`, {
    headers: { authorization: `Bearer ${key}` },
  });
  return ((await answer.json()) as { total: { turns: number } }).total.turns;
}

const made = mkdtempSync(join(tmpdir(), 'warp2api-backed-up-'));
afterAll(() => rmSync(made, { recursive: true }));

/** A place whose backup `kept` has one account, and whose services do not run. The first one is copied to make the others. */
async function backedUp() {
  const place = await createWorkplace();
  const file = (name: string) => join(place.folder, name);
  if (existsSync(join(made, 'kept'))) cpSync(made, place.folder, { recursive: true });
  else {
    await done(place, 'account add --provider warp', { ACCOUNT_API_KEY: 'wk-1.account' });
    await done(place, 'backup kept');
    cpSync(place.folder, made, { recursive: true });
  }
  return { ...place, file };
}

it('backs up services under load, and what is restored elsewhere answers turns', async () => {
  const place = await createWorkplace();
  const service = await place.serve();
  await addAccount(service, 0);
  const made = await post(`${service.url}/api/keys`, { name: 'backed up' });
  const { secret } = (await made.json()) as { secret: string };
  let left = 200;
  const statuses: number[] = [];
  const caller = async () => {
    while (left > 0) {
      left -= 1;
      statuses.push(await turn(service.url, secret));
    }
  };
  const adding = async () => {
    for (let number = 1; number <= 4; number += 1) await addAccount(service, number);
  };
  const [said] = await Promise.all([
    done(place, 'backup kept/first'),
    adding(),
    ...Array.from({ length: 16 }, caller),
  ]);
  expect(statuses).toEqual(Array.from({ length: 200 }, () => 200));
  expect(said).toMatch(/accounts\.db .*usage\.db .*master\.key\) is not in it/s);
  await eventually('all turns are in the ledger', async () => (await turnsOf(service.url, secret)) === 200);
  await done(place, 'backup kept/second');
  expect(readdirSync(join(place.folder, 'kept'))).toEqual(['first', 'second']);
  expect(readdirSync(join(place.folder, 'kept/second')).sort()).toEqual([
    'accounts.db',
    'backup.json',
    'usage.db',
  ]);
  expect(statSync(join(place.folder, 'kept/second')).mode & 0o077).toBe(0);
  await service.kill('SIGTERM');
  expect(readdirSync(join(place.folder, 'data')).filter((name) => /copy|sock/.test(name))).toEqual([]);

  mkdirSync(join(place.folder, 'other'));
  copyFileSync(join(place.folder, 'data/master.key'), join(place.folder, 'other/master.key'));
  await done(place, 'restore kept/second', { DATA_DIR: 'other' });
  expect(await accountsOf(place, 'other')).toBe(5);
  const restored = await place.serve([], { DATA_DIR: 'other' });
  expect(await turnsOf(restored.url, secret)).toBe(200);
  // Its credentials can be opened, and the keys of clients are known.
  expect(await turn(restored.url, secret)).toBe(200);
  expect(await turn(restored.url)).toBe(401);
  expect(restored.output()).not.toContain('SANDBOX');
});

it('backs up services that run apart, each by the process that holds its database', async () => {
  const place = await createWorkplace();
  const pool = await place.serve(['pool']);
  await place.serve(['gateway'], { POOL_SERVICE_URL: pool.url });
  await addAccount(pool, 1);
  const { files } = JSON.parse(await done(place, 'backup kept --json')) as { files: { name: string }[] };
  expect(files.map(({ name }) => name)).toEqual(['accounts', 'usage']);
});

/** Makes the database so large that a copy takes a while. */
function fill(path: string): void {
  const database = new DatabaseSync(path);
  database.exec(`CREATE TABLE filler (bytes BLOB);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
    INSERT INTO filler SELECT zeroblob(1000000) FROM n`);
  database.close();
}

it('leaves nothing by its name when the command is killed, nor in the data folder when the service is', async () => {
  const place = await backedUp();
  rmSync(join(place.folder, 'kept'), { recursive: true });
  fill(join(place.folder, 'data/accounts.db'));
  const service = await place.serve();
  const filesOf = (folder: string, pattern: RegExp) =>
    readdirSync(join(place.folder, folder)).filter((name) => pattern.test(name));
  const backUp = () => {
    const words = [resolve(import.meta.dirname, '../src/main.ts'), 'backup', 'kept'];
    return spawn(process.execPath, words, { cwd: place.folder, env: childEnvironment, stdio: 'ignore' });
  };

  const killed = backUp();
  await eventually('a copy is begun', () => filesOf('data', /\.copy-/).length > 0);
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  expect(existsSync(join(place.folder, 'kept'))).toBe(false);
  expect(await turn(service.url)).toBe(200);

  await eventually('the copy is ended', () => filesOf('data', /\.copy-/).length === 0);
  const failing = backUp();
  const failed = once(failing, 'exit');
  await eventually('another is begun', () => filesOf('data', /\.copy-/).length > 0);
  await service.kill('SIGKILL');
  const [code] = await failed;
  expect(code).toBe(1);
  expect(existsSync(join(place.folder, 'kept'))).toBe(false);
  await place.serve();
  expect(filesOf('data', /\.copy-/)).toEqual([]);
  await done(place, 'backup kept');
});

it('restores over what is there only when told to, keeps it, and never under a running service', async () => {
  const { folder, file, serve, run } = await backedUp();
  const place = { folder, serve, run } as Workplace;
  await done(place, 'account add --provider warp', { ACCOUNT_API_KEY: 'wk-1.account2' });
  const refused = await run('restore kept');
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringMatching(/would be replaced: give --force/),
  ]);

  const service = await serve();
  const inUse = await run('restore kept --force');
  expect([inUse.code, inUse.stderr]).toEqual([1, expect.stringMatching(/is held by process \d+/)]);
  await service.kill('SIGTERM');
  expect(await accountsOf(place)).toBe(2);

  expect(await done(place, 'restore kept --force')).toContain('accounts.db.before-restore');
  expect(await accountsOf(place)).toBe(1);
  expect(existsSync(file('data/accounts.db.before-restore'))).toBe(true);
  // What was there before the first of two restores is not lost with the second.
  const before = readFileSync(file('data/accounts.db.before-restore'));
  expect(await done(place, 'restore kept --force')).toContain('accounts.db.before-restore-2');
  expect(readFileSync(file('data/accounts.db.before-restore'))).toEqual(before);

  // Also where what is there is damaged.
  writeFileSync(file('data/accounts.db'), 'no database any more');
  await done(place, 'restore kept --force');
  expect(await accountsOf(place)).toBe(1);
});

it.each([
  [
    'was cut off',
    (file: string) => truncateSync(file, 8192),
    /is not as it was written \(8192 of \d+ bytes\)/,
  ],
  [
    'was altered',
    (file: string) => {
      const bytes = readFileSync(file);
      bytes.write('x', bytes.length - 100);
      writeFileSync(file, bytes);
    },
    /is not as it was written/,
  ],
])('refuses a file that %s, and changes nothing', async (_what, damage, reason) => {
  const { folder, file, run } = await backedUp();
  damage(file('kept/accounts.db'));
  const { code, stderr } = await run('restore kept --force');
  expect([code, stderr]).toEqual([1, expect.stringMatching(reason)]);
  expect(readdirSync(join(folder, 'data')).filter((name) => /restor/.test(name))).toEqual([]);
});

it('leaves a database in its place at each moment of a restore', async () => {
  const { file, run } = await backedUp();
  writeFileSync(
    file('dies.mjs'),
    `import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { renameSync } = fs;
    let left = Number(process.env.RENAMES);
    fs.renameSync = (from, to) => {
      if (left === 0) process.kill(process.pid, 'SIGKILL');
      left -= 1;
      renameSync(from, to);
    };
    syncBuiltinESMExports();`,
  );
  for (const RENAMES of ['0', '1']) {
    await run('restore kept --force', {
      RENAMES,
      NODE_OPTIONS: `--import=${pathToFileURL(file('dies.mjs'))}`,
    });
    expect(existsSync(file('data/accounts.db'))).toBe(true);
  }
  expect((await run('restore kept --force')).code).toBe(0);
  expect(readdirSync(file('data')).filter((name) => name.endsWith('.restored'))).toEqual([]);
});

it('refuses a backup of a newer release, and one that the master key does not fit', async () => {
  const { file, run } = await backedUp();
  const data = { DATA_DIR: 'other' };
  mkdirSync(file('other'));
  const missing = await run('restore kept', data);
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/master key .* is missing/)]);
  writeFileSync(file('other/master.key'), `${'1'.repeat(64)}\n`, { mode: 0o600 });
  const misfit = await run('restore kept', data);
  expect([misfit.code, misfit.stderr]).toEqual([1, expect.stringMatching(/master key does not fit/)]);

  copyFileSync(file('data/master.key'), file('other/master.key'));
  const newer = new DatabaseSync(file('data/accounts.db'));
  newer.exec("INSERT INTO schema_migrations VALUES (99, 'from the future', 0)");
  newer.close();
  cpSync(file('data'), file('newer'), { recursive: true });
  await run('backup made-newer', { DATA_DIR: 'newer' });
  const tooNew = await run('restore made-newer', data);
  expect([tooNew.code, tooNew.stderr]).toEqual([
    1,
    expect.stringMatching(/The database .*\.db.* has schema version 99/),
  ]);
  expect(readdirSync(file('other'))).toEqual(['master.key']);
});

it('says how PostgreSQL is backed up', async () => {
  const place = await createWorkplace();
  const { code, stderr } = await place.run('backup kept', {
    DATABASE_URL: 'postgres://u:secret@127.0.0.1:1/d',
  });
  expect(code).toBe(1);
  expect(stderr).toContain('pg_dump --format=custom --file=accounts.dump "$DATABASE_URL"');
  expect(stderr).not.toContain('secret');
});

it.runIf(process.platform === 'linux')('says where it cannot write', async () => {
  const { run } = await backedUp();
  const { code, stderr } = await run('backup /proc/kept');
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/^warp2api: Nothing can be written to \/proc \(/),
  ]);
});

it('replaces no folder that is there', async () => {
  const { run } = await backedUp();
  const { code, stderr } = await run('backup kept');
  expect([code, stderr]).toEqual([1, expect.stringMatching(/is there already/)]);
});

it('gives one of two backups to the same folder its place, and says so to the other', async () => {
  const place = await backedUp();
  const both = await Promise.all([place.run('backup twice'), place.run('backup twice')]);
  expect(both.map(({ code }) => code).sort()).toEqual([0, 1]);
  expect(both.map(({ stderr }) => stderr).join('')).toMatch(/is there already|was made by another command/);
  expect(readdirSync(place.folder).filter((name) => name.includes('twice'))).toEqual(['twice']);
});
