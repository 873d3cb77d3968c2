import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from './config.ts';

function load(yaml: string | Buffer, environment: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'warp2api.yaml'), yaml);
  return loadConfig(environment, folder);
}

const corp = `
providers:
  corp:
    type: oauth2
    token_url: https://issuer.example/token
    client_id: client
`;

test('providers are read, and a secret may be named instead of written down', () => {
  const yaml = `${corp}    client_secret_env: CORP_SECRET
    device_authorization_url: http://127.0.0.1:9/device
    scope: offline_access
  local:
    type: api_key
    check_url: https://keys.example/check
`;
  expect(load(yaml, { CORP_SECRET: 's3cret' }).providers).toEqual({
    corp: {
      type: 'oauth2',
      tokenUrl: 'https://issuer.example/token',
      clientId: 'client',
      clientSecret: 's3cret',
      deviceAuthorizationUrl: 'http://127.0.0.1:9/device',
      scope: 'offline_access',
      quotaUrl: undefined,
    },
    local: { type: 'api_key', checkUrl: 'https://keys.example/check' },
  });
  expect(load('aliases: {fast: auto}').providers).toEqual({});
});

test.each([
  ['a named secret that is not set', `${corp}    client_secret_env: CORP_SECRET`, /CORP_SECRET is not set/],
  [
    'two secrets',
    `${corp}    client_secret: a\n    client_secret_env: B`,
    /client_secret: give client_secret or client_secret_env/,
  ],
  ['an unknown field', `${corp}    redirect_uri: x`, /providers\.corp: .*"redirect_uri"/],
  [
    'an unknown type',
    'providers: {x: {type: saml}}',
    /providers\.x\.type: must be oauth2, api_key, .* or gemini/,
  ],
  [
    'an address that is neither https nor here',
    'providers: {x: {type: api_key, check_url: "http://far.example"}}',
    /providers\.x\.check_url: must be https/,
  ],
  ['a built-in name', 'providers: {warp: {type: api_key}}', /providers\.warp: is built in/],
  ['a name no account could have', 'providers: {"A B": {type: api_key}}', /must be a name of/],
  [
    'a name that objects have a use for',
    'providers: {__proto__: {type: api_key}}',
    /__proto__: must be a name/,
  ],
  ['a missing field', 'providers: {x: {type: oauth2}}', /providers\.x\.token_url/],
  [
    'a variable in an address',
    'providers: {x: {type: openai_compatible, base_url: "$BASE/v1"}}',
    /^CONFIG_FILE \S+, line 1, column 52: providers\.x\.base_url: must be a URL that begins with \S+ or [^\n]*\.$/,
  ],
  [
    'a port that there is not',
    'providers: {x: {type: gemini, base_url: "https://a.example:99999"}}',
    /line 1, column 41: providers\.x\.base_url: must be a URL that/,
  ],
  [
    'an address of one call',
    'providers: {x: {type: openai_compatible, base_url: "https://a.example/v1/chat/completions/"}}',
    /base_url: must end before the path of a call, such as \/chat\/completions\.$/,
  ],
  [
    'a pattern as the model of a candidate',
    'routes: [{model: "a-*", candidates: [{provider: openai, model: "b-*"}]}]',
    /candidates\.0\.model: must be a name, or "\*" alone for the name that was asked for/,
  ],
  [
    'a provider that is nearly one',
    'routes: [{model: a, candidates: [{provider: opena, model: b}]}]',
    /did you mean "openai"\?$/,
  ],
  [
    'a weight of nothing',
    'routes: [{model: a, candidates: [{provider: openai, model: b, weight: 0}]}]',
    /weight: must be more than 0\.$/,
  ],
  [
    'a word for a list',
    'routes: [{model: a, candidates: [{provider: openai, model: b, labels: team}]}]',
    /labels: must be a list, not a string\.$/,
  ],
  [
    'a word that is no choice',
    'routes: [{model: a, delivery: hole, candidates: [{provider: openai, model: b}]}]',
    /delivery: must be "stream", "whole" or "continue"\.$/,
  ],
])('%s is a fault that says what to do', (_name, yaml, message) => {
  expect(() => load(yaml)).toThrow(message);
});

