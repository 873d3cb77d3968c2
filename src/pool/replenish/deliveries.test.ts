import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import { testHttp } from '../../providers/testing/test-http.ts';
import { openMemoryStore } from '../store/open-store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { settled, startTestPool } from '../testing/test-pool.ts';
import { createCommandSource, createWebhookSource } from './deliveries.ts';

const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;
const line = (key: string, more = {}) => JSON.stringify({ provider: 'warp', api_key: key, ...more });

/** A pool over a command that runs this script. */
async function poolOverCommand(
  script: string,
  change: { timeoutMs?: number; environment?: Record<string, string> } = {},
  given: Parameters<typeof startTestPool>[1] = {},
) {
  const folder = temporaryFolder();
  const parts = await startTestPool(
    { minPoolSize: 0 },
    {
      ...given,
      sources: (tools) => [
        createCommandSource(
          {
            type: 'command',
            name: 'more',
            command: [process.execPath, '-e', script],
            timeoutMs: change.timeoutMs ?? 60_000,
            environment: change.environment ?? {},
            folder,
          },
          tools,
        ),
      ],
    },
  );
  const state = async () => (await parts.pool.status()).sources[1];
  return { ...parts, folder, state };
}

describe('a command that prints accounts', () => {
  it('is told how many are wanted, and sees nothing of the environment but what it is given', async () => {
    const script = `
      let input = '';
      process.stdin.on('data', (chunk) => { input += chunk; });
      process.stdin.on('end', () => {
        require('node:fs').writeFileSync('seen', JSON.stringify({ input, env: process.env, arguments: process.argv.slice(1) }));
        for (let n = 0; n < JSON.parse(input).count; n += 1) console.log(JSON.stringify({ provider: 'warp', api_key: 'wk-' + n }));
      });`;
    process.env['WARP2API_TEST_SECRET'] = 'not for others';
    const parts = await poolOverCommand(script, { environment: { ONLY: 'this' } });
    delete process.env['WARP2API_TEST_SECRET'];
    expect(await parts.pool.replenish(owner, { count: 3 })).toMatchObject({ added: 3, failed: 0 });
    const seen = JSON.parse(readFileSync(join(parts.folder, 'seen'), 'utf8')) as Record<string, unknown>;
    expect(seen).toMatchObject({ input: '{"count":3}\n', env: { ONLY: 'this' } });
    expect(Object.keys(seen['env'] as object)).toEqual(['ONLY']);
    await parts.pool.close();
  });

  it('that fails has what it printed taken all the same, and backs off with its complaint, redacted', async () => {
    const script = `console.log(${JSON.stringify(line('wk-1'))});
      console.error('vault refused token hvs.CAESIJ1x9Secret77'); process.exitCode = 3; console.log('{"provider":"warp"');`;
    const parts = await poolOverCommand(script);
    const answer = await parts.pool.replenish(owner, { count: 3 });
    expect(answer.added).toBe(1);
    const { last_error, state } = (await parts.state()) ?? {};
    expect(state).toBe('backing_off');
    expect(last_error).toMatch(
      /more: the command failed: it ended with code 3; it said: vault refused token \[secret\]/,
    );
    expect(JSON.stringify([answer, last_error])).not.toContain('CAESIJ');
    await parts.pool.close();
  });

  it('that takes too long is killed with everything it started', async () => {
    const script = `
      const { spawn } = require('node:child_process');
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      console.log(${JSON.stringify(line('wk-1'))});
      const { renameSync, writeFileSync } = require('node:fs');
      writeFileSync('new', process.pid + ' ' + child.pid);
      renameSync('new', 'pids');
      setInterval(() => {}, 1000);`;
    const parts = await poolOverCommand(script, { timeoutMs: 6_000 });
    // Its time is over when it has printed its line, however long a busy machine takes for that.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const answering = parts.pool.replenish(owner, { count: 2 });
    while (!existsSync(join(parts.folder, 'pids'))) await delay(20);
    vi.advanceTimersByTime(6_000);
    const answer = await answering;
    vi.useRealTimers();
    expect(answer).toMatchObject({ added: 1, failed: 1 });
    expect(answer.reasons[0]).toMatch(/it took longer than 6 s/);
    const pids = readFileSync(join(parts.folder, 'pids'), 'utf8').split(' ').map(Number);
    await vi.waitFor(() => expect(pids.map(isRunning)).toEqual([false, false]));
    await parts.pool.close();
  });

  it('that leaves something running which holds its output does not hold up the pool', async () => {
    const script = `
      const { spawn } = require('node:child_process');
      spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' }).unref();
      console.log(${JSON.stringify(line('wk-1'))}); process.exit(0);`;
    const parts = await poolOverCommand(script);
    expect(await parts.pool.replenish(owner, { count: 1 })).toMatchObject({ added: 1, failed: 0 });
    await parts.pool.close();
  });

  it('that prints without end is stopped at 1 MiB', async () => {
    const parts = await poolOverCommand(`setInterval(() => process.stdout.write('x'.repeat(65536)), 0)`);
    const answer = await parts.pool.replenish(owner, { count: 1 });
    expect(answer.reasons[0]).toMatch(/it printed more than 1048576 bytes/);
    await parts.pool.close();
  });

  it('that is not there says so', async () => {
    const folder = temporaryFolder();
    const settings = { type: 'command' as const, name: 'gone', command: [join(folder, 'gone')], folder };
    const { pool } = await startTestPool(
      { minPoolSize: 0 },
      { sources: (tools) => [createCommandSource({ ...settings, timeoutMs: 1000, environment: {} }, tools)] },
    );
    expect((await pool.replenish(owner, { count: 1 })).reasons[0]).toMatch(/cannot be started \(ENOENT\)/);
    await pool.close();
  });

  it('that prints more than was asked for loses none: the others are in standby', async () => {
    const lines = ['wk-1', 'wk-2', 'wk-3'].map((key) => line(key)).join('\\n');
    const parts = await poolOverCommand(`console.log('${lines}')`);
    expect(await parts.pool.replenish(owner, { count: 1 })).toMatchObject({ added: 1, failed: 0 });
    expect((await parts.pool.status()).pool_stats).toMatchObject({ available: 1, standby: 2 });
    await parts.pool.close();
  });

  it('that prints thousands of lines that are no accounts holds up no other', {
    timeout: 120_000,
  }, async () => {
    const lines = `Array.from({ length: 15_000 }, (_, n) => JSON.stringify({ provider: 'nobody', api_key: 'wk-' + n }))`;
    const parts = await poolOverCommand(`process.stdout.write(${lines}.join('\\n'))`);
    const seconds = await cpuSecondsOf(async () => {
      expect(await parts.pool.replenish(owner, { count: 3 })).toMatchObject({ added: 0, failed: 15_000 });
    });
    expect(seconds).toBeLessThan(25);
    await parts.pool.close();
  });

  it('that has nothing is left alone for a while by the housekeeper, but not by its owner', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'runs'));
    const script = `require('node:fs').writeFileSync('${folder}/runs/' + process.pid, '')`;
    const parts = await poolOverCommand(script);
    await parts.pool.replenish(owner, { count: 1 });
    expect(await parts.state()).toMatchObject({ state: 'empty', retry_at: '2026-01-01T00:01:00.000Z' });
    await parts.pool.replenish(owner, { count: 1 });
    expect(await parts.state()).toMatchObject({ state: 'empty', retry_at: '2026-01-01T00:02:00.000Z' });
    expect(readdirSync(join(folder, 'runs'))).toHaveLength(2);
    await parts.pool.close();
  });

  it('and what it printed outlive a crash in between, unreadable meanwhile', async () => {
    const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
    store.close = async () => {};
    const script = `console.log(${JSON.stringify(`${line('wk-secret-1')}\n${line('wk-secret-2')}`)})`;
    const first = await poolOverCommand(script, {}, { store });
    const addAccount = store.addAccount.bind(store);
    store.addAccount = () => Promise.reject(new Error('the process is gone'));
    await first.pool.replenish(owner, { count: 2 });
    store.addAccount = addAccount;
    expect(JSON.stringify(await store.rememberedUnder(''))).not.toContain('wk-secret');
    await first.pool.close();
    const second = await poolOverCommand('', {}, { store, clock: first.clock });
    await settled();
    expect((await second.pool.status()).pool_stats).toMatchObject({ standby: 2 });
    expect(await store.rememberedUnder('sealed:')).toEqual([]);
    await second.pool.close();
  });
});

