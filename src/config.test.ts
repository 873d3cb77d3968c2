import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { loadConfig } from './config.ts';
import { ConfigError, misspeltSettings, readEnvironment, unreadTelemetry } from './environment.ts';
import { makeCertificate } from './lib/network/testing/certificate.ts';
import { checkRunMode } from './run-mode.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const load = (environment: NodeJS.ProcessEnv) => loadConfig(environment, folder);

test('an empty environment gives the documented defaults', () => {
  const config = load({});
  expect(config.gateway).toMatchObject({ host: '127.0.0.1', port: 8018, apiKeys: [] });
  expect(config.pool).toMatchObject({ host: '127.0.0.1', port: 8019, minSize: 5, maxSize: 50 });
  expect(config.poolUrl).toBe('http://127.0.0.1:8019');
  expect(config.databaseUrl).toBe(`sqlite:${join(folder, 'data', 'accounts.db')}`);
  expect(config.providerSettings['WARP_SERVER_URL']).toBe('https://app.warp.dev');
});

test('refreshing more often than hourly is for token hosts on this machine', () => {
  expect(() => load({ REFRESH_MIN_INTERVAL_MINUTES: '5' })).toThrow(/below 60 and WARP_TOKEN_URL/);
  const local = { REFRESH_MIN_INTERVAL_MINUTES: '5', WARP_TOKEN_URL: 'http://127.0.0.1:9/' };
  expect(load(local).pool.refreshMinIntervalMs).toBe(300_000);
});

test('a database is a file under DATA_DIR, memory, or PostgreSQL', () => {
  expect(load({ DATABASE_URL: 'sqlite::memory:' }).databaseUrl).toBe('sqlite::memory:');
  expect(load({ DATABASE_URL: 'sqlite://a.db' }).databaseUrl).toBe(`sqlite:${join(folder, 'data', 'a.db')}`);
  expect(load({ DATABASE_URL: 'sqlite:///tmp/a.db' }).databaseUrl).toBe('sqlite:/tmp/a.db');
  expect(load({ DATABASE_URL: 'postgres://u:p@h/d' }).databaseUrl).toBe('postgres://u:p@h/d');
});

test('what the gateway keeps lies beside the accounts, in a file of its own or where it is told', () => {
  const keepOf = (environment: NodeJS.ProcessEnv) => load(environment).gateway.keep.url;
  expect(keepOf({})).toBe(`sqlite:${join(folder, 'data', 'gateway.db')}`);
  expect(keepOf({ DATABASE_URL: 'postgres://u:p@h/d' })).toBe('postgres://u:p@h/d');
  expect(keepOf({ DATABASE_URL: 'sqlite::memory:' })).toBe('memory');
  expect(keepOf({ DATABASE_URL: 'postgres://u:p@h/d', KEEP_URL: 'memory' })).toBe('memory');
  expect(keepOf({ KEEP_URL: 'sqlite:other.db' })).toBe(`sqlite:${join(folder, 'data', 'other.db')}`);
  expect(load({ KEEP_MAX_MB: '3' }).gateway.keep.maxBytes).toBe(3 * 1024 * 1024);
});

test('an empty value counts as unset', () => {
  expect(load({ PORT: '', ADMIN_KEY: ' ' }).gateway.port).toBe(8018);
});

test('the pool URL follows host and port of the pool unless it is set', () => {
  expect(load({ POOL_SERVICE_PORT: '9019' }).poolUrl).toBe('http://127.0.0.1:9019');
  const at = (POOL_SERVICE_HOST: string) => load({ POOL_SERVICE_HOST }).poolUrl;
  expect(at('192.168.1.5')).toBe('http://192.168.1.5:8019');
  expect(at('pool')).toBe('http://pool:8019');
  expect(at('fd00::5')).toBe('http://[fd00::5]:8019');
  expect(at('0.0.0.0')).toBe('http://127.0.0.1:8019');
  expect(at('::')).toBe('http://[::1]:8019');
  expect(new URL(load({ POOL_SERVICE_URL: 'HTTP://Pool:1/x/' }).poolUrl).href).toBe('http://pool:1/x');
  expect(load({ POOL_SERVICE_PORT: '9019', POOL_SERVICE_URL: 'http://10.0.0.5:1/' }).poolUrl).toBe(
    'http://10.0.0.5:1',
  );
});

