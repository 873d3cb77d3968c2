import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { childEnvironment } from './support/process.ts';
import { usePython } from './support/python.ts';
import { eventually } from './support/services.ts';

/**
 * The examples that users paste, as they are printed: real scripts, services, bash and Python. Only the ports differ, which
 * another program of this machine may have.
 */

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');
const python = usePython();
const timeout = 150_000;

const chat = `import requests
response = requests.post(
    "http://localhost:8018/v1/chat/completions",
    json={
        "model": "claude-3-5-sonnet-20241022",
        "messages": [
            {"role": "user", "content": "What is the weather today?"}
        ]
    }
)
print(response.json())
`;

const borrow = `from account_pool_client import AccountPoolClient

client = AccountPoolClient("http://localhost:8019")
success, session_id, accounts = client.allocate_accounts_sync()
if success:
    for account in accounts:
        print(f"Using account: {account.email}")
    client.release_accounts_sync(session_id)
`;

const environmentBlock = `POOL_SERVICE_HOST=0.0.0.0
POOL_SERVICE_PORT=8019
MIN_POOL_SIZE=5
MAX_POOL_SIZE=50
HOST=0.0.0.0
PORT=8018
POOL_SERVICE_URL=http://localhost:8019
USE_POOL_SERVICE=true
LOG_LEVEL=INFO
`;

const replenish = `curl -X POST http://localhost:8019/api/accounts/replenish \\
  -H "Content-Type: application/json" \\
  -d '{"count": 10}'`;
const refreshTokens = `curl -X POST http://localhost:8019/api/accounts/refresh-tokens \\
  -H "Content-Type: application/json" \\
  -d '{"force": false}'`;

interface WorkingCopy {
  /** Runs lines in bash; answers what they printed. */
  bash(lines: string): Promise<string>;
  /** The beginning of what a command prints that does not end. */
  begins(line: string, isEnough: (output: string) => boolean): Promise<string>;
  python(program: string): Promise<string>;
  call(method: string, url: string, body?: unknown): Promise<{ status: number; answer: unknown }>;
  readonly gatewayPort: number;
  readonly poolPort: number;
  readonly folder: string;
}

/** A checkout of this test's own, with no setting, no database and no log in it; its services are stopped with the test. */
async function workingCopy(env: string, keys: Record<string, string> = {}): Promise<WorkingCopy> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-mission-'));
  for (const name of ['bin', 'src', 'sandbox', 'scripts', 'node_modules', 'package.json']) {
    symlinkSync(join(root, name), join(folder, name));
  }
  for (const name of ['start_services.sh', 'stop_services.sh']) cpSync(join(root, name), join(folder, name));
  const [gatewayPort, poolPort] = await Promise.all([findFreePort(), findFreePort()]);
  const here = (text: string) =>
    text.replaceAll('8018', String(gatewayPort)).replaceAll('8019', String(poolPort));
  writeFileSync(join(folder, '.env'), here(env));
  const variables = { ...childEnvironment, HOME: process.env['HOME'], ...keys };
  const options = { cwd: folder, env: variables, timeout: 60_000 };
  const bash = async (lines: string) => (await run('bash', ['-ec', here(lines)], options)).stdout;
  onTestFinished(async () => {
    await bash('./stop_services.sh');
    rmSync(folder, { recursive: true });
  });
  return {
    bash,
    async begins(line, isEnough) {
      const child = spawn('bash', ['-ec', here(line)], { ...options, detached: true });
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
      });
      try {
        await eventually(`${line}: ${output}`, () => isEnough(output));
      } finally {
        process.kill(-(child.pid ?? 0), 'SIGKILL');
      }
      return output;
    },
    python: (program) =>
      python.run(['-c', here(program)], { cwd: folder, environment: keys, timeoutMs: 60_000 }),
    async call(method, url, body) {
      const answer = await fetch(here(url), {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers: {
          'content-type': 'application/json',
          ...(keys['ADMIN_KEY'] ? { authorization: `Bearer ${keys['ADMIN_KEY']}` } : {}),
        },
      });
      return { status: answer.status, answer: await answer.json() };
    },
    gatewayPort,
    poolPort,
    folder,
  };
}

