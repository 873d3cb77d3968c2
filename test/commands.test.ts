import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { newDatabase } from '../src/db/testing/shared-postgres.ts';
import { createWorkplace } from './support/workplace.ts';

async function workplace(more: Record<string, string> = {}) {
  const place = await createWorkplace(more);
  const data = join(place.folder, more['DATA_DIR'] ?? 'data');
  return {
    ...place,
    data,
    sockets: () => readdirSync(data).filter((name) => name.endsWith('.sock')),
    /** Ends well, or the test fails with what it said. */
    async command(line: string, change: Record<string, string> = {}): Promise<string> {
      const done = await place.run(line, change);
      expect(done).toMatchObject({ code: 0, stderr: '' });
      return done.stdout;
    },
  };
}

/** An empty database of its own for each test. */
async function onPostgres(): Promise<Record<string, string>> {
  return { DATABASE_URL: await newDatabase(), KEEP_URL: 'memory' };
}

const databases: Record<string, () => Promise<Record<string, string>>> = {
  SQLite: async () => ({}),
  PostgreSQL: onPostgres,
};
const ways: Record<string, { words?: string[]; environment?: Record<string, string> }> = {
  'both services in one process': { environment: { ADMIN_KEY: 'a-key-that-no-command-needs-to-know' } },
  'a pool that runs apart': { words: ['pool'] },
  'a gateway with its pool inside': { words: ['gateway'], environment: { USE_POOL_SERVICE: 'false' } },
};

describe.for(Object.entries(databases))('on %s commands reach the pool of', ([, settings]) => {
  it.for(Object.entries(ways))('%s', async ([, { words, environment }]) => {
    const place = await workplace({ ...(await settings()), ...environment });
    const service = await place.serve(words);
    // No key, and unknown ports: neither is needed.
    await place.command('account add --provider warp --api-key wk-of-mine', { ADMIN_KEY: '' });
    if (environment?.['USE_POOL_SERVICE'] === 'false') {
      const doctor = await place.run('doctor');
      expect(doctor.stdout).toMatch(/ok +database +the running pool has it open/);
      expect(doctor.stdout).toMatch(/ok +lease +an account of warp was lent and came back/);
    } else {
      const status = JSON.parse(await place.command('status --json'));
      expect(status).toMatchObject({ running: true, pool_stats: { total: 1 } });
    }
    expect(await service.kill('SIGTERM')).toBe(0);
    expect(place.sockets()).toEqual([]);
  });
});

it('reach a process without a socket at its port, and say who holds the database where that fails', async () => {
  const place = await workplace();
  const { url, child } = await place.serve(['pool']);
  for (const name of place.sockets()) rmSync(join(place.data, name));
  const { port } = new URL(url);
  expect(await place.command('status', { POOL_SERVICE_PORT: port })).toMatch(/service running +yes/);
  const refused = await place.run('status', { POOL_SERVICE_PORT: '1' });
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(
    new RegExp(
      `held by process ${child.pid} \\(main.ts serve pool\\).*No pool answers at http://127.0.0.1:1\\.`,
    ),
  );
});

it('shows who holds what, and frees what a program that is gone holds, though no ADMIN_KEY proves the owner', async () => {
  const place = await workplace();
  const { url } = await place.serve(['pool']);
  await place.command('account add --provider warp --api-key wk-of-mine --email me@example.com --label work');
  const post = async (path: string, body: object, headers = {}) => {
    const answer = await fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body), headers });
    return (await answer.json()) as { success: boolean };
  };
  const gatewayKey = readFileSync(join(place.data, 'gateway.key'), 'utf8').trim();
  const asGateway = { authorization: `Bearer ${gatewayKey}` };
  expect(await post('/api/accounts/allocate', { session_id: 'long-gone' }, asGateway)).toMatchObject({
    success: true,
  });
  // Any program of this machine could say so.
  expect(await post('/api/accounts/release', { session_id: 'long-gone' })).toMatchObject({ success: false });
  expect(JSON.parse(await place.command('pool sessions --account work --json'))).toMatchObject({
    sessions: [{ id: 'long-gone', gateway: true, exclusive: true, accounts: [{ email: 'me@example.com' }] }],
    total: 1,
  });
  expect(await place.command('pool release long-gone')).toBe(
    'The session is over; accounts that came free: 1.\n',
  );
  expect(await place.command('pool sessions')).toBe('No session holds an account.\n');
});