test('routes are read, with tiers where none are given', () => {
  const yaml = `
providers:
  local: { type: openai_compatible, base_url: "http://127.0.0.1:11434/v1" }
routes:
  - model: "fast-*"
    candidates:
      - { provider: openai, model: gpt-5-mini, tier: 1, weight: 3 }
      - { provider: local, model: "*", when: { images: false, max_context: 150000 }, labels: [team-a] }
    delivery: whole
    first_content_timeout_seconds: 10
    prompt_cache: off
  - model: shared
    candidates:
      - { provider: openai, model: a, weight: 2 }
      - { provider: local, model: b, weight: 1, first_content_timeout_seconds: 2.5 }
      - { provider: local, model: c }
`;
  const [fast, shared] = load(yaml).routes;
  expect(fast).toMatchObject({
    model: 'fast-*',
    delivery: 'whole',
    firstContentTimeoutMs: 10_000,
    promptCache: 'off',
    candidates: [
      { provider: 'openai', model: 'gpt-5-mini', tier: 1, weight: 3, when: {}, labels: [] },
      { model: '*', weight: 1, when: { images: false, maxContext: 150_000 }, labels: ['team-a'] },
    ],
  });
  expect(fast?.candidates[1]?.tier).toBeGreaterThan(1);
  expect(shared).toMatchObject({ delivery: 'stream', promptCache: 'auto' });
  const [a, b, c] = shared?.candidates ?? [];
  expect([a?.tier === b?.tier, (c?.tier ?? 0) > (b?.tier ?? 0), b?.firstContentTimeoutMs]).toEqual([
    true,
    true,
    2_500,
  ]);
});

test('models are described by name or pattern', () => {
  const yaml = `
models:
  "local/*": { context_window: 32768, prefill: true }
  my-model: { price: { input: 1, output: 2.5, cache_read: 0.1 }, structured_output: true }
`;
  expect(load(yaml).models).toEqual({
    'local/*': { contextWindow: 32_768, prefill: true },
    'my-model': {
      structuredOutput: true,
      price: { input: 1, output: 2.5, cacheRead: 0.1, cacheWrite: undefined },
    },
  });
  expect(() => load('models:\n  x: { price: { input: 1 } }\n')).toThrow(
    /line 2, column 15: models\.x\.price\.output: is missing/,
  );
});

test.each([
  ['a provider that there is not', '{ provider: lokal, model: x }', 'lokal', 'no provider "lokal"'],
  ['a field that there is not', '{ provider: openai, modle: x }', 'modle', 'did you mean "model"'],
  ['a value that is missing', '{ provider: openai }', '{ provider', 'model: is missing'],
  ['a value of another type', '{ provider: openai, model: x, tier: a }', 'a }', 'must be a number'],
  ['a condition that there is not', '{ provider: openai, model: x, when: { tool: no } }', 'tool:', '"tools"'],
])('%s is named with line and column', (_name, candidate, at, problem) => {
  const line = `    candidates: [${candidate}]`;
  const yaml = `routes:\n  - model: mine\n${line}\n`;
  const place = `line 3, column ${line.indexOf(at) + 1}`;
  expect(() => load(yaml)).toThrow(new RegExp(`warp2api\\.yaml, ${place}: routes\\.0.*${problem}`));
});

test('faults of every section have a place, and more than one is named', () => {
  expect(() => load('aliases:\n  fast: auto\nroutes:\n  - model: a\n')).toThrow(
    /line 4, column 5: routes\.0\.candidates: is missing/,
  );
  expect(() => load('\nsources: [{type: file}]')).toThrow(/line 2, column 11: sources\.0\.path/);
  expect(() => load('route: []')).toThrow(/line 1, column 1: the file: .*did you mean "routes"/);
  expect(() => load('routes:\n  - model: fast-*\n    candidates: *x\n')).toThrow(
    /line 3, column 17 is not valid YAML: put quotes/,
  );
  expect(() => load('aliases:\n\tfast: auto\n')).toThrow(
    'line 2, column 1 is not valid YAML (TAB_AS_INDENT): indent with spaces, not with tabs.',
  );
  const two = '  - { model: a, candidates: [{ provider: openai, model: x }] }\n';
  expect(() => load(`routes:\n${two}${two}`)).toThrow(/line 3, column 14.*another route is for "a"/);
  const named = two.replace('model: a', 'model: openai/a');
  expect(() => load(`routes:\n${named}`)).toThrow(/always means the provider openai/);
  const faulty = '{ model: a, candidates: [{ provider: x, model: y }, { provider: z, model: y }] }';
  expect(() => load(`routes: [${faulty}]`)).toThrow(/"x"(.|\n)*"z"/);
});

