import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ExplainedTurn } from '../core/shown-models.ts';
import type { ShownSetting } from '../core/shown-settings.ts';
import { plainText } from '../lib/shown-text.ts';
import { version } from '../lib/version.ts';
import type { Account, Login } from '../pool-api/account-schema.ts';
import { PoolError } from '../pool-api/errors.ts';
import { parseImport, sealExport } from '../pool-api/import-format.ts';
import { createAccount, poolStatus } from '../pool-api/pool.fake.ts';
import type { PoolAdmin } from '../pool-api/pool.ts';
import type { CliActions } from './actions.ts';
import { runProgram } from './program.ts';

interface Setup {
  readonly accounts?: readonly Account[];
  readonly stdin?: string;
  readonly environmentKey?: string;
  readonly sandbox?: boolean;
  readonly keyInEnvironment?: boolean;
  readonly isIll?: boolean;
  /** What opening the pool throws. */
  readonly failure?: Error;
  /** What asking about a login answers, time after time. */
  readonly logins?: readonly (Login | Error)[];
  readonly isTerminal?: boolean;
  readonly terminalWidth?: number;
  /** Of the gateway. */
  readonly answer?: object;
}

async function* exported(): AsyncGenerator<string> {
  yield '{"provider":"warp","api_key":"wk-1"}\n';
  yield '{"provider":"warp","api_key":"wk-2"}\n';
}

async function run(command: string | readonly string[], setup: Setup = {}) {
  const accounts = setup.accounts ?? [createAccount()];
  const calls: unknown[][] = [];
  let out = '';
  let err = '';
  let disposed = 0;
  const find = (id: string) => {
    const found = accounts.find((account) => account.id === id);
    if (found) return found;
    throw new PoolError('account_not_found', `There is no account ${id}.`);
  };
  const admin: PoolAdmin & AsyncDisposable = {
    async addAccount({ on_refusal: _onRefusal, ...account }) {
      if (account.api_key === undefined && account.refresh_token === undefined)
        throw new PoolError('invalid_request', 'No key.', { param: 'api_key' });
      calls.push(['add', account]);
      return createAccount({ id: 'new-1', provider: account.provider });
    },
    async listAccounts(query) {
      calls.push(['list', query]);
      const { email, label, ids, id_begins: begins } = query;
      const matching = accounts.filter(
        (account) =>
          (email === undefined || account.email === email) &&
          (label === undefined || account.label === label) &&
          (ids === undefined || ids.split(',').includes(account.id)) &&
          (begins === undefined || account.id.startsWith(begins)),
      );
      const start = Number(query.after ?? 0);
      const end = start + Number(query.limit ?? 100);
      const next_after = end < matching.length ? String(end) : null;
      return { success: true, accounts: matching.slice(start, end), total: matching.length, next_after };
    },
    getAccount: async (id) => ({
      ...find(id),
      lendable: { now: false, reason: 'rate_limited' },
      last_skips: [{ at: '2030-01-01T00:00:00Z', reason: 'rate_limited', session_id: 'job-1' }],
    }),
    async audit(query) {
      calls.push(['audit', query]);
      const seq = query.before === undefined ? 900 : Number(query.before) - 1;
      const entry = {
        at: '2030-01-01T00:00:00Z',
        actor: 'local',
        action: 'account-changed',
        account_id: 'acc-1',
      };
      const count = Math.min(Number(query.limit), seq);
      const entries = Array.from({ length: count }, (_, index) => ({
        ...entry,
        seq: seq - index,
        detail: { capacity: 4 },
      }));
      return { success: true, entries, next_before: seq === count ? null : seq - count + 1 };
    },
    async changeAccount(id, { on_refusal: _onRefusal, ...change }) {
      calls.push(['change', id, change]);
      return { ...find(id), status: change.enabled ? 'active' : 'disabled' };
    },
    async removeAccount(id) {
      calls.push(['remove', id]);
    },
    async importAccounts(request) {
      calls.push(['import', request]);
      const results = parseImport(request.lines ?? '').map((one) =>
        'problem' in one
          ? { line: one.line, result: 'failed' as const, id: null, reason: one.problem }
          : { line: one.line, result: 'added' as const, id: `acc-${one.line}`, reason: null },
      );
      const failed = results.filter(({ result }) => result === 'failed').length;
      return { success: true, added: results.length - failed, duplicates: 0, failed, results };
    },
    async exportAccounts(request) {
      calls.push(['export', request]);
      if (setup.isIll) throw new PoolError('pool_unavailable', 'The connection broke off.');
      return sealExport(exported(), request.passphrase);
    },
    async startLogin(request) {
      calls.push(['startLogin', request]);
      return pendingLogin;
    },
    async getLogin(id) {
      calls.push(['getLogin', id]);
      const answer = setup.logins?.[calls.filter(([name]) => name === 'getLogin').length - 1];
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error('asked too often');
      return answer;
    },
    async replenish(request) {
      calls.push(['replenish', request]);
      const failed = setup.isIll ? 1 : 0;
      const reasons = setup.isIll ? ['standby account acc-9: the key is dead'] : [];
      return { success: true, requested: 2, added: 1, failed, reasons, message: '1 of 2 accounts added.' };
    },
    async refreshTokens(request) {
      calls.push(['refresh', request]);
      const result = setup.isIll ? 'failed' : 'refreshed';
      const one = { id: 'acc-1', email: 'one@example.com', reason: null, next_at: '2030-01-01T01:00:00Z' };
      const counts = { refreshed: setup.isIll ? 0 : 1, skipped: 0, failed: setup.isIll ? 1 : 0 };
      return { success: true, ...counts, results: [{ ...one, result }] };
    },
    async listSessions(query) {
      calls.push(['sessions', query]);
      const seen = Number(query.after ?? 0);
      const count = Math.min(Number(query.limit), 900 - seen);
      const session = {
        key_id: 'key_1',
        gateway: true,
        exclusive: false,
        provider: null,
        accounts: ['a', 'b', 'c', 'd'].map((id) => ({ id, email: null, slots: 1 })),
        created_at: '2030-01-01T00:00:00Z',
        expires_at: '2030-01-01T00:30:00Z',
        ttl_seconds: 1800,
      };
      const sessions = Array.from({ length: count }, (_, index) => ({ ...session, id: `s-${seen + index}` }));
      return {
        success: true,
        sessions,
        total: 900,
        next_after: seen + count < 900 ? String(seen + count) : null,
      };
    },
    async releaseSession(id) {
      calls.push(['release', id]);
      return 2;
    },
    status: async () => ({ ...poolStatus, sandbox: setup.sandbox ?? false }),
    async [Symbol.asyncDispose]() {
      disposed += 1;
    },
  };
  const actions: CliActions = {
    async serve(mode) {
      calls.push(['serve', mode]);
    },
    async sandbox(options) {
      calls.push(['sandbox', options]);
    },
    async openAdmin() {
      if (setup.failure) throw setup.failure;
      return admin;
    },
    async examine(options) {
      calls.push(['examine', options]);
      return [
        { name: 'pool', result: 'ok', message: 'runs' },
        { name: 'master key', result: setup.isIll ? 'problem' : 'ok', message: 'run: chmod 600 key' },
        { name: 'answer', result: 'skipped', message: 'not asked for' },
      ];
    },
    async askGateway(path, url, call) {
      calls.push(call ? ['ask', path, url, call] : ['ask', path, url]);
      if (setup.failure) throw setup.failure;
      if (path.startsWith('/api/accounts?'))
        return admin.listAccounts(Object.fromEntries(new URL(path, 'http://gateway').searchParams));
      if (setup.answer) return setup.answer;
      return path === '/api/models/explain' ? explained : failedOver;
    },
    async importConfig(file) {
      calls.push(['import-config', file]);
      return { yaml: 'routes: []\n', notes: ['x: left out.'], commands: ['warp2api account add'] };
    },
    async backUp(folder) {
      calls.push(['backup', folder]);
      const files = [{ name: 'accounts', path: `${folder}/accounts.db`, bytes: 4096 }];
      return { folder, files, notes: ['The master key is not in it.'] };
    },
    async restore(folder, replaces) {
      calls.push(['restore', folder, replaces]);
      return { restored: ['/data/accounts.db'], kept: replaces ? ['/data/accounts.db.before-restore'] : [] };
    },
    async migrate(options) {
      calls.push(['migrate', options]);
      return { meta: 2, accounts: 3, sessions: 1, leases: 1, audit: 4 };
    },
    async rotateKey(options) {
      calls.push(['rotate', options]);
      return {
        accounts: 3,
        keyId: 'new',
        formerKeyId: 'old',
        keyFile: '/srv/master.key',
        isInEnvironment: setup.keyInEnvironment ?? false,
      };
    },
    resolvedSettings: () => ({
      poolUrl: 'http://127.0.0.1:8019',
      gatewayUrl: 'http://127.0.0.1:8018',
      usePoolService: true,
      logDir: '/srv/logs',
      dataDir: '/srv/data',
    }),
    allSettings: () => shownSettings,
    runningServices: () => ({
      logDir: '/srv/logs',
      dataDir: '/srv/data',
      shutdownSeconds: 20,
      services: [],
    }),
    accountKeyFromEnvironment: () => setup.environmentKey,
    readStdin: async () => setup.stdin ?? '',
    write(text) {
      out += text;
    },
    writeError(text) {
      err += text;
    },
    isTerminal: setup.isTerminal ?? false,
    terminalWidth: setup.terminalWidth,
    async wait(ms) {
      calls.push(['wait', ms]);
    },
  };
  const code = await runProgram(actions, typeof command === 'string' ? command.split(' ') : command);
  return { code, out, err, calls, disposed };
}