const printedAnswer = (said: string) =>
  expect.stringMatching(
    new RegExp(`^\\{.*'object': 'chat.completion'.*'role': 'assistant'.*${said}.*\\}\\n$`, 's'),
  );

test(
  'without a key: start, ask, borrow, look at the logs, replenish, refresh, stop',
  async () => {
    const copy = await workingCopy('PORT=8018\nPOOL_SERVICE_PORT=8019\n');
    const { bash, call, gatewayPort, poolPort, folder } = copy;

    const started = await bash('./start_services.sh');
    expect(started).toContain(`http://127.0.0.1:${poolPort}`);
    expect(started).toContain(`http://127.0.0.1:${gatewayPort}`);

    const shown = await bash('curl http://localhost:8019/api/accounts/status | python3 -m json.tool');
    expect(shown).toMatch(/^\{\n {4}"pool_stats": \{\n/);
    expect(JSON.parse(shown)).toMatchObject({ active_sessions: 0, running: true, sandbox: true });
    expect(JSON.parse(await bash('curl http://localhost:8019/health'))).toMatchObject({ sandbox: true });
    expect(JSON.parse(await bash('curl http://localhost:8018/health'))).toMatchObject({
      sandbox: true,
      pool: { reachable: true },
    });

    expect(await call('GET', 'http://localhost:8019/health')).toMatchObject({ status: 200 });
    const wish = { session_id: 'optional_session_id', count: 1 };
    const allocated = await call('POST', 'http://localhost:8019/api/accounts/allocate', wish);
    expect(allocated).toMatchObject({
      status: 200,
      answer: {
        success: true,
        session_id: 'optional_session_id',
        accounts: [{ email: expect.stringMatching(/@/), id_token: expect.any(String) }],
      },
    });
    const unknown = { session_id: 'session_id_to_release' };
    expect(await call('POST', 'http://localhost:8019/api/accounts/release', unknown)).toMatchObject({
      status: 404,
      answer: { success: false, error: { code: 'session_not_found' } },
    });
    const held = { session_id: 'optional_session_id' };
    expect(await call('POST', 'http://localhost:8019/api/accounts/release', held)).toEqual({
      status: 200,
      answer: { success: true, released: 1 },
    });
    expect(await copy.python(borrow)).toMatch(/^Using account: \S+@\S+\n$/);
    expect(await call('GET', 'http://localhost:8019/api/accounts/status')).toMatchObject({
      answer: { active_sessions: 0 },
    });

    expect(
      await call('POST', 'http://localhost:8018/v1/chat/completions', {
        model: 'claude-3-5-sonnet-20241022',
        messages: [{ role: 'user', content: 'Hello!' }],
        stream: false,
      }),
    ).toMatchObject({
      status: 200,
      answer: {
        object: 'chat.completion',
        choices: [{ message: { role: 'assistant', content: expect.stringContaining('Hello!') } }],
      },
    });

    expect(await copy.python(chat)).toEqual(printedAnswer('What is the weather today\\?'));

    const isPool = (output: string) => /the account pool listens/.test(output);
    const isGateway = (output: string) => /the gateway listens/.test(output);
    await copy.begins('tail -f logs/*.log', (output) => isPool(output) && isGateway(output));
    expect(await copy.begins('tail -f logs/pool-service.log', isPool)).not.toMatch(/the gateway listens/);
    expect(await copy.begins('tail -f logs/warp2api.log', isGateway)).not.toMatch(/the account pool listens/);

    if (await hasLsof()) {
      expect(await bash('lsof -i:8019')).toMatch(/LISTEN/);
      expect(await bash('lsof -i:8018')).toMatch(/LISTEN/);
    }

    // No account can come from anywhere; the answer says what to do.
    expect(JSON.parse(await bash(replenish))).toMatchObject({
      success: true,
      requested: 10,
      added: 0,
      reasons: ['no source configured'],
      message: expect.stringContaining('add accounts'),
    });
    expect(JSON.parse(await bash(refreshTokens))).toMatchObject({ success: true, refreshed: 0, failed: 0 });

    expect(await bash('./stop_services.sh')).toMatch(/warp2api stopped.*\npool-service stopped/);
    await expect(call('GET', 'http://localhost:8018/health')).rejects.toThrow('fetch failed');
    await expect(call('GET', 'http://localhost:8019/health')).rejects.toThrow('fetch failed');

    const database = new DatabaseSync(join(folder, 'data/accounts.db'), { readOnly: true });
    const made = database.prepare('SELECT type, count(*) AS count FROM sqlite_schema GROUP BY type').all();
    database.close();
    expect(made.map(({ type }) => type)).toEqual(expect.arrayContaining(['table', 'index']));
  },
  timeout,
);

test(
  'with the environment block and keys: the same calls with a key, and no answer without one',
  async () => {
    const keys = { ADMIN_KEY: 'a-key-for-the-owner-0001', API_KEY: 'a-key-for-a-client-0001' };
    const added = `ADMIN_KEY=${keys.ADMIN_KEY}\nAPI_KEYS=${keys.API_KEY}\nSANDBOX=on\n`;
    const copy = await workingCopy(environmentBlock + added, keys);
    const { bash, call } = copy;
    await bash('./start_services.sh');
    const withKey = (line: string) => line.replaceAll('curl ', 'curl -H "Authorization: Bearer $ADMIN_KEY" ');

    const status = 'curl http://localhost:8019/api/accounts/status | python3 -m json.tool';
    expect(JSON.parse(await bash(status))).toMatchObject({ error: { code: 'invalid_key' } });
    expect(JSON.parse(await bash(withKey(status)))).toMatchObject({ min_pool_size: 5, max_pool_size: 50 });
    expect(JSON.parse(await bash('curl http://localhost:8019/health'))).toMatchObject({ caller: 'unknown' });
    expect(JSON.parse(await bash('curl http://localhost:8018/health'))).toMatchObject({
      pool: { reachable: true, accepts_key: true },
    });

    // The key comes from ADMIN_KEY of the environment.
    expect(await copy.python(borrow)).toMatch(/^Using account: \S+@\S+\n$/);
    expect(JSON.parse(await bash(withKey(status)))).toMatchObject({ active_sessions: 0 });

    expect(await copy.python(chat)).toMatch(/'code': 'invalid_api_key'/);
    const header = `headers={"Authorization": "Bearer ${keys.API_KEY}"},\n    json={`;
    expect(await copy.python(chat.replace('json={', header))).toEqual(
      printedAnswer('What is the weather today\\?'),
    );

    // Twenty accounts in reserve: five may be drawn by the pool itself, which keeps MIN_POOL_SIZE.
    for (let number = 0; number < 20; number += 1) {
      const account = { provider: 'sandbox', api_key: `wk-${number}.abc`, standby: true };
      expect(await call('POST', 'http://localhost:8019/api/accounts', account)).toMatchObject({
        status: 201,
      });
    }
    expect(JSON.parse(await bash(withKey(replenish)))).toMatchObject({ requested: 10, added: 10, failed: 0 });
    expect(JSON.parse(await bash(withKey(refreshTokens)))).toMatchObject({ success: true, refreshed: 0 });
    expect(JSON.parse(await bash(refreshTokens))).toMatchObject({ error: { code: 'invalid_key' } });
    expect(await bash('./stop_services.sh')).toMatch(/warp2api stopped.*\npool-service stopped/);
  },
  timeout,
);

async function hasLsof(): Promise<boolean> {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, 'lsof')));
}
