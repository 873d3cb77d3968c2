import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { startOpenaiSandbox } from '../sandbox/openai-chat/server.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { examine } from '../src/doctor/doctor.ts';
import { misspeltSettings } from '../src/environment.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { runCommand, startProcess } from './support/process.ts';

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

async function installation(more: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-doctor-'));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment: Record<string, string> = {
    PORT: String(await findFreePort()),
    POOL_SERVICE_PORT: String(await findFreePort()),
    WARP_SERVER_URL: upstream.url,
    ...more,
  };
  /** What was found, by name. */
  const doctor = async (wantsAnswer = false, change: Record<string, string> = {}, clientKey?: string) => {
    const findings = await examine({
      loadConfig: () => loadConfig({ ...environment, ...change }, folder),
      misspeltSettings: () => misspeltSettings(folder),
      logger: createLogger('FATAL'),
      wantsAnswer,
      clientKey,
    });
    return Object.fromEntries(findings.map(({ name, result, message }) => [name, `${result}: ${message}`]));
  };
  /** Both services in this process. */
  const start = async () => {
    const onLost = (error: Error) => {
      throw error;
    };
    const config = loadConfig(environment, folder);
    const services = await startServices(config, 'both', createLogger('FATAL'), onLost);
    onTestFinished(() => services.close());
    return services.gatewayUrl;
  };
  const pool = (path: string, body?: unknown, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${environment['POOL_SERVICE_PORT']}${path}`, {
      headers,
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
  return { folder, environment, doctor, start, pool };
}

it('finds nothing amiss in a fresh folder, and says how to begin', async () => {
  const { doctor } = await installation();
  const found = await doctor();
  expect(Object.values(found).filter((line) => line.startsWith('problem'))).toEqual([]);
  expect(found).toMatchObject({
    pool: expect.stringMatching(/^ok: does not run; .* is free/),
    accounts: expect.stringMatching(/^ok: there is none yet; add one: .*sandbox answers/),
    'provider warp': expect.stringMatching(/^ok: .* answers \(\d+\)/),
    answer: 'skipped: the gateway does not run',
  });
});

it('has an answer with the key of a client where the gateway takes no other', async () => {
  const { doctor, start } = await installation();
  const url = await start();
  const made = await fetch(`${url}/api/keys`, { method: 'POST', body: JSON.stringify({ name: 'doctor' }) });
  const { secret } = (await made.json()) as { secret: string };
  expect((await doctor())['answer']).toMatch(/^skipped: the gateway takes only the keys .* CLIENT_KEY/);
  expect((await doctor(false, {}, secret))['answer']).toMatch(/^ok: sandbox answered/);
  expect((await doctor(false, {}, 'w2a_wrong'))['answer']).toMatch(/^problem: 401: The key is none/);
});

it('examines running services over HTTP, lends an account and gets an answer', async () => {
  const { environment, doctor, start, pool } = await installation({ ADMIN_KEY: 'boss-of-it' });
  await start();
  const sandboxed = await doctor();
  expect(sandboxed['answer']).toMatch(/^ok: sandbox answered in \d+ ms/);
  expect(sandboxed['lease']).toMatch(/^ok: an account of sandbox was lent/);
  const account = { provider: 'warp', api_key: 'wk-real', lend: 'gateway' };
  const authorization = 'Bearer boss-of-it';
  expect((await pool('/api/accounts', account, { authorization })).status).toBe(201);

  const found = await doctor();
  expect(found).toMatchObject({
    pool: expect.stringMatching(/^ok: runs at .* version/),
    gateway: expect.stringMatching(/^ok: runs at/),
    database: 'ok: the running pool has it open',
    accounts: 'ok: 1, of which 1 can be lent now',
    'gateway key': 'ok: the pool knows a gateway by it',
    lease: 'ok: an account of warp was lent and came back',
    answer: expect.stringMatching(/^skipped: --answer asks/),
  });
  expect((await doctor(true))['answer']).toMatch(/^ok: auto answered/);
  // Nothing is left lent, and no secret was shown.
  const status = (await (await pool('/api/accounts/status', undefined, { authorization })).json()) as {
    active_sessions: number;
  };
  expect(status.active_sessions).toBeLessThanOrEqual(1);
  expect(JSON.stringify(found)).not.toMatch(/boss-of-it|wk-real/);
  // Beside the process no key is needed; at the address of a pool it is.
  expect(await doctor(false, { ADMIN_KEY: '' })).toMatchObject({ database: found['database'] });
  const elsewhere = {
    DATA_DIR: 'another',
    POOL_SERVICE_PORT: '1',
    POOL_SERVICE_URL: `http://127.0.0.1:${environment['POOL_SERVICE_PORT']}`,
    ADMIN_KEY: 'is-not-it',
  };
  expect((await doctor(false, elsewhere))['database']).toMatch(/^problem: This key is not one of the pool/);
});

