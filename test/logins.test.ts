import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { childEnvironment, startProcess } from './support/process.ts';
import { eventually } from './support/services.ts';

interface Login {
  readonly id: string;
  readonly status: string;
  readonly user_code: string;
  readonly verification_uri_complete: string;
  readonly account_id: string | null;
  readonly error: string | null;
}

/** The pool's service as a process of its own, with Warp played by the sandbox. */
async function startPool() {
  const sandbox = await startSandbox();
  onTestFinished(() => sandbox.close());
  sandbox.tokens.set({ device: { intervalSeconds: 1 } });
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-logins-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const environment = {
    WARP_SERVER_URL: sandbox.url,
    WARP_IDENTITY_URL: sandbox.url,
    WARP_TOKEN_URL: sandbox.url,
    WARP_FIREBASE_API_KEY: 'K',
    WARP_OAUTH_CLIENT_ID: 'client',
    POOL_SERVICE_PORT: '0',
    DATA_DIR: folder,
  };
  const start = () => startProcess(['serve', 'pool'], environment, folder);
  return { sandbox, folder, environment, start };
}

async function call(url: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(`${url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { httpStatus: answer.status, ...((await answer.json()) as object) };
}

async function startLogin(url: string, change: object = {}): Promise<Login> {
  const answer = await call(url, '/api/logins', { provider: 'warp', ...change });
  expect(answer['httpStatus']).toBe(201);
  return answer['login'] as Login;
}

const ended = (url: string, id: string) =>
  eventually(`login ${id} ends`, async () => {
    const { login } = (await call(url, `/api/logins/${id}`)) as { login: Login };
    return login.status !== 'pending' && login;
  });

const deviceOf = (sandbox: Sandbox, login: Login) =>
  sandbox.tokens.devices().find(({ userCode }) => userCode === login.user_code);

it('approved in the browser: the account is lent, and a refresh works later', async () => {
  const { sandbox, start } = await startPool();
  const service = await start();
  const login = await startLogin(service.url, { label: 'work' });
  // As a person does it: open the address, press the button.
  const page = await (await fetch(login.verification_uri_complete)).text();
  expect(page).toContain(login.user_code);
  const form = new URLSearchParams({
    user_code: login.user_code,
    action: 'approve',
    email: 'me@example.com',
  });
  await fetch(`${sandbox.url}/device`, { method: 'POST', body: form });

  const { status, account_id } = await ended(service.url, login.id);
  expect(status).toBe('approved');
  const { account } = (await call(service.url, `/api/accounts/${account_id}`)) as {
    account: Record<string, unknown>;
  };
  expect(account).toMatchObject({
    email: 'me@example.com',
    label: 'work',
    status: 'active',
    probe: 'proved',
  });
  const allocated = (await call(service.url, '/api/accounts/allocate', {})) as {
    accounts: { id_token: string }[];
  };
  const bearer = allocated.accounts[0]?.id_token ?? '';
  expect(bearer.startsWith('eyJ')).toBe(true);
  expect(sandbox.tokens.stats()).toMatchObject({ asked: 0, pollsTooSoon: 0, forbiddenHeaders: 0 });

  const refreshed = await call(service.url, '/api/accounts/refresh-tokens', { id: account_id });
  expect(refreshed).toMatchObject({ success: true, refreshed: 1 });
  expect(sandbox.tokens.stats()).toMatchObject({ asked: 1, issued: 1, misuse: 0 });
  // The end of a part of an account's id may read "dc-", too.
  expect(service.output()).not.toMatch(/(?<![\da-f])(rt|custom|dc)-/);
  expect(service.output()).not.toContain(bearer);
});

it('denied, or left until it expires: no account, and no further question', async () => {
  const { sandbox, start } = await startPool();
  const service = await start();
  const denied = await startLogin(service.url);
  sandbox.tokens.decide(denied.user_code, 'deny');
  expect(await ended(service.url, denied.id)).toMatchObject({ status: 'denied', account_id: null });
  sandbox.tokens.set({ device: { intervalSeconds: 1, lifetimeSeconds: 2 } });
  const late = await startLogin(service.url);
  expect(await ended(service.url, late.id)).toMatchObject({ status: 'expired', account_id: null });
  const polls = () => sandbox.tokens.devices().map((device) => device.polls);
  const before = polls();
  await new Promise((done) => setTimeout(done, 1_500));
  expect(polls()).toEqual(before);
  expect(await call(service.url, '/api/accounts')).toMatchObject({ total: 0 });
});

it('asked to slow down, it does, and still gets through', async () => {
  const { sandbox, start } = await startPool();
  const service = await start();
  const login = await startLogin(service.url);
  const device = await eventually('it is polled', () => {
    const found = deviceOf(sandbox, login);
    return found && found.polls > 0 && found;
  });
  // As if the last question had come later than it did: the next one comes too soon, however late it is.
  device.lastPollAt = Date.now() + 600_000;
  await eventually('it is told so', () => device.pollsTooSoon === 1);
  expect(device.intervalSeconds).toBe(6);
  sandbox.tokens.decide(login.user_code, 'approve');
  const told = device.polls;
  await eventually('it is approved', async () => {
    const { login: present } = (await call(service.url, `/api/logins/${login.id}`)) as { login: Login };
    return present.status === 'approved';
  });
  expect(device.polls).toBe(told + 1);
  expect(device.pollsTooSoon).toBe(1);
});

it('killed while it waits, it goes on after the restart', async () => {
  const { sandbox, start } = await startPool();
  sandbox.tokens.set({ device: { intervalSeconds: 2 } });
  const first = await start();
  const login = await startLogin(first.url);
  await eventually('it is polled', () => (deviceOf(sandbox, login)?.polls ?? 0) > 0);
  // Between two questions: one that is under way keeps others from asking until it has surely ended.
  await new Promise((done) => setTimeout(done, 500));
  await first.kill('SIGKILL');
  sandbox.tokens.decide(login.user_code, 'approve');
  const second = await start();
  const { status } = await ended(second.url, login.id);
  expect(status).toBe('approved');
});

it('the command waits for the approval, over the service or the store itself', async () => {
  const { sandbox, environment, folder, start } = await startPool();
  const run = (environmentNow: Record<string, string>): { child: ChildProcess; output(): string } => {
    const child = spawn(
      process.execPath,
      [resolve(import.meta.dirname, '../src/main.ts'), 'account', 'login', '--label', 'cli'],
      {
        cwd: folder,
        env: { ...childEnvironment, ...environmentNow },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      output += chunk;
    });
    return { child, output: () => output };
  };
  const approve = async (command: ReturnType<typeof run>): Promise<string> => {
    const closed = once(command.child, 'close');
    const code = await eventually(
      'a code is shown',
      () => /^ {2}([A-Z]{4}-[A-Z]{4})$/m.exec(command.output())?.[1],
    );
    sandbox.tokens.decide(code, 'approve');
    expect([(await closed)[0], command.output()]).toEqual([0, command.output()]);
    return command.output();
  };
  expect(await approve(run(environment))).toContain('Logged in. This account is in the pool');
  const service = await start();
  const over = run({ ...environment, POOL_SERVICE_URL: service.url });
  expect(await approve(over)).toContain('person@sandbox.invalid');
  expect(await call(service.url, '/api/accounts')).toMatchObject({ total: 2 });
});