const shownSettings: readonly ShownSetting[] = [
  {
    name: 'ADMIN_KEY',
    group: 'access',
    value: null,
    is_set: true,
    source: '.env',
    default: null,
    is_secret: true,
    help: 'A key.',
  },
  {
    name: 'PORT',
    group: 'services',
    value: '8018',
    is_set: false,
    source: 'default',
    default: '8018',
    is_secret: false,
    help: 'A port.',
  },
];

const explained: ExplainedTurn = {
  model: 'coding',
  dialect: 'messages',
  way: { kind: 'route', route: 'coding', alias: null },
  answers: [
    { provider: 'anthropic', model: 'haiku', share: 0.75, account_id: 'acc_1111111111' },
    { provider: 'openai', model: 'gpt-5-mini', share: 0.25, account_id: null },
  ],
  error: null,
  candidates: [
    {
      provider: 'anthropic',
      model: 'haiku',
      tier: 1,
      weight: 3,
      share: 0.75,
      when: { tools: null, images: null, max_context: null },
      labels: [],
      context_window: null,
      skipped: [{ reason: 'limit', account_id: 'acc_2', says: 'account acc_2: 5h window 98 %' }],
      can_serve: true,
      accounts: { open: 1, limit: 1 },
      named_accounts: [],
    },
  ],
  passed_over: [{ provider: 'ollama', model: 'qwen3', reason: 'tools', says: 'Not with tools.' }],
  notes: [],
};

const attempt = {
  provider: 'openai',
  model: 'gpt-5-mini',
  account_id: 'acc_11111111-2222',
  choice: 'session',
  from: 'held',
  waited_ms: 0,
  started_ms: 1,
  connected_ms: 3,
  first_content_ms: null,
  ended_ms: 40,
  status: 429,
  outcome: 'upstream_rate_limited',
  message: 'The account is rate limited.',
  account_status: 'cooldown',
  output_limit: null,
};
const failedOver = {
  request_id: 'req/1',
  at: '2030-01-01T00:00:00Z',
  dialect: 'chat',
  model: 'fast',
  stream: true,
  client_key: 'abc',
  key_name: null,
  trace_id: null,
  outcome: 'success',
  message: null,
  status: 200,
  duration_ms: 500,
  first_content_ms: 200,
  finish: 'stop',
  route: 'openai/gpt-5-mini#acc_99999999; attempts=2',
  usage: {
    input_tokens: 21,
    output_tokens: 7,
    cached_input_tokens: 16,
    cache_write_tokens: null,
    reasoning_tokens: null,
    is_estimated: false,
    credits: null,
    cost_cents: null,
  },
  candidates: [
    {
      provider: 'anthropic',
      model: 'haiku',
      at_ms: 0,
      skipped: [{ reason: 'field', account_id: null, at_ms: 0, says: 'seed: no\u001b[1m' }],
    },
    { provider: 'openai', model: 'gpt-5-mini', at_ms: 1, skipped: [] },
  ],
  attempts: [
    attempt,
    {
      ...attempt,
      account_id: 'acc_99999999-2222',
      choice: 'free',
      from: 'pool',
      outcome: 'success',
      message: null,
      account_status: null,
      output_limit: { tokens: 16_384, from: 'earlier_refusal' },
    },
  ],
  omitted: 0,
};