it('a socket that a killed process left is no hindrance, and one of another process is found', async () => {
  const place = await workplace(await onPostgres());
  const first = await place.serve(['pool']);
  const second = await place.serve(['pool']);
  expect(place.sockets()).toHaveLength(2);
  await first.kill('SIGKILL');
  expect(await place.command('status')).toMatch(/service running +yes/);
  await second.kill('SIGKILL');
  await (await place.serve(['pool'])).kill('SIGKILL');
  const [left = '', ...others] = place.sockets();
  expect(others).toEqual([]);
  expect(await place.command('status')).toMatch(/service running +no/);
  expect(place.sockets()).toEqual([]);
  // What cannot be removed, as in a folder of another user.
  mkdirSync(join(place.data, left));
  expect(await place.command('status')).toMatch(/service running +no/);
});

it('wait for commands that came before, longer than for a service', async () => {
  const place = await workplace();
  await place.command('status');
  const path = join(place.data, 'accounts.db');
  const other = new DatabaseSync(path);
  onTestFinished(() => {
    if (other.isOpen) other.close();
  });
  other.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  const note = (command: string) =>
    writeFileSync(`${path}.holder`, JSON.stringify({ pid: process.pid, since: 'now', command }));
  note('warp2api.js serve');
  expect(await place.run('status')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('(warp2api.js serve), since now'),
  });
  note('warp2api.js account set');
  const done = place.command('status');
  // More than it would wait for a service.
  await delay(4_000);
  other.close();
  expect(await done).toMatch(/service running +no/);
});

it('know of a pool elsewhere that has the same PostgreSQL database open', async () => {
  const shared = { ...(await onPostgres()), MASTER_KEY: 'ab'.repeat(32) };
  const there = await workplace(shared);
  const here = await workplace(shared);
  expect(await here.command('status')).toMatch(/service running +no/);
  const service = await there.serve(['pool']);
  expect(await here.command('status')).toMatch(/service running +yes/);
  const rotated = await here.run('vault rotate', { MASTER_KEY: '', MASTER_KEY_FILE: 'none' });
  expect(rotated.stderr).toMatch(
    new RegExp(`in use by main.ts serve pool, process ${service.child.pid}: stop`),
  );
});

it('only the owner can open the socket, under any umask and in a folder that others may read', async () => {
  const place = await workplace({ DATA_DIR: '.' });
  chmodSync(place.folder, 0o755);
  await place.serve(['pool']);
  const [socket = ''] = place.sockets();
  expect(statSync(join(place.folder, socket)).mode & 0o777).toBe(0o600);
});

it('works in a folder whose path is longer than the address of a socket may be', async () => {
  const place = await workplace({ DATA_DIR: `${'deep/'.repeat(40)}data` });
  await place.serve(['pool']);
  expect(await place.command('status')).toMatch(/service running +yes/);
});

it('works while the port of the pool is crowded', async () => {
  const place = await workplace();
  const { url } = await place.serve(['pool']);
  const crowd: Socket[] = [];
  onTestFinished(() => {
    for (const socket of crowd) socket.destroy();
  });
  await Promise.all(
    Array.from({ length: 1500 }, async () => {
      const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
      socket.on('error', () => {});
      crowd.push(socket);
      await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
    }),
  );
  expect(await place.command('status')).toMatch(/service running +yes/);
});

it('go to the pool that POOL_SERVICE_URL names where no process here holds one, and make no database', async () => {
  const there = await workplace({ ADMIN_KEY: 'the-key-of-the-other-pool' });
  const { url } = await there.serve(['pool']);
  const here = await workplace({ POOL_SERVICE_URL: url, ADMIN_KEY: 'the-key-of-the-other-pool' });
  const asked = await here.run('status');
  expect(asked).toMatchObject({ code: 0, stdout: expect.stringMatching(/service running +yes/) });
  expect(asked.stderr).toBe(`Asking the pool at ${url}, which POOL_SERVICE_URL names.\n`);
  const refused = await here.run('status', { ADMIN_KEY: 'another-key' });
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/not one of the pool: show ADMIN_KEY/),
  });
  expect(() => readdirSync(here.data)).toThrow('ENOENT');
});