test.each([
  [{ PORT: 'eighty' }, /PORT=eighty: must be a port number/],
  [{ PORT: '70000' }, /PORT=70000/],
  [{ MIN_POOL_SIZE: '-1' }, /MIN_POOL_SIZE=-1: must be a whole number from 0/],
  [{ MIN_POOL_SIZE: '9', MAX_POOL_SIZE: '3' }, /MIN_POOL_SIZE \(9\) is above MAX_POOL_SIZE \(3\)/],
  [{ WARP_SERVER_URL: 'http://example.com' }, /WARP_SERVER_URL=.*must be https/],
  [{ WARP_SERVER_URL: 'app.warp.dev' }, /WARP_SERVER_URL=.*must be a URL/],
  [{ LOG_LEVEL: 'LOUD' }, /LOG_LEVEL/],
  [{ ALLOWED_HOSTS: 'a.lan, *.lan' }, /ALLOWED_HOSTS=.*must be host names.*"\*\.lan" is none/],
  [{ CORS_ORIGINS: 'localhost:3000' }, /CORS_ORIGINS=.*must be origins.*"localhost:3000" is none/],
  [{ CORS_ORIGINS: 'https://*.a.example:x' }, /CORS_ORIGINS=.*must be origins.*is none/],
  [{ CORS_ORIGINS: 'https://a.example/app' }, /CORS_ORIGINS=.*"https:\/\/a\.example\/app" is none/],
  [{ SANDBOX: 'maybe' }, /SANDBOX=maybe: must be auto, on or off/],
  [{ USE_POOL_SERVICE: 'perhaps' }, /USE_POOL_SERVICE=perhaps: must be true or false/],
  [{ KEEP_URL: 'redis://u:p@h' }, /KEEP_URL: must be memory, sqlite:.*postgres:/],
  [{ KEEP_URL: 'sqlite:accounts.db' }, /KEEP_URL names the file of DATABASE_URL/],
  [{ DATABASE_URL: 'mysql://x' }, /DATABASE_URL: must be sqlite:.*postgres:/],
  [{ KEEP_URL: 'sqlite:./accounts.db' }, /KEEP_URL names the file of DATABASE_URL/],
  [{ HOST: '127.0.0.1:8018' }, /HOST=127\.0\.0\.1:8018: must be a host name.*without a port/],
  [{ HOST: 'http://box' }, /HOST=.*must be a host name/],
  [{ POOL_SERVICE_HOST: '*' }, /POOL_SERVICE_HOST=\*.*such as 127\.0\.0\.1 or 0\.0\.0\.0/],
  [{ HOST: '1.2.3.400' }, /HOST=1\.2\.3\.400/],
  [{ POOL_SERVICE_URL: 'http://u:p@box:8019' }, /POOL_SERVICE_URL=.*without user/],
  [{ POOL_SERVICE_URL: 'http://box:8019/?a' }, /POOL_SERVICE_URL=.*without user, query/],
  [{ DATA_DIR: '$HOME/data' }, /DATA_DIR=\$HOME\/data: must be a path; variables/],
  [{ LOG_FILE: '~other/x.log' }, /LOG_FILE=~other/],
  [{ ADMIN_KEY: '"half' }, /ADMIN_KEY: has quotes.*does not close/],
  [{ API_KEYS: '"a","b"' }, /API_KEYS: has quotes around a part/],
  [{ FETCH_IMAGES_ALLOW: 'a.test:0' }, /FETCH_IMAGES_ALLOW=a\.test:0: must be host names/],
  [{ FETCH_IMAGES_ALLOW: 'a.test:port' }, /FETCH_IMAGES_ALLOW=a\.test:port: must be host names/],
  [{ FETCH_IMAGES_ALLOW: '*' }, /FETCH_IMAGES_ALLOW=\*: must be host names/],
  [{ ALLOWED_HOSTS: '.lan' }, /ALLOWED_HOSTS=\.lan/],
  [{ DATABASE_URL: 'postgres://u:p#w@h/d' }, /DATABASE_URL: must be a URL; write # .* %23/],
  [{ POOL_SERVICE_PORT: '8018', PORT: 'x' }, /PORT=x/],
  [{ SESSION_TIMEOUT_MINUTES: '0.5' }, /SESSION_TIMEOUT_MINUTES=0\.5: must be a whole number from 1/],
  [{ API_KEYS: ' , ' }, /API_KEYS: must hold at least one key/],
  [{ POOL_API_KEY: 'b' }, /POOL_API_KEY is set without ADMIN_KEY/],
  [{ POOL_API_KEY: 'both-keys', ADMIN_KEY: 'both-keys' }, /POOL_API_KEY equals ADMIN_KEY/],
  [
    { ADMIN_KEY: 'seven77' },
    /^ADMIN_KEY: must have at least 8 characters \(make one with: openssl rand -hex 32\)/,
  ],
  ...[
    'changeme',
    'Change-Me!',
    'your-admin-key',
    'change_this_secret',
    'password123',
    '12345678',
    'xxxxxxxx',
    '0000000000000000',
    'abababababababab',
    'passwordpassword',
    '********',
  ].map((key): [Record<string, string>, RegExp] => [
    { ADMIN_KEY: key },
    /^ADMIN_KEY: is a key from an example, which anyone would try \(make one with: openssl/,
  ]),
  [{ GATEWAY_KEY: 'fifteen-letters' }, /^GATEWAY_KEY: must have at least 16 characters/],
  [{ GATEWAY_KEY: 'sixteen,letters!' }, /^GATEWAY_KEY: must have no comma/],
  [{ GATEWAY_KEY: 'sixteen-letters!', API_KEYS: 'a, sixteen-letters!' }, /^GATEWAY_KEY is in API_KEYS too/],
  [
    { TRACE_PROVIDERS: 'warp, openai, opnai' },
    /^TRACE_PROVIDERS: there is no provider "opnai" that answers turns\.$/,
  ],
])('%o is refused with the name of the variable and the fix', (environment, message) => {
  expect(() => load(environment)).toThrow(ConfigError);
  expect(() => load(environment)).toThrow(message);
});

test('every fault is named at once', () => {
  expect(() => load({ PORT: 'x', SANDBOX: 'y' })).toThrow(/2 faults:\n.*PORT=x.*\n.*SANDBOX=y/);
});

test('a bad secret is never repeated in the message', () => {
  expect(() => load({ MASTER_KEY: 'hunter2' })).toThrow(/^(?!.*hunter2).*MASTER_KEY: must be 32 bytes/);
});

test('a .env file is read, and the real environment wins over it', () => {
  writeFileSync(join(folder, '.env'), 'PORT=9001\nWARP2API_TEST_ONLY="from file"\n');
  process.env['WARP2API_TEST_OTHER'] = 'from environment';
  const environment = readEnvironment(folder);
  delete process.env['WARP2API_TEST_OTHER'];
  expect(environment['WARP2API_TEST_ONLY']).toBe('from file');
  expect(environment['WARP2API_TEST_OTHER']).toBe('from environment');
});

test.each([
  ['a byte order mark', Buffer.from('\ufeffPORT=9001\nHOST=box\n')],
  ['UTF-16', Buffer.from('\ufeffPORT=9001\r\nHOST=box\r\n', 'utf16le')],
  ['CRLF, export and quotes', Buffer.from('export PORT="9001"\r\n# a comment\r\nHOST = \'box\'\r\n')],
])('a .env file with %s is read', (_name, bytes) => {
  writeFileSync(join(folder, '.env'), bytes);
  expect(readEnvironment(folder)).toMatchObject({ PORT: '9001', HOST: 'box' });
});

test('a .env file that cannot be read is named', () => {
  writeFileSync(join(folder, '.env'), Buffer.from('NAME=Jos\xe9', 'latin1'));
  expect(() => readEnvironment(folder)).toThrow(/\.env cannot be read: it is not valid UTF-8/);
  rmSync(join(folder, '.env'));
  mkdirSync(join(folder, '.env'));
  expect(() => readEnvironment(folder)).toThrow(ConfigError);
});

test('quotes that are part of a value were meant for another reader', () => {
  const config = load({ HOST: '"localhost"', API_KEYS: "'a,b'", DATA_DIR: '" x "' });
  expect(config.gateway).toMatchObject({ host: 'localhost', apiKeys: ['a', 'b'] });
  expect(config.dataDir).toBe(join(folder, 'x'));
});

test('a path may begin in the home folder', () => {
  const config = load({ DATA_DIR: '~/w', DATABASE_URL: 'sqlite:~/a.db', LOG_FILE: '~/w.log' });
  expect(config.dataDir).toBe(join(homedir(), 'w'));
  expect(config.databaseUrl).toBe(`sqlite:${join(homedir(), 'a.db')}`);
  expect(config.logFile?.path).toBe(join(homedir(), 'w.log'));
});

test('an address to listen on is taken in every form', () => {
  const hostOf = (HOST: string) => load({ HOST }).gateway.host;
  expect(hostOf('[::1]')).toBe('::1');
  expect(hostOf('0:0:0:0:0:0:0:0')).toBe('::');
  expect(hostOf('LocalHost')).toBe('localhost');
  expect(hostOf('my_box.local.')).toBe('my_box.local');
  expect(hostOf('0')).toBe('0.0.0.0');
  // All of 127.0.0.0/8 is this machine.
  for (const HOST of ['127.0.0.5', '[::1]', 'LOCALHOST', '::ffff:127.0.0.1']) {
    expect(() => checkRunMode(load({ HOST }), 'both')).not.toThrow();
  }
});

test('the configuration file gives aliases, and an unknown field in it is named', () => {
  writeFileSync(join(folder, 'warp2api.yaml'), 'aliases:\n  fast: auto\n');
  expect(load({}).aliases).toEqual({ fast: 'auto' });
  writeFileSync(join(folder, 'other.yaml'), 'alias: {}\n');
  expect(() => load({ CONFIG_FILE: 'other.yaml' })).toThrow(/other\.yaml.*alias/);
  expect(() => load({ CONFIG_FILE: 'missing.yaml' })).toThrow(/missing\.yaml cannot be read/);
});

test('images are fetched only when it is said, and hosts for them are hosts', () => {
  expect(load({ FETCH_IMAGES_ALLOW: 'a.test' }).gateway.fetchImagesFrom).toBeUndefined();
  const allowed = load({ FETCH_IMAGES: 'yes', FETCH_IMAGES_ALLOW: 'A.test., [0:0::1]:08080,b:443, ::1' });
  expect(allowed.gateway.fetchImagesFrom).toEqual(['a.test', '[::1]:8080', 'b:443', '[::1]']);
  expect(() => load({ FETCH_IMAGES_ALLOW: 'http://a.test/' })).toThrow(
    /FETCH_IMAGES_ALLOW=.*: must be host names/,
  );
});

test('names and origins are taken in the forms people write them', () => {
  const { allowedHosts, corsOrigins } = load({
    ALLOWED_HOSTS: 'My-Box.lan:8018, http://192.168.1.5:8018/, fd00::5,',
    CORS_ORIGINS:
      'HTTPS://Chat.Example.com:443/, app://obsidian.md, file://, Null, http://localhost:*, https://*.b.example:443, http://*.c.example:81, *',
  });
  expect(allowedHosts).toEqual(['my-box.lan', '192.168.1.5', '[fd00::5]']);
  expect(corsOrigins).toEqual([
    'https://chat.example.com',
    'app://obsidian.md',
    'file://',
    'null',
    'http://localhost:*',
    'https://*.b.example',
    'http://*.c.example:81',
    '*',
  ]);
});

test('proxies are read under both spellings, with ALL_PROXY as the fallback', () => {
  expect(load({}).proxies).toEqual({ http: undefined, https: undefined, noProxy: [] });
  const url = 'http://me:s3cret@proxy.example:3128';
  expect(load({ HTTPS_PROXY: url, no_proxy: 'a.example, 10.0.0.0/8' }).proxies).toEqual({
    http: undefined,
    https: { url, setting: 'HTTPS_PROXY' },
    noProxy: ['a.example', '10.0.0.0/8'],
  });
  expect(load({ https_proxy: url, HTTPS_PROXY: 'http://other:1' }).proxies.https?.url).toBe(url);
  expect(load({ all_proxy: 'proxy.example:3128', http_proxy: url }).proxies).toMatchObject({
    http: { url, setting: 'HTTP_PROXY' },
    https: { url: 'http://proxy.example:3128', setting: 'ALL_PROXY' },
  });
});

test.each([
  [{ HTTPS_PROXY: 'http://me:s3cret@pro xy:1' }, /^HTTPS_PROXY: must be the URL of a proxy/],
  [{ https_proxy: 'http://' }, /^HTTPS_PROXY: must be/],
  [{ HTTP_PROXY: 'http://me:100%s3cret@proxy:1' }, /^HTTP_PROXY: .*bare %.*%25/],
  [{ ALL_PROXY: 'socks5://me:s3cret@127.0.0.1:1080' }, /^ALL_PROXY: socks5: .*HTTPS_PROXY/],
  [{ HTTPS_PROXY: 'http://me:s3cret#x@proxy:1' }, /^HTTPS_PROXY: .*%23/],
  // The beginning of these passwords could be a port.
  [{ HTTPS_PROXY: 'http://me:123#s3cret@proxy:1' }, /^HTTPS_PROXY: .*%23/],
  [{ HTTPS_PROXY: 'http://me:123/s3cret@proxy:1' }, /^HTTPS_PROXY: .*%2F/],
  [{ HTTPS_PROXY: 'me:123?s3cret@proxy:1' }, /^HTTPS_PROXY: .*%3F/],
])('a proxy that cannot be used names its setting and no secret: %j', (environment, message) => {
  expect(() => load(environment)).toThrow(message);
  expect(() => load(environment)).not.toThrow(/s3cret/);
});

test('a proxy of ALL_PROXY that is not needed does no harm', () => {
  expect(load({ ALL_PROXY: 'socks5://127.0.0.1:1080', NO_PROXY: '*' }).proxies.https).toBeUndefined();
  const environment = {
    ALL_PROXY: 'socks5://127.0.0.1:1080',
    HTTP_PROXY: 'http://p:1',
    HTTPS_PROXY: 'http://p:1',
  };
  expect(load(environment).proxies.https).toEqual({ url: 'http://p:1', setting: 'HTTPS_PROXY' });
  const { HTTP_PROXY: _unset, ...advised } = environment;
  expect(load(advised).proxies).toMatchObject({ http: undefined, https: { setting: 'HTTPS_PROXY' } });
});

test('further certificates are read from a PEM file, and a file without any is refused by name', async () => {
  const { cert } = await makeCertificate('app.warp.test');
  writeFileSync(join(folder, 'ca.pem'), `# of the proxy\n${cert}\n${cert}`);
  expect(load({ NODE_EXTRA_CA_CERTS: 'ca.pem' }).extraCertificates).toEqual([cert.trim(), cert.trim()]);
  writeFileSync(join(folder, 'none.pem'), 'nothing');
  expect(() => load({ NODE_EXTRA_CA_CERTS: 'none.pem' })).toThrow(/NODE_EXTRA_CA_CERTS=none.pem: .*PEM/);
  expect(() => load({ NODE_EXTRA_CA_CERTS: 'missing.pem' })).toThrow(/NODE_EXTRA_CA_CERTS=.*ENOENT/);
});

test('certificates that the process was started with are not trusted twice', async () => {
  const { cert } = await makeCertificate('app.warp.test');
  writeFileSync(join(folder, 'ca.pem'), cert);
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv('NODE_EXTRA_CA_CERTS', 'ca.pem');
  expect(load({ NODE_EXTRA_CA_CERTS: 'ca.pem' }).extraCertificates).toEqual([]);
});

test.each([
  ['API_KEYS="one","two"', /line 2: API_KEYS goes on after its closing quote/],
  ["export CORS_ORIGINS='https://a.example', 'https://b.example'", /line 2: CORS_ORIGINS goes on/],
  ['PORT: 8018', /line 2: write PORT= instead of PORT:/],
  ['export PORT 8018', /line 2: write PORT= before the value/],
])('a line of .env that would be lost is refused: %s', (line, message) => {
  writeFileSync(join(folder, '.env'), `# a comment\n${line}\n`);
  expect(() => readEnvironment(folder)).toThrow(message);
});

test("quotes around a whole value of .env, and other programs' lines, are taken", () => {
  writeFileSync(
    join(folder, '.env'),
    'API_KEYS="one,two" # both\nOTHER="a","b"\nother: 1\nother 1\nPORT is a word\n',
  );
  expect(load(readEnvironment(folder)).gateway.apiKeys).toEqual(['one', 'two']);
});

test('names of .env that are nearly those of settings are found', () => {
  const lines = [
    'CORS_ORIGIN=x',
    'api_keys=y',
    'https_proxy=http://p:1',
    'HTTPS_PROXY=http://p:1',
    'OTHER=1',
    'LOG_LEVLE=DEBUG',
    'ADMIN_KY=z',
    'SANDBOXX=on',
    'POST=1',
    'XAI_API_KEY=k',
  ];
  writeFileSync(join(folder, '.env'), lines.join('\n'));
  const found = Object.entries({
    ADMIN_KY: 'ADMIN_KEY',
    CORS_ORIGIN: 'CORS_ORIGINS',
    LOG_LEVLE: 'LOG_LEVEL',
    SANDBOXX: 'SANDBOX',
    api_keys: 'API_KEYS',
  });
  expect(misspeltSettings(folder).sort()).toEqual(
    found.map(([name, meant]) => `${name} in .env is no setting and changes nothing: did you mean ${meant}?`),
  );
});

test('a protocol of OpenTelemetry that is not spoken is refused for each signal, and names that are not read are found', () => {
  for (const signal of ['TRACES', 'METRICS']) {
    const name = `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`;
    expect(() => load({ [name]: 'grpc' })).toThrow(`${name}=grpc: must be http/protobuf`);
    load({ [name]: 'http/protobuf' });
  }
  const given = {
    OTEL_EXPORTER_OTLP_ENDPONT: 'http://127.0.0.1:4318',
    OTEL_SERVICE_NAME: 'mine',
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/protobuf',
    OTEL_ODD: '1',
    OTEL_EMPTY: '',
  };
  expect(unreadTelemetry(given)).toEqual([
    { name: 'OTEL_EXPORTER_OTLP_ENDPONT', near: 'OTEL_EXPORTER_OTLP_ENDPOINT' },
    { name: 'OTEL_ODD', near: undefined },
  ]);
});

test('addresses are kept as they are written, and what calls are appended to has no trailing slash', () => {
  const file = join(folder, 'warp2api.yaml');
  writeFileSync(
    file,
    'providers: { corp: { type: api_key, check_url: "https://keys.corp.example/check/?all=1" } }',
  );
  const config = load({
    WARP_TOKEN_URL: 'https://t.example/v1/token/',
    WARP_SERVER_URL: 'https://w.example/prefix/',
  });
  expect(config.providers['corp']).toMatchObject({ checkUrl: 'https://keys.corp.example/check/?all=1' });
  expect(config.providerSettings).toMatchObject({
    WARP_TOKEN_URL: 'https://t.example/v1/token/',
    WARP_SERVER_URL: 'https://w.example/prefix',
  });
});

test.each([
  ['https://w.example/a?b=c', /^WARP_SERVER_URL=.*query or fragment/],
  [
    'https://me:s3cret@w.example',
    /^WARP_SERVER_URL=https:\/\/\*\*\*@w\.example: must be a URL without user name/,
  ],
  ['http://w.example', /must be https/],
])('a server that could not be asked as it is written is refused: %s', (url, message) => {
  expect(() => load({ WARP_SERVER_URL: url })).toThrow(message);
  expect(() => load({ WARP_SERVER_URL: url })).not.toThrow(/s3cret/);
});

test('a proxy of the environment wins over one of the file, in whichever spelling', () => {
  writeFileSync(join(folder, '.env'), 'https_proxy=http://of.file:1\nHTTP_PROXY=http://of.file:2\n');
  const { HTTPS_PROXY: before } = process.env;
  process.env['HTTPS_PROXY'] = 'http://of.environment:1';
  try {
    expect(load(readEnvironment(folder)).proxies).toMatchObject({
      https: { url: 'http://of.environment:1' },
      http: { url: 'http://of.file:2' },
    });
  } finally {
    if (before === undefined) delete process.env['HTTPS_PROXY'];
    else process.env['HTTPS_PROXY'] = before;
  }
});