it('takes a built-in provider for no problem that no account is of', async () => {
  const vendor = await startOpenaiSandbox({ needsKey: false });
  onTestFinished(() => vendor.close());
  const away = 'http://127.0.0.1:1';
  const { folder, doctor, start, pool } = await installation({ WARP_SERVER_URL: away });
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers:\n  local: { type: openai_compatible, base_url: "${vendor.url}" }\n`,
  );
  await start();
  expect((await doctor())['provider warp']).toMatch(/^problem: .*ECONNREFUSED/);
  expect((await pool('/api/accounts', { provider: 'local' })).status).toBe(201);
  const found = await doctor();
  expect(found['provider warp']).toMatch(/^skipped: .*ECONNREFUSED.* No account is of it\.$/);
  expect(Object.values(found).filter((line) => line.startsWith('problem'))).toEqual([]);
});

it('asks for no gateway key where the pool runs inside the gateway', async () => {
  const { doctor, start } = await installation({ USE_POOL_SERVICE: 'false', WARP_API_KEY: 'wk-real' });
  await start();
  const found = await doctor();
  expect(found).toMatchObject({
    accounts: expect.stringMatching(/^ok: 1,/),
    turns: expect.stringMatching(/^ok/),
  });
  expect(found).not.toHaveProperty('gateway key');
});

it('says what to do about each thing that is wrong', async () => {
  const other = createServer((_request, response) => response.end('something else'));
  const port = await listen(other);
  const { folder, doctor } = await installation();
  expect((await doctor(false, { PORT: String(port) }))['gateway']).toMatch(
    /^problem: another program listens at .*: stop it, or choose another PORT/,
  );
  expect((await doctor(false, { POOL_SERVICE_PORT: String(port) }))['pool']).toMatch(
    /^problem: another program listens at .*: stop it, or choose another POOL_SERVICE_PORT/,
  );
  const elsewhere = { POOL_SERVICE_URL: `http://127.0.0.1:${port}/api` };
  expect((await doctor(false, elsewhere))['pool']).toMatch(
    /^problem: what answers at .*\/api is not the pool: correct POOL_SERVICE_URL/,
  );
  const key = join(folder, 'data', 'master.key');
  chmodSync(key, 0o644);
  expect((await doctor())['database']).toMatch(/^problem: .*chmod 600/);
  chmodSync(key, 0o600);
  expect((await doctor(false, { WARP_SERVER_URL: 'http://127.0.0.1:1' }))['provider warp']).toMatch(
    /^problem: .* cannot be reached \(ECONNREFUSED\)/,
  );
  expect((await doctor(false, { PORT: 'x' }))['configuration']).toMatch(/^problem: PORT=x: must be/);
  writeFileSync(join(folder, '.env'), 'LOG_LEVLE=DEBUG\n');
  expect((await doctor())['settings']).toMatch(/^skipped: LOG_LEVLE in \.env .* did you mean LOG_LEVEL\?/);
  rmSync(join(folder, '.env'));
  expect((await doctor(false, { SANDBOX: 'off' }))['accounts']).toMatch(/^problem: there is none yet/);
  mkdirSync(join(folder, 'broken'));
  writeFileSync(join(folder, 'broken', 'accounts.db'), 'this is no database'.repeat(100));
  expect((await doctor(false, { DATA_DIR: 'broken' }))['database']).toMatch(/^problem: .*cannot be used/);
  writeFileSync(join(folder, 'file'), '', { mode: 0o644 });
  expect((await doctor(false, { DATA_DIR: 'file' }))['data folder']).toMatch(/^problem: .* is a file/);
});