describe('why', () => {
  it('says of one turn what was passed over, tried and answered', async () => {
    const { code, out, calls } = await run('why req/1');
    expect(code).toBe(0);
    expect(calls[0]).toEqual(['ask', '/api/turns/req%2F1', undefined]);
    expect(out).toMatch(/outcome +success after 500 ms, first content after 200 ms, finish stop\n/);
    expect(out).toMatch(/answered by +openai\/gpt-5-mini, account acc_99999999\n/);
    expect(out).toMatch(/tokens +21 in \(16 from a cache\), 7 out\n/);
    expect(out).toMatch(/cost +unknown\n/);
    expect(out).toMatch(/1\. anthropic\/haiku: passed over\n +seed: no/);
    expect(out).not.toContain('\u001b');
    expect(out).toMatch(/2\. openai\/gpt-5-mini: tried\n/);
    expect(out).toMatch(
      /acc_11111111 +has the session, held here +0 ms +1 ms +3 ms +- +40 ms +429 +upstream_rate_limited\n/,
    );
    expect(out).toContain('acc_11111111: The account is rate limited. The account is cooldown now.\n');
    expect(out).toContain(
      'acc_99999999: asked for 16384 tokens at most, since the upstream refused more at an earlier turn.\n',
    );
  });

  it('names accounts as people know them, and adds the id where that is not enough', async () => {
    const one = createAccount({ id: 'acc_11111111-2222', email: 'one@example.com' });
    const two = createAccount({ id: 'acc_99999999-2222', email: null, label: 'work' });
    const named = await run('why req/1', { accounts: [one, two] });
    expect(named.out).toMatch(/answered by +openai\/gpt-5-mini, account work \(acc_99999999\)\n/);
    expect(named.out).toMatch(/one@example\.com +has the session, held here/);
    expect(named.out).toContain('one@example.com: The account is rate limited.');
    expect(named.out).not.toContain('acc_11111111');
    const alike = await run('why req/1', { accounts: [one, { ...two, email: 'one@example.com' }] });
    expect(alike.out).toContain('one@example.com (acc_11111111): The account is rate limited.');
    const found = await run('why --model coding', {
      accounts: [
        { ...one, id: 'acc_1111111111' },
        { ...two, id: 'acc_2' },
      ],
    });
    expect(found.out).toMatch(/account one@example\.com \(acc_11111111\), 75 % of turns\n/);
    expect(found.out).toContain('     account work: 5h window 98 %\n');
  });

  it('shows all of an attempt in a narrow terminal too', async () => {
    const { out } = await run('why r', { terminalWidth: 80 });
    expect(out).toContain(
      'Attempts\n  1. openai/gpt-5-mini: upstream_rate_limited (429)\n     account acc_11111111: has the session, held here\n     waited 0 ms, began 1 ms, connected 3 ms, ended 40 ms\n  2. ',
    );
  });

  it('prints what the gateway answers, and its reason where there is none', async () => {
    const { out, calls } = await run('why r --gateway http://host:1 --json');
    expect(JSON.parse(out)).toEqual(failedOver);
    expect(calls).toEqual([['ask', '/api/turns/r', 'http://host:1']]);
    const { code, err } = await run('why r', { failure: new Error('No turn with that request id.') });
    expect([code, err]).toEqual([1, 'warp2api: No turn with that request id.\n']);
  });

  it('says which account would answer a model', async () => {
    const { out, calls } = await run(
      'why --model coding --dialect messages --tools --tokens 9000 --labels a,b',
    );
    const body = { model: 'coding', dialect: 'messages', tools: true, tokens: 9000, labels: ['a', 'b'] };
    expect(calls[0]).toEqual(['ask', '/api/models/explain', undefined, { method: 'POST', body }]);
    expect(out).toMatch(/leads there by +route coding\n/);
    expect(out).toMatch(/would answer +anthropic\/haiku, account acc_11111111, 75 % of turns\n/);
    expect(out).toMatch(/would answer +openai\/gpt-5-mini, 25 % of turns\n/);
    expect(out).toContain(
      '  1. anthropic/haiku: can serve, first in 75 % of turns (1 open, 1 limit)\n     account acc_2: 5h window 98 %\n  -  ollama/qwen3: Not with tools.\n',
    );
    expect((await run('why')).code).toBe(2);
    expect((await run('why req --model coding')).code).toBe(2);
    expect((await run('why --model x --dialect morse')).code).toBe(2);
  });
});