test('sources are read in order, with absolute paths, names of their own and nothing more of the environment than needed', () => {
  const yaml = `
sources:
  - {type: file, path: drop}
  - {type: file, name: team, path: /srv/team.jsonl}
  - {type: command, command: [more, --all], env: {REGION: eu}}
  - {type: webhook, url: "http://127.0.0.1:9/accounts", header_env: {Authorization: HOOK}, timeout_seconds: 5}
  - {type: openrouter_keys, admin_key_env: MANAGE, limit: 20, limit_reset: weekly}
  - {type: openai_service_accounts, admin_key_file: admin.key, project_id: proj_1}
  - {type: device_login, provider: warp}
  - {type: file, path: other}
`;
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'warp2api.yaml'), yaml);
  writeFileSync(join(folder, 'admin.key'), 'sk-admin\n');
  const environment = { HOOK: 'Bearer h', MANAGE: 'mgmt', PATH: '/bin', SECRET: 'x' };
  expect(loadConfig(environment, folder).sources).toEqual([
    { type: 'file', name: 'file', path: join(folder, 'drop') },
    { type: 'file', name: 'team', path: '/srv/team.jsonl' },
    {
      type: 'command',
      name: 'command',
      command: ['more', '--all'],
      timeoutMs: 30_000,
      environment: { PATH: '/bin', REGION: 'eu' },
      folder,
    },
    {
      type: 'webhook',
      name: 'webhook',
      url: 'http://127.0.0.1:9/accounts',
      timeoutMs: 5000,
      headers: { authorization: 'Bearer h' },
    },
    {
      type: 'openrouter_keys',
      name: 'openrouter_keys',
      adminKey: 'mgmt',
      baseUrl: 'https://openrouter.ai',
      limit: 20,
      limitReset: 'weekly',
    },
    {
      type: 'openai_service_accounts',
      name: 'openai_service_accounts',
      adminKey: 'sk-admin',
      baseUrl: 'https://api.openai.com',
      projectId: 'proj_1',
    },
    { type: 'device_login', name: 'device_login', provider: 'warp' },
    { type: 'file', name: 'file-2', path: join(folder, 'other') },
  ]);
});

test.each([
  ['{type: sign_up}', /sources\.0\.type: must be one of file, command, webhook, openrouter_keys/],
  ['{type: file}', /sources\.0\.path/],
  ['{type: file, path: x, colour: red}', /sources\.0: .*"colour"/],
  ['{type: file, path: x, name: standby}', /sources\.0\.name: is taken by the pool itself/],
  ['{type: file, path: x, name: "A B"}', /sources\.0\.name: must be 1 to 32/],
  [
    '{type: file, path: x, name: a}, {type: file, path: y, name: a}',
    /sources\.1\.name: another source is called "a"/,
  ],
  ['{type: command, command: []}', /sources\.0\.command/],
  ['{type: command, command: more --all}', /sources\.0\.command/],
  ['{type: command, command: [x], timeout_seconds: 0}', /sources\.0\.timeout_seconds/],
  ['{type: webhook, url: "http://far.example/"}', /sources\.0\.url: must be https/],
  [
    '{type: webhook, url: "https://x.example/", header_env: {a: NOT_SET}}',
    /sources\.0\.header_env\.a: .*NOT_SET is not set/,
  ],
  ['{type: openrouter_keys, admin_key_env: MANAGE}', /sources\.0\.limit/],
  ['{type: openrouter_keys, limit: 5}', /sources\.0: give one of admin_key_env and admin_key_file/],
  [
    '{type: openrouter_keys, limit: 5, admin_key_env: NOT_SET}',
    /sources\.0\.admin_key_env: .*NOT_SET is not set/,
  ],
  [
    '{type: openai_service_accounts, project_id: p, admin_key_file: gone}',
    /admin_key_file: gone cannot be read \(ENOENT\)/,
  ],
  ['{type: openai_service_accounts, project_id: "../x", admin_key_env: MANAGE}', /sources\.0\.project_id/],
  ['{type: device_login}', /sources\.0\.provider/],
])('the source %s is a fault by its path', (yaml, message) => {
  expect(() => load(`sources: [${yaml}]`, { MANAGE: 'mgmt' })).toThrow(message);
});

test('a file that begins with a byte order mark, or is in UTF-16, is read', () => {
  const aliases = { fast: 'auto' };
  expect(load('\ufeffaliases:\r\n  fast: auto\r\n').aliases).toEqual(aliases);
  expect(load(Buffer.from('\ufeffaliases: {fast: auto}', 'utf16le')).aliases).toEqual(aliases);
  expect(() => load(Buffer.from('aliases: {caf\xe9: auto}', 'latin1'))).toThrow(/not valid UTF-8/);
});

test('a section that is empty is none, and a field that is missing is said to be', () => {
  expect(load('aliases:\nproviders:\n#  corp: ...\nsources:\n')).toMatchObject({ aliases: {}, sources: [] });
  expect(() => load('providers: {corp: {type: oauth2, client_id: x}}')).toThrow(
    /providers\.corp\.token_url: is missing/,
  );
});

test('a field without a value is left out, unless there is no such field', () => {
  const sources =
    'sources:\n  - type: command\n    name:\n    command: [give]\n    timeout_seconds:\n    env:\n';
  expect(load(`${corp}    scope:\n${sources}`)).toMatchObject({
    providers: { corp: { scope: undefined } },
    sources: [{ name: 'command', timeoutMs: 30_000 }],
  });
  expect(() => load('soruces:\n')).toThrow(/"soruces"/);
  expect(() => load('aliases: {fast: }')).toThrow(/aliases\.fast: .*not null/);
});

test('paths of sources may begin in the home folder', () => {
  expect(load('sources: [{type: file, path: ~/drop}]').sources).toMatchObject([
    { path: join(homedir(), 'drop') },
  ]);
});