it('looks at the database of client keys, without which no client is answered', async () => {
  const { folder, environment, doctor } = await installation();
  expect((await doctor())['client keys']).toMatch(/^ok: .*usage\.db will be made/);
  const service = await startProcess(['serve', 'gateway'], environment, folder);
  expect(await doctor()).not.toHaveProperty('client keys');
  const other = await doctor(false, { PORT: String(await findFreePort()) });
  expect(other['client keys']).toMatch(/^skipped: .*usage\.db is held by process \d+/);
  await service.kill('SIGTERM');
  expect((await doctor())['client keys']).toMatch(/^ok: .*usage\.db opens, its schema is up to date$/);

  const file = join(folder, 'data', 'usage.db');
  const database = new DatabaseSync(file);
  database.exec(`INSERT INTO schema_migrations VALUES (99, 'of a later release', 0)`);
  database.close();
  expect((await doctor())['client keys']).toMatch(/^problem: The database .*usage\.db has schema version 99/);
  writeFileSync(file, 'this is no database'.repeat(100));
  expect((await doctor())['client keys']).toMatch(/^problem: .*usage\.db cannot be used: .* put a backup/);
});

it('warns, as a start does, of a gateway that a proxy opens to all who reach it', async () => {
  const key = 'a-key-of-the-operator';
  const { folder, environment, doctor } = await installation({ ALLOWED_HOSTS: 'ai.lan', ADMIN_KEY: key });
  const warning = /ALLOWED_HOSTS=ai\.lan .* and there is no client key/;
  expect((await doctor())['keys']).toMatch(warning);
  const service = await startProcess(['serve'], environment, folder);
  expect(service.output()).toMatch(warning);
  expect((await doctor())['keys']).toMatch(warning);
  expect((await runCommand(['key', 'create', 'team'], environment, folder)).code).toBe(0);
  expect(await doctor()).not.toHaveProperty('keys');
  await service.kill('SIGTERM');
  expect(await doctor()).not.toHaveProperty('keys');
  const again = await startProcess(['serve'], environment, folder);
  expect(again.output()).not.toMatch(warning);
});

it('sees a clock that is wrong', async () => {
  const hourAgo = new Date(Date.now() - 3_600_000).toUTCString();
  const server = createServer((_request, response) => {
    response.setHeader('date', hourAgo);
    response.end();
  });
  const { doctor } = await installation({ WARP_SERVER_URL: `http://127.0.0.1:${await listen(server)}` });
  expect((await doctor())['clock']).toMatch(/^problem: this machine is 3\d{3} s ahead of the provider/);
});

it('looks at every configured provider, not only at Warp', async () => {
  const { folder, doctor } = await installation();
  const vendor = await startSandbox();
  onTestFinished(() => vendor.close());
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers:
  tokens: { type: oauth2, token_url: "${vendor.url}/oauth2/token", client_id: me }
  keys: { type: api_key, check_url: "http://127.0.0.1:${await findFreePort()}/v1/models" }
`,
  );
  expect(await doctor()).toMatchObject({
    'provider tokens': expect.stringMatching(/^ok: .* answers/),
    'provider keys': expect.stringMatching(/^problem: .* cannot be reached/),
  });
});

it('says why no turn can be answered, also where there are accounts, as the status does', async () => {
  const { folder, environment, doctor, pool } = await installation();
  const upstream = environment['WARP_SERVER_URL'];
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers: { local: { type: api_key, check_url: "${upstream}/health" } }`,
  );
  await startProcess(['serve'], environment, folder);
  const status = async () => (await runCommand(['status'], environment, folder)).stdout;
  await pool('/api/accounts', { provider: 'local', api_key: 'any' });
  const reason =
    'The gateway sends turns to warp, oz and 14 other providers only, and the pool has no account of these';
  expect(await doctor()).toMatchObject({
    accounts: 'ok: 1, of which 1 can be lent now',
    turns: expect.stringContaining(`problem: ${reason}`),
    gateway: expect.stringContaining(`degraded: ${reason}`),
  });
  expect(await status()).toContain(`\n${reason}`);

  await pool('/api/accounts', { provider: 'warp', api_key: 'wk-1.revoked', email: 'me@example.com' });
  expect(await doctor()).toMatchObject({
    turns: expect.stringContaining('problem: No account can answer: 1 needs a new key or login'),
    logins: expect.stringContaining(
      'me@example.com (the provider does not accept its credential (401)); give it with "warp2api account replace"',
    ),
  });
  expect(await status()).toContain('No account can answer: 1 needs a new key or login');

  await pool('/api/accounts', { provider: 'warp', api_key: 'wk-good' });
  expect((await doctor())['turns']).toBe('ok: the gateway has accounts to answer them with');
  expect(await status()).not.toContain('No account can answer');
});