describe('usage', () => {
  const figures = {
    turns: 3,
    errors: 1,
    cancelled: 0,
    input_tokens: 1_200,
    output_tokens: 300,
    cached_input_tokens: 0,
    cache_write_tokens: 0,
    reasoning_tokens: 0,
    cost_cents: 0.5,
    credits: null,
    unpriced_turns: 1,
    estimated_turns: 0,
    mean_duration_ms: 900,
    first_content_p50_ms: 250,
    first_content_p95_ms: 900,
  };
  const report = {
    from: '2026-11-26T00:00:00.000Z',
    to: '2026-11-26T10:30:00.000Z',
    time_zone: 'UTC',
    group: ['model'],
    total: figures,
    rows: [
      { model: '=1+1', ...figures },
      { model: 'free', ...figures, cost_cents: null, errors: 0 },
    ],
    before: null,
  };

  it('shows what models used today, and says what is not known', async () => {
    const { code, out, calls } = await run('usage --tz UTC', { answer: report });
    expect(code).toBe(0);
    expect(calls).toEqual([['ask', '/api/usage?tz=UTC&group=model', undefined]]);
    expect(out).toMatch(/^2026-11-26 00:00 to 2026-11-26 10:30 \(UTC\)\n/);
    expect(out).toMatch(/=1\+1 +3 +1 +1200 +300 +\$0\.0050 +250 ms\n/);
    expect(out).toMatch(/free +3 +- +1200 +300 +unknown +250 ms\n/);
    expect(out).toMatch(/all +3 +1 /);
    expect(out).toContain('1 turn without a known price.');
  });

  it('takes an account by its name, and names those it shows', async () => {
    const accounts = [createAccount({ id: 'acc_1', email: 'one@example.com' })];
    const rows = ['acc_1', 'acc_gone-0123456', ''].map((account) => ({ account, ...figures }));
    const answer = { ...report, group: ['account'], rows };
    const { out, calls } = await run('usage --by account --account one@example.com', { accounts, answer });
    const [usage] = calls.filter(([, path]) => String(path).startsWith('/api/usage'));
    expect(usage?.[1]).toMatch(/account=acc_1&group=account$/);
    expect(out).toMatch(/^one@example\.com +3 /m);
    expect(out).toMatch(/^acc_gone-012 +3 /m);
    expect(out).toMatch(/^\(none\) +3 /m);
    const narrow = await run('usage --by account', { accounts, answer, terminalWidth: 50 });
    expect(Math.max(...narrow.out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(50);
    expect(narrow.out).toMatch(/^ACCOUNT +TURNS +ERRORS +OUTPUT +COST$/m);
    const gone = await run('usage --account acc_gone', { answer: report });
    expect(gone.calls[0]?.[1]).toMatch(/^\/api\/usage\?.*account=acc_gone&group=model$/);
    expect((await run('usage --by accounts', { answer: report })).code).toBe(2);
    const unknown = await run('usage --account wrok', { answer: report });
    expect([unknown.code, unknown.err]).toEqual([1, expect.stringContaining('"warp2api account list"')]);
    expect(JSON.parse((await run('usage --json', { accounts, answer })).out)).toEqual(answer);
  });

  it('prints CSV without formulas, JSON and JSON lines', async () => {
    const csv = await run(['usage', '--tz', 'UTC', '--csv', '--period', '7d', '--key', 'team one'], {
      answer: report,
    });
    expect(csv.calls[0]?.[1]).toMatch(/\?tz=.*&period=7d&key=team\+one&group=model$/);
    expect(csv.out).toMatch(/^model,turns,errors,/);
    expect(csv.out).toContain(`\n"'=1+1",3,1,`);
    // As it reaches the output.
    expect(plainText(csv.out)).toBe(csv.out);
    const lines = await run('usage --jsonl', { answer: report });
    expect(
      lines.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(report.rows);
    expect(JSON.parse((await run('usage --json', { answer: report })).out)).toEqual(report);
  });
});

const pendingLogin: Login = {
  id: 'login-1',
  provider: 'warp',
  status: 'pending',
  user_code: 'BCDF-GHJK',
  verification_uri: 'https://warp.example/device',
  verification_uri_complete: 'https://warp.example/device?code=BCDF-GHJK',
  expires_at: '2030-01-01T00:10:00Z',
  interval_seconds: 5,
  account_id: null,
  error: null,
};
const approvedLogin: Login = { ...pendingLogin, status: 'approved', account_id: 'acc-1' };

describe('account login', () => {
  it('shows address and code, waits, and prints the account that came of it', async () => {
    const away = new PoolError('pool_unavailable', 'it restarts');
    const { code, out, calls } = await run('account login --label work --tier 2 --models a,b --team-uid t', {
      logins: [pendingLogin, away, approvedLogin],
    });
    expect(code).toBe(0);
    expect(calls).toEqual([
      ['startLogin', { provider: 'warp', label: 'work', tier: 2, models: ['a', 'b'], team_uid: 't' }],
      ['wait', 2000],
      ['getLogin', 'login-1'],
      ['wait', 2000],
      ['getLogin', 'login-1'],
      ['wait', 2000],
      ['getLogin', 'login-1'],
    ]);
    expect(out).toContain('https://warp.example/device?code=BCDF-GHJK');
    expect(out).toContain('BCDF-GHJK\n');
    expect(out).toContain('acc-1');
    expect(out).not.toContain('█');
  });

  it('draws a QR code for a person', async () => {
    expect((await run('account login', { logins: [approvedLogin], isTerminal: true })).out).toContain('█');
  });

  it('prints JSON alone on standard output when asked to', async () => {
    const { out, err } = await run('account login --json', { logins: [approvedLogin], isTerminal: true });
    expect(JSON.parse(out)).toMatchObject({ id: 'acc-1' });
    expect(err).toContain('BCDF-GHJK');
    expect(err).not.toContain('█');
  });

  it('logs an account in again, found by its e-mail address', async () => {
    const { calls } = await run('account login --account one@example.com', { logins: [approvedLogin] });
    expect(calls).toContainEqual(['startLogin', { provider: 'warp', account_id: 'acc-1' }]);
    const refused = await run('account login --account acc-1 --label new');
    expect(refused).toMatchObject({ code: 2, calls: [] });
    expect(refused.err).toContain('keeps its settings');
  });

  it.each(['denied', 'expired', 'failed'] as const)('fails when it is %s, and says why', async (status) => {
    const ended = { ...pendingLogin, status, error: 'It was not to be.' };
    const { code, err } = await run('account login', { logins: [ended] });
    expect(code).toBe(1);
    expect(err).toBe(`warp2api: The login ended as ${status}. It was not to be.\n`);
  });
});

describe('serve', () => {
  it.each([
    ['serve', 'both'],
    ['serve pool', 'pool'],
    ['serve gateway', 'gateway'],
  ])('%s runs %s', async (command, mode) => {
    expect(await run(command)).toMatchObject({ code: 0, calls: [['serve', mode]], out: '', err: '' });
  });

  it('refuses another service as a usage error', async () => {
    const { code, err, calls } = await run('serve everything');
    expect([code, calls]).toEqual([2, []]);
    expect(err).toMatch(/Allowed choices are pool, gateway/);
  });
});

describe('sandbox', () => {
  it('listens where it is told', async () => {
    expect((await run('sandbox --port 0 --host ::1')).calls).toEqual([['sandbox', { port: 0, host: '::1' }]]);
    expect((await run('sandbox')).calls).toEqual([['sandbox', { port: 8020, host: '127.0.0.1' }]]);
    expect((await run('sandbox --tls --certificate /tmp/c.pem --require-http2')).calls).toEqual([
      [
        'sandbox',
        { port: 8020, host: '127.0.0.1', tls: true, certificate: '/tmp/c.pem', requireHttp2: true },
      ],
    ]);
  });

  it('refuses a port that is none', async () => {
    expect(await run('sandbox --port 70000')).toMatchObject({ code: 2, calls: [] });
  });
});

describe('an account that its provider refuses', () => {
  const refused = createAccount({
    status: 'reauth_required',
    status_reason: 'probe_refused',
    status_evidence: { quota_query: { code: 'upstream_refused', message: 'Look into its plan.' } },
  });

  it('makes "account login" fail with the reason, the id and what to do', async () => {
    const { code, err } = await run('account login', { accounts: [refused], logins: [approvedLogin] });
    expect(code).toBe(1);
    expect(err).toMatch(
      /^warp2api: The login was approved, but the provider refuses the account \(403\): Look/,
    );
    expect(err).toContain('kept as acc-1, out of service');
    expect(err).toContain('"warp2api account replace acc-1"');
  });
});

describe('account add', () => {
  it('adds an account with everything that can be said about it', async () => {
    const { code, calls, out, disposed } = await run(
      'account add --provider warp --api-key wk-1 --email a@example.com --label work --capacity 4 --free --models a,b --tier 2 --team-uid team-1 --lend gateway --standby',
    );
    expect([code, disposed]).toEqual([0, 1]);
    expect(calls).toEqual([
      [
        'add',
        {
          provider: 'warp',
          api_key: 'wk-1',
          email: 'a@example.com',
          label: 'work',
          capacity: 4,
          free: true,
          models: ['a', 'b'],
          tier: 2,
          team_uid: 'team-1',
          lend: 'gateway',
          standby: true,
        },
      ],
    ]);
    expect(out).toMatch(/^Added this account:\nid +new-1\n/);
  });

  it('reads the key from standard input or from the environment, and an argument wins', async () => {
    const added = async (command: string) =>
      (await run(command, { stdin: 'wk-stdin\n', environmentKey: 'wk-env' })).calls;
    const add = 'account add --provider warp';
    expect(await added(`${add} --api-key -`)).toEqual([['add', { provider: 'warp', api_key: 'wk-stdin' }]]);
    expect(await added(add)).toEqual([['add', { provider: 'warp', api_key: 'wk-env' }]]);
    expect(await added(`${add} --api-key wk-arg`)).toEqual([
      ['add', { provider: 'warp', api_key: 'wk-arg' }],
    ]);
    expect(await added(`${add} --refresh-token -`)).toEqual([
      ['add', { provider: 'warp', refresh_token: 'wk-stdin' }],
    ]);
  });

  it('says how to give a key when there is none, as a usage error', async () => {
    const { code, err, calls } = await run('account add --provider warp');
    expect([code, calls]).toEqual([2, []]);
    expect(err).toMatch(/^warp2api: The account needs a key: give --api-key KEY.*\n$/);
    expect((await run('account add --provider warp --api-key -')).err).toMatch(/Standard input held no key/);
  });

  it('refuses what the pool would refuse before it opens the pool', async () => {
    const { code, err } = await run('account add --provider WARP! --api-key k');
    expect(code).toBe(2);
    expect(err).toMatch(/provider: must be a provider name/);
    expect((await run('account add --provider warp --api-key k --capacity 0')).code).toBe(2);
    expect((await run('account add --provider warp --api-key k --refresh-token t')).code).toBe(2);
    expect((await run('account add --api-key k')).code).toBe(2);
  });

  it('prints JSON that programs can read', async () => {
    const { out } = await run('account add --provider warp --api-key k --json');
    expect(JSON.parse(out)).toMatchObject({ id: 'new-1', provider: 'warp' });
  });
});

describe('account list', () => {
  it('prints aligned columns and keeps control characters off the terminal', async () => {
    const accounts = [
      createAccount({ label: 'evil\u001b[31m' }),
      createAccount({
        id: 'account-22',
        email: null,
        status: 'cooldown',
        status_until: '2030-01-01T00:00:00Z',
      }),
    ];
    const { out } = await run('account list', { accounts });
    const lines = out.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^ID +PROVIDER +EMAIL +LABEL +STATUS/);
    expect(new Set(lines.map((line) => line.search(/PROVIDER|warp/))).size).toBe(1);
    expect(out).not.toContain('\u001b');
  });

  it('passes its filters on and follows the pages', async () => {
    const accounts = Array.from({ length: 1200 }, (_, index) => createAccount({ id: `acc-${index}` }));
    const { out, calls } = await run('account list --provider warp --status active --limit 1100 --json', {
      accounts,
    });
    const answer = JSON.parse(out) as { accounts: Account[]; total: number };
    expect([answer.accounts.length, answer.total]).toEqual([1100, 1200]);
    expect(calls).toEqual([
      ['list', { provider: 'warp', status: 'active', limit: 500 }],
      ['list', { provider: 'warp', status: 'active', limit: 500, after: '500' }],
      ['list', { provider: 'warp', status: 'active', limit: 100, after: '1000' }],
    ]);
  });

  it('says what to do when there is nothing to show, and that there is more', async () => {
    expect((await run('account list', { accounts: [] })).out).toMatch(/account add --help/);
    const accounts = [createAccount(), createAccount({ id: 'acc-2' })];
    expect((await run('account list --limit 1', { accounts })).out).toMatch(/1 of 2 shown/);
  });
});

describe('account show, enable, disable and remove', () => {
  it('take an id or an e-mail address', async () => {
    expect((await run('account show acc-1')).out).toMatch(/credential +api_key ending in cdef/);
    expect(JSON.parse((await run('account show one@example.com --json')).out)).toMatchObject(createAccount());
    expect((await run('account disable one@example.com')).calls).toContainEqual([
      'change',
      'acc-1',
      { enabled: false },
    ]);
    expect(await run('account enable acc-1')).toMatchObject({
      calls: [['change', 'acc-1', { enabled: true }]],
      out: 'Account one@example.com (acc-1) is now active.\n',
    });
    expect(await run('account remove acc-1')).toMatchObject({ calls: [['remove', 'acc-1']], code: 0 });
  });

  it('replace a credential, keeping it out of the shell where that is asked for', async () => {
    const { calls: given } = await run('account replace one@example.com --api-key -', {
      stdin: 'wk-stdin\n',
    });
    expect(given).toContainEqual(['change', 'acc-1', { api_key: 'wk-stdin' }]);
    const { calls, out } = await run('account replace acc-1 --refresh-token rt');
    expect(calls).toEqual([['change', 'acc-1', { refresh_token: 'rt' }]]);
    expect(out).not.toContain('rt\n');
    expect((await run('account replace acc-1')).code).toBe(2);
    expect((await run('account replace acc-1 --api-key k --refresh-token t')).code).toBe(2);
  });

  it('say that an account of a local server has no key', async () => {
    const accounts = [createAccount({ credential_hint: '' })];
    expect((await run('account show acc-1', { accounts })).out).toMatch(/credential +none/);
  });

  it('say when the token expires and why it was not refreshed', async () => {
    const accounts = [
      createAccount({
        token_expires_at: '2030-01-01T01:00:00Z',
        next_refresh_at: '2030-01-01T02:00:00Z',
        refresh_failure: { failure: 'refused', message: 'too many', at: '2030-01-01T00:30:00Z', in_a_row: 3 },
      }),
    ];
    const { out } = await run('account show acc-1', { accounts });
    expect(out).toMatch(/token expires +2030-01-01T01:00:00Z/);
    expect(out).toMatch(/next refresh +2030-01-01T02:00:00Z/);
    expect(out).toMatch(/refused at 2030-01-01T00:30:00Z, 3 times in a row: too many/);
  });

  it('refuse to guess between two accounts of one e-mail address', async () => {
    const accounts = [createAccount(), createAccount({ id: 'acc-2' })];
    const { code, err, calls } = await run('account remove one@example.com', { accounts });
    expect(code).toBe(2);
    expect(err).toMatch(
      /"one@example.com" may be any of 2 accounts; name one by its id:\nID .*\nacc-1 .*\nacc-2 /,
    );
    expect(calls).not.toContainEqual(['remove', 'acc-1']);
  });

  it('fail with one line and close the pool when the account is not there', async () => {
    expect(await run('account show gone')).toMatchObject({
      code: 1,
      out: '',
      err: 'warp2api: No account has the e-mail address, the label or the id "gone"; "warp2api account list" shows them all.\n',
      disposed: 1,
    });
    expect((await run('account show no@example.com')).err).toMatch(/No account has the e-mail address/);
  });
});

describe('account set', () => {
  it('changes what is named, and empties what may be empty', async () => {
    const words = ['account', 'set', 'acc-1', '--label', 'a "note", 日本', '--capacity', '4', '--tier', '0'];
    const more = ['--models', 'a,b', '--lend', 'gateway', '--no-free', '--email', 'new@example.com'];
    expect((await run([...words, ...more, '--team-uid', 't'])).calls).toContainEqual([
      'change',
      'acc-1',
      {
        label: 'a "note", 日本',
        capacity: 4,
        tier: 0,
        models: ['a', 'b'],
        lend: 'gateway',
        free: false,
        email: 'new@example.com',
        team_uid: 't',
      },
    ]);
    const emptied = { email: null, label: null, models: null, team_uid: null };
    const { calls } = await run('account set acc-1 --no-email --no-label --no-models --no-team-uid');
    expect(calls).toContainEqual(['change', 'acc-1', emptied]);
    expect((await run(['account', 'set', 'acc-1', '--label', ''])).calls).toContainEqual([
      'change',
      'acc-1',
      { label: null },
    ]);
    expect((await run('account set acc-1 --free')).calls).toContainEqual(['change', 'acc-1', { free: true }]);
  });

  it.each(['', '--capacity 0', '--tier x', '--lend me', '--team-uid a/b', '--models ,'])(
    'refuses "%s" before it opens the pool',
    async (options) => {
      const { code, calls } = await run(`account set acc-1 ${options}`.trim());
      expect([code, calls]).toEqual([2, []]);
    },
  );
});

describe('pool', () => {
  it('replenish says what was added, and fails with what was not', async () => {
    const done = await run('pool replenish --count 2');
    expect(done).toMatchObject({
      code: 0,
      calls: [['replenish', { count: 2 }]],
      out: '1 of 2 accounts added.\n',
    });
    const ill = await run('pool replenish', { isIll: true });
    expect(ill).toMatchObject({
      code: 1,
      out: expect.stringContaining('  standby account acc-9: the key is dead\n'),
    });
    expect(JSON.parse((await run('pool replenish --json')).out)).toMatchObject({ added: 1, reasons: [] });
    expect((await run('pool replenish --count 0')).code).toBe(2);
  });

  it('refresh takes all or one, by any of its names', async () => {
    expect((await run('pool refresh')).calls).toEqual([['refresh', { force: false }]]);
    const one = await run('pool refresh one@example.com --force');
    expect(one.calls).toContainEqual(['refresh', { id: 'acc-1', force: true }]);
    expect(one.out).toMatch(/acc-1 .* refreshed .*\n1 refreshed, 0 skipped, 0 failed\.\n/);
    expect(await run('pool refresh', { isIll: true })).toMatchObject({
      code: 1,
      err: 'warp2api: Accounts that could not be refreshed: 1.\n',
    });
  });

  it('sessions shows who holds what, and follows the pages as far as asked', async () => {
    const { out } = await run('pool sessions --limit 2');
    expect(out).toMatch(/s-0 +key_1 \(gateway\) +no .* a, b, c and 1 more\n/);
    expect(out).toContain('2 of 900 shown; --limit shows more.');
    const all = await run('pool sessions --account acc-1 --json');
    expect((JSON.parse(all.out) as { sessions: unknown[] }).sessions).toHaveLength(900);
    expect(all.calls).toContainEqual(['sessions', { account_id: 'acc-1', limit: 500, after: '500' }]);
  });

  it('release ends a session', async () => {
    const { code, out, calls } = await run('pool release s-1');
    expect([code, out, calls]).toEqual([
      0,
      'The session is over; accounts that came free: 2.\n',
      [['release', 's-1']],
    ]);
  });
});

describe('account list in a terminal', () => {
  const accounts = [
    createAccount({
      id: 'acc_0b6c2d7e-3f1a-4f53-9a53-51a3ff1c1c5e',
      email: 'a.person.with.a.long.name@subsidiary.example.com',
      label: 'the label of this account is long, too',
      status: 'reauth_required',
      status_reason: 'refresh_interrupted',
      status_until: new Date(Date.now() + 3_600_000 * 5).toISOString(),
      last_used: new Date(Date.now() - 60_000 * 10).toISOString(),
    }),
  ];
  it.each([60, 80, 120, 150])('of %i columns has no longer line', async (terminalWidth) => {
    const { out } = await run('account list', { accounts, terminalWidth });
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(
      Math.max(80, terminalWidth),
    );
    expect(out).toMatch(/^acc_0b6c2d7e +.*reauth_required +in 5 h +refresh_interr/m);
    expect(out.includes('SOURCE')).toBe(terminalWidth >= 120);
  });

  it('names accounts that have only a label', async () => {
    const labelled = createAccount({ id: 'acc-2', email: null, label: 'web team' });
    const { out } = await run('account list', { accounts: [...accounts, labelled], terminalWidth: 80 });
    expect(out).not.toContain('LABEL');
    expect(out).toMatch(/^acc-2 +web team +active/m);
  });

  it('has a column that fits, also where a more important one does not, and counts the columns of wide characters', async () => {
    const label = '团队账号一二三四五六七八九十🙂🙂';
    const id = 'acc_0b6c2d7e-3f1a-4f53-9a53-51a3ff1c1c5e';
    const wide = [createAccount({ id, email: 'user0@example.org', label })];
    const { out } = await run('account list', { accounts: wide, terminalWidth: 80 });
    expect(out).toMatch(/^ID +PROVIDER +NAME +STATUS +UNTIL +REASON +SOURCE/);
    const wider = await run('account list', { accounts: wide, terminalWidth: 100 });
    expect(wider.out).toContain('团队账号一二三四五… ');
  });

  it('shows all of it where there is room, and in a pipe', async () => {
    for (const terminalWidth of [400, undefined]) {
      const { out } = await run('account list', { accounts, ...(terminalWidth && { terminalWidth }) });
      for (const text of [
        'acc_0b6c2d7e-3f1a-4f53-9a53-51a3ff1c1c5e',
        'subsidiary.example.com',
        'REASON',
        'SOURCE',
      ])
        expect(out).toContain(text);
    }
  });
});

describe('account show', () => {
  it('says whether the account can be lent, and why it was lately passed over', async () => {
    const { out } = await run('account show acc-1');
    expect(out).toMatch(/can be lent now +no: rate limited\n/);
    expect(out).toMatch(/lately passed over:\n {2}2030-01-01T00:00:00Z {2}rate limited {2}\(job-1\)\n/);
  });
});

it.each(['why r', 'audit', 'pool sessions'])('%s fits into a terminal of 80 columns', async (command) => {
  const email = 'a.person.with.a.long.name@example.com';
  const ids = ['acc_11111111-2222', 'acc_99999999-2222', 'acc-1'];
  const accounts = ids.map((id, at) => createAccount({ id, email: `${at}${email}` }));
  const { out, code } = await run(command, { accounts, terminalWidth: 80 });
  expect(code).toBe(0);
  const table = out.split('\n').filter((line) => / {3}/.test(line));
  expect(Math.max(...table.map((line) => line.length))).toBeLessThanOrEqual(80);
});

describe('audit', () => {
  it('shows who changed what, and follows the pages as far as asked', async () => {
    expect((await run('audit --limit 2')).out).toMatch(
      /ACTOR.*\n.*local +account-changed +one@example\.com +{"capacity":4}\n/,
    );
    const { out, calls } = await run('audit --limit 700 --account one@example.com --json');
    expect((JSON.parse(out) as { entries: unknown[] }).entries).toHaveLength(700);
    expect(calls.filter(([name]) => name === 'audit')).toEqual([
      ['audit', { limit: 500, account_id: 'acc-1' }],
      ['audit', { limit: 200, account_id: 'acc-1', before: 401 }],
    ]);
  });

  it('takes the id of an account that is gone', async () => {
    const account_id = 'acc_0b6c2d7e-3f1a-4f53-9a53-51a3ff1c1c5e';
    const { calls, out } = await run(`audit --account ${account_id}`, { accounts: [] });
    expect(calls[0]).toEqual(['audit', { limit: 50, account_id }]);
    expect(out).toMatch(/ account-changed +acc-1 /);
    expect((await run('audit --account gone')).code).toBe(1);
  });
});

describe('status', () => {
  it('is a table for people and the answer of the pool for programs', async () => {
    const { out } = await run('status');
    expect(out).toMatch(/health +healthy\n/);
    expect(out).toMatch(/ {2}cooling down +1\n/);
    expect(out).not.toMatch(/sandbox/);
    expect(out).toMatch(/spent last hour +40 turns, 20 credits, 12\.5 cents, 10000 tokens\n/);
    expect(out).toMatch(/left +120, lasts about 6 h at the present rate, beside 1 without known limit\n/);
    expect(out).toMatch(/next quota reset +in about 3 days\n/);
    expect(out).toMatch(/source standby +empty, 0 added\n/);
    expect(out).toMatch(
      /source drop +file, backing off until 2030-01-01T00:01:00Z, 2 added: drop: the folder/,
    );
    expect(JSON.parse((await run('status --json')).out)).toEqual(poolStatus);
  });

  it('says loudly that answers come from the sandbox', async () => {
    expect((await run('status', { sandbox: true })).out).toMatch(/built-in sandbox/);
  });

  it('fails with what to do when the pool is away', async () => {
    const failure = new PoolError('pool_unavailable', 'The pool cannot be reached; start it.');
    expect(await run('status', { failure })).toMatchObject({
      code: 1,
      err: 'warp2api: The pool cannot be reached; start it.\n',
    });
  });

  it.each([
    new PoolError('not_found', 'There is nothing at GET /api/sessions.'),
    new PoolError('invalid_request', 'There is no field "on_refusal" in this request.'),
  ])('says that a pool which does not know the call is of another release', async (failure) => {
    const { err } = await run('status', { failure });
    expect(err).toMatch(/another release than this command: restart its service\.\n$/);
  });
});

describe('doctor', () => {
  it('shows a line for each thing and ends well when all is', async () => {
    const { code, out, calls } = await run('doctor --answer');
    expect([code, calls]).toEqual([0, [['examine', { wantsAnswer: true }]]]);
    expect(out).toBe(
      'ok       pool        runs\nok       master key  run: chmod 600 key\n-        answer      not asked for\n',
    );
  });

  it('ends with 1 and says what to do otherwise', async () => {
    const { code, out, err } = await run('doctor --json', { isIll: true });
    expect([code, err]).toEqual([1, 'warp2api: 1 thing has to be done.\n']);
    expect(JSON.parse(out)).toMatchObject({ ok: false, checks: [{}, { result: 'problem' }, {}] });
  });
});

it('import-config writes the file to the standard output, and beside it what is left to do', async () => {
  const { calls, out, err } = await run('import-config litellm.yaml');
  expect(calls).toEqual([['import-config', 'litellm.yaml']]);
  expect(out).toBe('routes: []\n');
  expect(err).toBe('Add the keys as accounts:\n  warp2api account add\nNot converted:\n  x: left out.\n');
});

describe('migrate', () => {
  it('moves the pool to the database it is given, and says what to do then', async () => {
    const { out, calls } = await run(
      'migrate --to postgres://me:secret@db/pool --from sqlite:/srv/accounts.db',
    );
    expect(calls).toEqual([
      ['migrate', { to: 'postgres://me:secret@db/pool', from: 'sqlite:/srv/accounts.db' }],
    ]);
    expect(out).toMatch(/3 accounts.*DATABASE_URL.*as it was/s);
    expect(out).not.toContain('secret');
  });

  it('reads the URL from standard input, so that its password is no argument', async () => {
    const { calls, out } = await run('migrate --to - --json', { stdin: 'postgres://me:secret@db/pool\n' });
    expect(calls).toEqual([['migrate', { to: 'postgres://me:secret@db/pool' }]]);
    expect(JSON.parse(out)).toMatchObject({ accounts: 3, audit: 4 });
  });
});

describe('backup and restore', () => {
  it('say what was copied, and what is kept apart', async () => {
    const { out, calls } = await run('backup /srv/monday');
    expect(calls).toEqual([['backup', '/srv/monday']]);
    expect(out).toMatch(/\/srv\/monday\/accounts\.db +4096 bytes\nThe master key is not in it\.\n/);
    expect(JSON.parse((await run('backup /srv/monday --json')).out)).toMatchObject({ folder: '/srv/monday' });
  });

  it('replace what is there only with --force', async () => {
    const { out, calls } = await run('restore /srv/monday');
    expect(calls).toEqual([['restore', '/srv/monday', false]]);
    expect(out).toBe('Restored /data/accounts.db.\n');
    const forced = await run('restore /srv/monday --force');
    expect(forced.calls).toEqual([['restore', '/srv/monday', true]]);
    expect(forced.out).toContain('accounts.db.before-restore: delete it');
  });
});

describe('vault rotate', () => {
  it('says where the new key is and what the former is good for', async () => {
    const { out, calls } = await run('vault rotate --new-key-file /srv/new');
    expect(calls).toEqual([['rotate', { newKeyFile: '/srv/new' }]]);
    expect(out).toMatch(
      /3 accounts are sealed with key new now\.\nIt is in \/srv\/master\.key; .*master\.key\.old/,
    );
  });

  it('says what to change when the key is in the environment', async () => {
    const { out } = await run('vault rotate', { keyInEnvironment: true });
    expect(out).toMatch(/MASTER_KEY still names the former key: set it to the one in \/srv\/master\.key/);
  });
});

describe('settings', () => {
  it('are a table, of secrets only that they are set', async () => {
    const { out } = await run('settings');
    expect(out).toMatch(/^setting +value +from$/im);
    expect(out).toMatch(/^ADMIN_KEY +\(set, not shown\) +\.env$/m);
    expect(out).toMatch(/^PORT +8018 +default$/m);
    const changed = (await run('settings --changed --json')).out;
    expect(JSON.parse(changed)).toEqual([shownSettings[0]]);
  });
});

describe('the program', () => {
  it('prints its version and its help on standard output', async () => {
    expect(await run('--version')).toMatchObject({ code: 0, out: `${version}\n`, err: '' });
    const help = await run('--help');
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toMatch(/serve \[service\]/);
    expect(help.out).not.toMatch(/^\s+config\b/m);
    expect((await run('account add --help')).out).toMatch(/--api-key - < key.txt/);
  });

  it.each([['nonsense'], ['--nonsense'], ['account'], ['pool'], ['account show'], ['status extra']])(
    'answers "%s" with exit code 2 and a hint on standard error',
    async (command) => {
      const { code, out, err } = await run(command);
      expect([code, out]).toEqual([2, '']);
      expect(err).toMatch(/warp2api --help|Usage:/);
    },
  );

  it('has for every command an example and, but for what runs or converts, --json', async () => {
    const namesIn = (help: string) =>
      [...(/\nCommands:\n(.*?)(?:\n\n|$)/s.exec(help)?.[1] ?? '').matchAll(/^ {2}([a-z-]+)/gm)].map(
        ([, name]) => name,
      );
    const lacking: string[] = [];
    const groups: string[][] = [[]];
    for (const group of groups) {
      for (const name of namesIn((await run([...group, '--help'])).out)) {
        if (name === undefined || name === 'help') continue;
        const { out } = await run([...group, name, '--help']);
        if (namesIn(out).length > 0) groups.push([...group, name]);
        else if (!/^Examples?:$/m.test(out) || !out.includes(' --json '))
          lacking.push([...group, name].join(' '));
      }
    }
    expect(groups).toContainEqual(['account']);
    expect(lacking).toEqual(['serve', 'import-config', 'sandbox']);
  });

  it('shows its help as a usage error when it is called without a word', async () => {
    expect((await run([])).code).toBe(2);
  });

  it('tells scripts the settings', async () => {
    const settings = JSON.parse((await run('config --json')).out);
    expect(settings).toMatchObject({ gatewayUrl: 'http://127.0.0.1:8018', logDir: '/srv/logs' });
  });
});

describe('account import', () => {
  it('sends the lines in parts, and tells the lines that failed by their number in the file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-cli-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const lines = Array.from({ length: 250 }, (_, index) => `{"provider":"warp","api_key":"wk-${index}"}`);
    lines[120] = 'wk-secret';
    writeFileSync(join(folder, 'a.jsonl'), lines.join('\n'));
    const { out, err, code, calls } = await run(['account', 'import', join(folder, 'a.jsonl')]);
    expect(calls.filter(([name]) => name === 'import')).toHaveLength(3);
    expect(out).toMatch(/121 +failed +- +is not valid JSON\n249 added, 0 in the pool already, 1 failed\.\n$/);
    expect([code, err]).toEqual([1, 'warp2api: 1 of 250 lines failed.\n']);
  });

  it('reads standard input', async () => {
    const { out, code } = await run('account import -', { stdin: '{"provider":"warp","api_key":"wk-1"}\n' });
    expect([code, out]).toEqual([0, '1 added, 0 in the pool already, 0 failed.\n']);
  });

  it('says that a file is missing, in words', async () => {
    const { code, err } = await run('account import /nowhere/accounts.jsonl');
    expect([code, err]).toEqual([2, expect.stringContaining('There is no file /nowhere/accounts.jsonl')]);
  });
});

describe('account export', () => {
  it('makes a sealed file that only its owner may read, and that can be imported', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-cli-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [to, pass] = [join(folder, 'pool.export'), join(folder, 'pass')];
    writeFileSync(pass, 'correct horse battery\n');
    const words = ['--to', to, '--passphrase-file', pass, '--provider', 'warp'];
    const { code, calls } = await run(['account', 'export', ...words]);
    expect(code).toBe(0);
    expect(calls).toEqual([
      ['export', { passphrase: 'correct horse battery', filter: { provider: 'warp' } }],
    ]);
    expect(statSync(to).mode & 0o777).toBe(0o600);
    expect(readFileSync(to, 'utf8')).not.toContain('wk-1');

    const named = await run(['account', 'export', ...words.with(1, `${to}-2`), '--json']);
    expect(JSON.parse(named.out)).toEqual({ file: `${to}-2` });
    const again = await run(['account', 'export', ...words]);
    expect(again).toMatchObject({ code: 2, err: expect.stringContaining('is there already') });
    const back = await run(['account', 'import', to, '--passphrase-file', pass]);
    expect(back.out).toBe('2 added, 0 in the pool already, 0 failed.\n');
    expect((await run(['account', 'import', to])).err).toMatch(/give --passphrase-file/);
    writeFileSync(pass, 'wrong horse battery\n');
    expect((await run(['account', 'import', to, '--passphrase-file', pass])).err).toMatch(/does not fit/);
  });

  it('leaves no file when the pool does not answer', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-cli-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'pass'), 'correct horse battery');
    const words = ['--to', join(folder, 'x'), '--passphrase-file', join(folder, 'pass')];
    const { code, err } = await run(['account', 'export', ...words], { isIll: true });
    expect([code, err]).toEqual([1, 'warp2api: The connection broke off.\n']);
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });
});