function isRunning(pid: number): boolean {
  try {
    // One that has ended and was not collected yet is none.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function poolOverWebhook(
  answer: (request: IncomingMessage, body: string, response: ServerResponse) => void,
  headers: Record<string, string> = {},
  timeoutMs = 60_000,
) {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => answer(request, body, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/accounts`;
  const web = { http: testHttp, userAgent: 'warp2api/test' };
  const settings = { type: 'webhook' as const, name: 'hook', url, timeoutMs, headers };
  return startTestPool(
    { minPoolSize: 0 },
    { sources: (tools) => [createWebhookSource(settings, tools, web)] },
  );
}

describe('a webhook that answers with accounts', () => {
  it('is told how many are wanted, with the headers it needs', async () => {
    const seen: unknown[] = [];
    const { pool } = await poolOverWebhook(
      ({ method, url, headers }, body, response) => {
        seen.push(method, url, headers.authorization, headers['user-agent'], JSON.parse(body));
        response.end(`${line('wk-1')}\n${line('wk-2')}\n`);
      },
      { authorization: 'Bearer hook-secret' },
    );
    expect(await pool.replenish(owner, { count: 2 })).toMatchObject({ added: 2, failed: 0 });
    expect(seen).toEqual(['POST', '/accounts', 'Bearer hook-secret', 'warp2api/test', { count: 2 }]);
    await pool.close();
  });

  it.each<[string, RegExp, (response: ServerResponse) => void]>([
    ['a redirect', /answered 302/, (response) => response.writeHead(302, { location: '/else' }).end()],
    [
      'an error that quotes the header',
      /answered 403: no such key: \[secret\]/,
      (response) => response.writeHead(403).end('no such key: Bearer hook-secret'),
    ],
    ['silence', /did not answer/, () => {}],
    ['too much', /more than 1048576 bytes/, (response) => response.end(`${' '.repeat(1024 * 1024)}\n`)],
  ])('backs off after %s', async (name, reason, answer) => {
    let calls = 0;
    const { pool } = await poolOverWebhook(
      (_request, _body, response) => {
        calls += 1;
        answer(response);
      },
      { authorization: 'Bearer hook-secret' },
      name === 'silence' ? 500 : undefined,
    );
    const said = await pool.replenish(owner, { count: 1 });
    expect(said.reasons[0]).toMatch(reason);
    expect(said.reasons[0]).not.toContain('hook-secret');
    await pool.replenish(owner, { count: 1 });
    expect(calls).toBe(1);
    expect((await pool.status()).sources[1]).toMatchObject({ state: 'backing_off' });
    await pool.close();
  });
});
