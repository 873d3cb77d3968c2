import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { expect, it, onTestFinished } from 'vitest';
import { createLimit } from '../src/lib/tasks.ts';
import { finished, init, stream } from '../src/protocols/warp/testing/events.ts';
import { raw } from '../src/protocols/warp/testing/wire.ts';
import { childEnvironment, startProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

/** Every place that can hold a secret has one of its own, and everything outside repeats what it is sent. */

const names = [
  ...['adminKey', 'poolKey', 'gatewayKey', 'clientKey', 'firebaseKey', 'envAccountKey'],
  ...['commandToken', 'commandPlain', 'commandArgument', 'commandHeader'],
  ...['hookQuery', 'hookPath', 'hookHeader', 'issuerKey', 'clientSecret', 'checkQuery', 'tokenQuery'],
  ...['proxyUser', 'proxyPassword', 'keepPassword', 'databasePassword'],
  ...[
    'goodKey',
    'failingKey',
    'importedKey',
    'deliveredKey',
    'warpToken',
    'corpToken',
    'farKey',
    'brokenYaml',
  ],
] as const;
type Name = (typeof names)[number];

/** Distinct, without a common beginning, no words of ours, and without what makes a text look like a key. */
const secrets = Object.fromEntries(
  names.map((name) => {
    const letters = createHash('sha256')
      .update(name)
      .digest('hex')
      .replace(/\d/g, (digit) => 'ghijklmnop'[Number(digit)] ?? '');
    return [name, `${letters.slice(0, 14)}-${letters.slice(14, 28)}`];
  }),
) as Record<Name, string>;

async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

const repeat = (value: string): string =>
  [value, encodeURIComponent(value), Buffer.from(value).toString('base64'), JSON.stringify(value)].join(' ');

/** Answers everything with what it was asked, in the way that `mode` says. */
async function startEcho() {
  const echo = { mode: '401', url: '', asked: 0 };
  const said = async (request: IncomingMessage): Promise<string> => {
    // Nothing of a request whose client has left.
    const body = await buffer(request).catch(() => Buffer.of());
    const { authorization = '' } = request.headers;
    const headers = JSON.stringify(request.headers);
    return `Incorrect API key provided: ${authorization}. ${repeat(request.url ?? '')} ${repeat(headers)} ${repeat(body.toString('latin1'))}`;
  };
  const server = createHttpServer(async (request, response) => {
    echo.asked += 1;
    const message = await said(request);
    if (echo.mode === 'stream' && request.url?.includes('/ai/')) {
      const refusal = message.replace('Incorrect API key', 'Odd field');
      const text = `status code: 400 {"error":{"message":${JSON.stringify(refusal)}}}`;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(stream(init(), raw([3, raw([7, raw([1, text])])]), finished()));
      return;
    }
    const status = echo.mode === 'stream' ? 500 : Number(echo.mode);
    response.writeHead(status, message.replace(/[^ -~]/g, ' ').slice(0, 200), {
      'content-type': 'application/json',
      // Longer than a turn waits for an account.
      ...(status === 429 ? { 'retry-after': '60' } : {}),
      'x-echo': message.replace(/[^ -~]/g, ' ').slice(0, 4000),
    });
    response.end(JSON.stringify({ error: { message, code: 'invalid_api_key' }, error_description: message }));
  });
  echo.url = `http://127.0.0.1:${await listen(server)}`;
  return echo;
}

/** A proxy that lets nothing through and repeats what it was shown. */
async function startProxy(): Promise<number> {
  const server = createHttpServer();
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    const said = repeat(request.headers['proxy-authorization'] ?? '');
    socket.end(
      `HTTP/1.1 407 ${said}\r\nproxy-authenticate: Basic realm="${said.replaceAll('"', '')}"\r\n\r\n${said}`,
    );
  });
  return listen(server);
}

/** Speaks just enough of PostgreSQL to ask for the password, and to refuse it in words that repeat it. */
async function startDatabase(): Promise<number> {
  const server = createServer((socket) => {
    let step = 0;
    socket.on('error', () => {});
    socket.on('data', (data: Buffer) => {
      step += 1;
      if (data.readInt32BE(4) === 80877103) {
        step = 0;
        socket.write('N');
      } else if (step === 1) socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]));
      else {
        const given = data.subarray(5, -1).toString();
        const fields = `SFATAL\0C28P01\0Mpassword "${given}" of postgres://user:${encodeURIComponent(given)}@host is wrong\0\0`;
        const head = Buffer.alloc(5);
        head.write('E');
        head.writeInt32BE(Buffer.byteLength(fields) + 4, 1);
        socket.end(Buffer.concat([head, Buffer.from(fields)]));
      }
    });
  });
  return listen(server);
}

const program = resolve(import.meta.dirname, '../src/main.ts');

async function runCommand(
  words: readonly string[],
  environment: Record<string, string>,
  folder: string,
  input = '',
) {
  const child = spawn(process.execPath, [program, ...words], {
    cwd: folder,
    env: { ...childEnvironment, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  child.stdin.end(input);
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  clearTimeout(timer);
  return `$ ${words[0]} ${words[1] ?? ''}\n${out}${err}`;
}

const repeater = `
const all = { ...process.env };
console.error(JSON.stringify(all) + ' ' + process.argv.slice(2).join(' '));
for (const value of [...Object.values(all), ...process.argv]) console.error(value, Buffer.from(value).toString('base64'));
console.log(JSON.stringify({ provider: 'echo', api_key: all.DELIVERED, label: 5 }));
console.log(JSON.stringify({ provider: 'echo', api_key: all.DELIVERED, capacity: all.DELIVERED }));
console.log('{"provider": "echo", "api_key": "' + all.DELIVERED);
process.exit(3);
`;

async function installation() {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-echo-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const echo = await startEcho();
  const [proxy, keep, database] = await Promise.all([startProxy(), startDatabase(), startDatabase()]);
  writeFileSync(join(folder, 'repeat.cjs'), repeater);
  mkdirSync(join(folder, 'drop'));
  writeFileSync(
    join(folder, 'drop', 'some.jsonl'),
    [
      `{"provider":"echo","api_key":"${secrets.importedKey}","label":7}`,
      `{"provider":"echo","api_key":"${secrets.importedKey}"`,
      `{"provider":"nobody","api_key":"${secrets.importedKey}"}`,
      secrets.importedKey,
      '',
    ].join('\n'),
  );
  const yaml = {
    providers: {
      echo: { type: 'api_key', check_url: `${echo.url}/check?key=${secrets.checkQuery}` },
      far: { type: 'api_key', check_url: 'https://far.invalid/check' },
      corp: {
        type: 'oauth2',
        token_url: `${echo.url}/token?key=${secrets.tokenQuery}`,
        client_id: 'client-of-ours',
        client_secret: secrets.clientSecret,
        device_authorization_url: `${echo.url}/device`,
        quota_url: `${echo.url}/quota`,
      },
    },
    sources: [
      {
        type: 'command',
        command: [
          ...[process.execPath, 'repeat.cjs', `--password=${secrets.commandArgument}`],
          ...['-H', `Authorization: Bearer ${secrets.commandHeader}`],
        ],
        env: {
          ...{ VAULT_TOKEN: secrets.commandToken, PLAIN: secrets.commandPlain },
          ...{ DELIVERED: secrets.deliveredKey, MODE: 'prod', LEVEL: '1', PROVIDER: 'echo' },
        },
      },
      {
        type: 'webhook',
        url: `${echo.url}/hooks/${secrets.hookPath}?sig=${secrets.hookQuery}`,
        header_env: { 'x-hook': 'HOOK_HEADER' },
      },
      { type: 'openrouter_keys', admin_key_env: 'ISSUER_KEY', base_url: echo.url, limit: 1 },
      { type: 'file', path: 'drop' },
      { type: 'device_login', provider: 'corp' },
    ],
  };
  writeFileSync(join(folder, 'warp2api.yaml'), JSON.stringify(yaml));
  const environment: Record<string, string> = {
    ...{ PORT: '0', POOL_SERVICE_PORT: '0', DATA_DIR: folder, LOG_LEVEL: 'TRACE', SHUTDOWN_SECONDS: '0' },
    ...{
      ADMIN_KEY: secrets.adminKey,
      POOL_API_KEY: secrets.poolKey,
      API_KEYS: `${secrets.clientKey},other-client-key`,
    },
    ...{ GATEWAY_KEY: secrets.gatewayKey, MASTER_KEY: createHash('sha256').update('master').digest('hex') },
    ...{ WARP_SERVER_URL: echo.url, WARP_TOKEN_URL: echo.url, WARP_IDENTITY_URL: echo.url },
    ...{ WARP_FIREBASE_API_KEY: secrets.firebaseKey, WARP_OAUTH_CLIENT_ID: 'warp-client' },
    ...{
      WARP_API_KEY: `wk-${secrets.envAccountKey}`,
      HOOK_HEADER: secrets.hookHeader,
      ISSUER_KEY: secrets.issuerKey,
    },
    HTTPS_PROXY: `http://${secrets.proxyUser}:${secrets.proxyPassword}@127.0.0.1:${proxy}`,
    KEEP_URL: `postgres://keeper:${secrets.keepPassword}@127.0.0.1:${keep}/kept`,
    ...{ REFRESH_MIN_INTERVAL_MINUTES: '0', MIN_POOL_SIZE: '0', UPSTREAM_FIRST_EVENT_SECONDS: '5' },
  };
  const databaseUrl = `postgres://owner:${secrets.databasePassword}@127.0.0.1:${database}/accounts`;
  return { folder, echo, environment, databaseUrl };
}

it('nothing that repeats a secret makes it appear anywhere, whatever holds it', async () => {
  const { folder, echo, environment, databaseUrl } = await installation();
  const said: string[] = [];
  const services = await startProcess(['serve'], environment, folder);
  const poolUrl = await eventually(
    'the pool listens',
    () => /"url":"([^"]+)"[^\n]*the account pool listens/.exec(services.output())?.[1],
  );
  const call = async (url: string, body?: unknown, key: string = secrets.adminKey, method?: string) => {
    const answer = await fetch(url, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const spoken = `${url} ${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
    said.push(spoken);
    return spoken;
  };
  const accounts = `${poolUrl}/api/accounts`;
  const credentials = {
    warp: { api_key: `wk-${secrets.goodKey}` },
    echo: { api_key: secrets.failingKey },
    far: { api_key: secrets.farKey },
    corp: { refresh_token: secrets.corpToken },
  };
  for (const mode of ['500', '400', '403', '401', '429']) {
    echo.mode = mode;
    for (const [provider, credential] of Object.entries(credentials)) {
      await call(accounts, { provider, ...credential });
    }
    await call(accounts, { provider: 'warp', refresh_token: secrets.warpToken });
    await call(`${accounts}/refresh-tokens`, { force: true });
    await call(`${accounts}/replenish`, { count: 2 });
    await call(`${accounts}/import`, {
      lines: `{"provider":"far","api_key":"${secrets.importedKey}"}\n{"provider":"corp","api_key":"${secrets.importedKey}"}`,
    });
    await call(`${poolUrl}/api/logins`, { provider: 'corp' });
    await call(accounts);
  }
  for (const mode of ['500', '400', '403', '429', 'stream', '401']) {
    echo.mode = mode;
    // What the modes before have done to the accounts is undone.
    for (const id of (await call(accounts)).matchAll(/"id":"(acc_[^"]+)","provider":"warp"/g)) {
      await call(`${accounts}/${id[1]}`, { enabled: false }, secrets.adminKey, 'PATCH');
      await call(`${accounts}/${id[1]}`, { enabled: true }, secrets.adminKey, 'PATCH');
    }
    const turn = userTurn('auto', 'hello');
    await call(`${services.url}/v1/chat/completions`, turn, secrets.clientKey);
    await call(`${services.url}/v1/chat/completions`, { ...turn, stream: true }, secrets.clientKey);
    await call(`${services.url}/v1/messages`, { ...turn, max_tokens: 10 }, secrets.clientKey);
    await call(
      `${services.url}/v1/responses`,
      { model: 'auto', input: 'hello', background: false },
      secrets.clientKey,
    );
    await call(`${services.url}/v1/models`, undefined, secrets.clientKey);
  }
  expect(echo.asked).toBeGreaterThan(40);
  for (const path of ['/health', '/metrics', '/api/accounts', '/api/accounts/status', '/api/audit']) {
    await call(`${poolUrl}${path}`);
    await call(`${services.url}${path}`);
  }
  for (const id of (await call(accounts)).matchAll(/"id":"(acc_[^"]+)"/g)) await call(`${accounts}/${id[1]}`);

  const commands = createLimit(2);
  const run = (words: string, change: Record<string, string>, input?: string): Promise<unknown> =>
    commands(async () => {
      said.push(await runCommand(words.split(' '), { ...environment, ...change }, folder, input));
    });
  const atServices = { POOL_SERVICE_URL: poolUrl, POOL_SERVICE_PORT: new URL(poolUrl).port };
  const shown = ['status', 'status --json', 'account list', 'audit', 'doctor', 'doctor --json', 'config'];
  await Promise.all(shown.map((words) => run(words, atServices)));
  await services.kill('SIGTERM');
  writeFileSync(
    join(folder, 'broken.yaml'),
    `sources:\n  - type: command\n    env: {A: "${secrets.brokenYaml}\n  b: *${secrets.brokenYaml}\n`,
  );
  writeFileSync(join(folder, 'alias.yaml'), `providers: *${secrets.brokenYaml}\n`);
  const withoutDatabase = ['doctor', 'account list', 'serve pool', 'account add --provider echo --api-key -'];
  await Promise.all([
    ...withoutDatabase.map((words) => run(words, { DATABASE_URL: databaseUrl }, secrets.goodKey)),
    run(`migrate --to ${databaseUrl}`, {}),
    run('doctor', { CONFIG_FILE: 'broken.yaml' }),
    run('doctor', { CONFIG_FILE: 'alias.yaml' }),
    run('doctor', { WARP_TOKEN_URL: `http://far.invalid/?key=${secrets.tokenQuery}` }),
  ]);

  const all = `${services.output()}\n${said.join('\n')}`;
  // Everything repeated something: otherwise this test would prove little.
  const proofs = [
    /the command failed/,
    /the webhook answered/,
    /refused to connect to far\.invalid:443 \(407\)/,
    /password [^\n]+ is wrong/,
    /Incorrect API key provided/,
    /vendor refused the request: Odd field provided/,
    /broken\.yaml cannot be read/,
    /alias\.yaml cannot be read/,
  ];
  expect(proofs.filter((proof) => !proof.test(all))).toEqual([]);
  const found = names.flatMap((name) => {
    const secret = secrets[name];
    const inBase64 = Buffer.from(`a${secret}`).toString('base64').slice(4, -4);
    const parts = [secret.slice(0, 12), secret.slice(-12), inBase64.slice(0, 12), inBase64.slice(-12)];
    return parts.flatMap((part) => {
      const at = all.indexOf(part);
      return at < 0 ? [] : [`${name}: …${all.slice(Math.max(0, at - 200), at + 40)}`];
    });
  });
  if (process.env['SHOW']) writeFileSync(process.env['SHOW'], all);
  expect(found).toEqual([]);
});
