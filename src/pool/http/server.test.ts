import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DatabaseError } from '../../db/database.ts';
import { createLogger } from '../../lib/log/logger.ts';
import type { AllocateAnswer, ErrorAnswer } from '../../pool-api/schema.ts';
import {
  allocate,
  closeServers,
  type Running,
  report,
  reportOf,
  startServer,
} from '../testing/test-server.ts';

afterEach(closeServers);

const used = (usage: object) => ({
  session_id: 's',
  reports: [
    {
      report_id: 'r',
      account_id: 'a',
      fence: 1,
      token_version: 1,
      outcome: 'success',
      at: '2026-01-01T00:00:00Z',
      usage,
    },
  ],
});

describe('bad requests', () => {
  const cases: [string, string, unknown, number, string, string?][] = [
    ['POST', allocate, { cuont: 1 }, 400, 'unknown_field', 'cuont'],
    ['POST', allocate, { count: 'two' }, 400, 'invalid_request', 'count'],
    ['POST', allocate, { count: 51 }, 400, 'invalid_request', 'count'],
    ['POST', allocate, { slots: 2 }, 400, 'invalid_request', 'slots'],
    ['POST', allocate, { session_id: 'no spaces' }, 400, 'invalid_request', 'session_id'],
    ['POST', allocate, '{', 400, 'invalid_json'],
    ['POST', allocate, '[]', 400, 'invalid_request'],
    ['POST', allocate, 'null', 400, 'invalid_request'],
    ['POST', '/api/accounts/release', undefined, 400, 'invalid_request'],
    ['POST', report, { session_id: 's', reports: [{ x: 1 }] }, 400, 'invalid_request', 'reports.0.report_id'],
    // Totals past the whole numbers would make every later report on the account fail.
    ['POST', report, used({ input_tokens: 1e15 }), 400, 'invalid_request', 'reports.0.usage.input_tokens'],
    ['POST', report, used({ cost_cents: -1 }), 400, 'invalid_request', 'reports.0.usage.cost_cents'],
    ['POST', report, used({ credits: 1e308 }), 400, 'invalid_request', 'reports.0.usage.credits'],
    ['POST', '/api/accounts', { provider: 'nobody', api_key: 'k' }, 400, 'invalid_request', 'provider'],
    [
      'POST',
      '/api/accounts',
      { provider: 'openai', refresh_token: 't' },
      400,
      'invalid_request',
      'refresh_token',
    ],
    ['POST', '/api/accounts', { provider: 'warp' }, 400, 'invalid_request', 'api_key'],
    ['GET', '/api/accounts?limit=0', undefined, 400, 'invalid_request', 'limit'],
    ['GET', '/api/accounts?after=x', undefined, 400, 'invalid_request', 'after'],
    ['GET', '/api/accounts/nobody', undefined, 404, 'account_not_found', 'id'],
    ['PATCH', '/api/accounts/nobody', { enabled: true }, 404, 'account_not_found', 'id'],
    ['GET', '/nowhere', undefined, 404, 'not_found'],
    ['GET', allocate, undefined, 405, 'method_not_allowed'],
    ['DELETE', '/health', undefined, 405, 'method_not_allowed'],
    ['POST', allocate, 'x'.repeat(1024 * 1024 + 1), 413, 'too_large'],
  ];
  it('says which field is meant by one that there is not', async () => {
    const service = await startServer();
    const said = async (given: object) => {
      const { body } = await service.call<ErrorAnswer>('POST', '/api/accounts', given);
      return body.error.message;
    };
    expect(await said({ provider: 'warp', apiKey: 'wk-1' })).toBe(
      'There is no field "apiKey" in this request; did you mean "api_key"?',
    );
    expect(await said({ provider: 'warp', api_key: 'wk-1', colour: 1 })).toBe(
      'There is no field "colour" in this request.',
    );
  });

  it.each([
    ['label', `a\u202e${'b'.repeat(10)}`],
    ['label', 'b'.repeat(450_000)],
    ['email', `${'b'.repeat(450_000)}\u009b`],
    ['models', ['gpt-\u200b5']],
  ])('refuses a %s that a list cannot show, however long', async (field, value) => {
    const service = await startServer();
    const given = { provider: 'warp', api_key: 'wk-1', [field]: value };
    const answer = await service.call<ErrorAnswer>('POST', '/api/accounts', given);
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'invalid_request' } } });
    expect(answer.body.error.param).toMatch(new RegExp(`^${field}`));
  });

  it.each(cases)('answers %s %s %j with %i %s', async (method, path, body, status, code, param) => {
    const service = await startServer();
    const answer = await service.call<ErrorAnswer>(method, path, body);
    expect(answer).toMatchObject({ status, body: { success: false, error: { code } } });
    if (param !== undefined) expect(answer.body.error.param).toBe(param);
  });

  it('takes null, and a field of a query without a value, as left out', async () => {
    const { call } = await startServer();
    const unset = { email: null, label: null, capacity: null, models: null, free: null, team_uid: null };
    const added = await call('POST', '/api/accounts', {
      provider: 'warp',
      api_key: 'wk-1',
      refresh_token: null,
      ...unset,
    });
    expect(added).toMatchObject({ status: 201, body: { account: { label: null, capacity: 16 } } });
    const { body } = await call<AllocateAnswer>('POST', allocate, {
      session_id: 's',
      count: null,
      model: null,
      ttl_seconds: null,
      exclude: null,
    });
    const reports = reportOf(body, 'success', { reset_at: null, usage: { credits: null, turns: 2 } });
    expect(await call('POST', report, reports)).toMatchObject({ body: { results: [{ result: 'applied' }] } });
    const released = await call('POST', '/api/accounts/release', { session_id: 's', leases: null });
    expect(released.body).toMatchObject({ released: 1 });
    const listed = await call('GET', '/api/accounts?status=&provider=&limit=&email=&after=');
    expect(listed).toMatchObject({ status: 200, body: { total: 1 } });
    expect((await call('GET', '/api/audit?before=&limit=&account_id=')).status).toBe(200);
  });

  it('clears with null what may be cleared, and leaves the rest', async () => {
    const service = await startServer();
    const settings = { label: 'work', email: 'me@example.com', models: ['auto'], team_uid: 'team' };
    const id = await service.add('wk-1', { ...settings, capacity: 3, tier: 2, lend: 'gateway' });
    const cleared = { label: null, email: null, models: null, team_uid: null };
    const change = { ...cleared, capacity: null, tier: null, lend: null, enabled: null, api_key: null };
    expect(await service.call('PATCH', `/api/accounts/${id}`, change)).toMatchObject({
      status: 200,
      body: { account: { ...cleared, capacity: 3, tier: 2, lend: 'gateway', status: 'active' } },
    });
  });

  it('gives a guesser of a credential no hint', async () => {
    const service = await startServer({}, { adminKey: 'key-of-the-owner', poolApiKey: 'key-of-a-borrower' });
    const owner = { authorization: 'Bearer key-of-the-owner' };
    const borrower = { authorization: 'Bearer key-of-a-borrower' };
    const given = { provider: 'warp', api_key: 'wk-live-4f9a1c2d3e5b6a79' };
    expect((await service.call('POST', '/api/accounts', given, owner)).status).toBe(201);
    for (const guess of ['wk-live-4f9a', 'wk-live-4f9b']) {
      const paths = await service.call<ErrorAnswer>('GET', `/${guess}`);
      expect(paths.body.error.message).toContain(`GET /${guess}.`);
      const fields = await service.call<ErrorAnswer>('POST', allocate, { [guess]: 1 }, borrower);
      expect(fields.body.error.message).toContain(`"${guess}"`);
    }
  });

  it('does not answer to a foreign name or page', async () => {
    const service = await startServer();
    const host = await service.call('GET', '/health', undefined, { host: 'evil.example' });
    expect(host).toMatchObject({ status: 403, body: { error: { code: 'host_not_allowed' } } });
    const page = await service.call('GET', '/health', undefined, { origin: 'https://evil.example' });
    expect(page).toMatchObject({ status: 403, body: { error: { code: 'origin_not_allowed' } } });
  });

  it('answers 503 while the database cannot be written, and no path of it', async () => {
    const service = await startServer();
    vi.spyOn(service.store, 'stats').mockRejectedValue(
      new DatabaseError('database_unusable', 'The database /secret cannot be used: disk is full.'),
    );
    const answer = await service.call<ErrorAnswer>('GET', '/api/accounts/status');
    expect(answer).toMatchObject({ status: 503, body: { error: { code: 'pool_unavailable' } } });
    expect(answer.body.error.message).not.toContain('secret');
    expect(answer.body.error.message).toContain('disk');
  });

  it('keeps the details of an internal error to itself', async () => {
    const service = await startServer();
    vi.spyOn(service.store, 'stats').mockRejectedValue(new Error('secret detail'));
    const answer = await service.call<ErrorAnswer>('GET', '/api/accounts/status');
    expect(answer).toMatchObject({ status: 500, body: { error: { code: 'internal' } } });
    expect(answer.body.error.message).not.toContain('secret');
    expect((await service.call('GET', '/health')).body).toMatchObject({ status: 'degraded' });
  });
});

describe('health', () => {
  it('names the providers with accounts that are not given up', async () => {
    const service = await startServer();
    const health = async () => (await service.call('GET', '/health')).body;
    expect(await health()).toMatchObject({ status: 'degraded', providers: [] });
    const id = await service.add('wk-1');
    expect(await health()).toMatchObject({ status: 'ok', providers: ['warp'] });
    await service.call(
      'PATCH',
      `/api/accounts/${id}`,
      { enabled: false },
      { 'content-type': 'application/json' },
    );
    expect(await health()).toMatchObject({ providers: [] });
  });
});

describe('a client of the gateway that came here', () => {
  it.each(['/v1/chat/completions', '/v1/messages', '/v1/models', '/responses'])(
    'hears at %s where the gateway is, in words it can read',
    async (path) => {
      const service = await startServer({}, { gatewayAddress: () => 'http://localhost:8018' });
      const { status, body } = await service.call('POST', path, '{', { host: 'localhost:8019' });
      const message = expect.stringMatching(/account pool.*http:\/\/localhost:8018/);
      const error = { type: 'not_found_error', code: 'not_found', param: null, message };
      expect([status, body]).toEqual([404, { success: false, type: 'error', error }]);
    },
  );
});

describe('keys', () => {
  const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

  it('opens everything to the admin key and lending to the other', async () => {
    const service = await startServer({}, { adminKey: 'boss', poolApiKey: 'gate' });
    const code = async (method: string, path: string, headers?: Record<string, string>) => {
      const answer = await service.call<ErrorAnswer>(method, path, undefined, headers);
      return [answer.status, answer.body.error?.code];
    };
    expect(await code('GET', '/health')).toEqual([200, undefined]);
    expect(await code('GET', '/api/accounts')).toEqual([401, 'invalid_key']);
    expect(await code('GET', '/api/accounts', bearer('wrong'))).toEqual([401, 'invalid_key']);
    expect(await code('GET', '/api/accounts', bearer('gate'))).toEqual([403, 'forbidden']);
    expect(await code('GET', '/api/accounts', bearer('boss'))).toEqual([200, undefined]);
    expect(await code('POST', allocate, bearer('gate'))).toEqual([503, 'no_account_available']);
    expect(await code('POST', allocate)).toEqual([401, 'invalid_key']);
  });

  it('takes any key it knows, wherever it is shown', async () => {
    const service = await startServer({}, { adminKey: 'boss', poolApiKey: 'gate' });
    const status = async (path: string, headers: Record<string, string>) =>
      (await service.call('GET', path, undefined, headers)).status;
    for (const headers of [
      { authorization: 'Bearer ', 'x-api-key': 'boss' },
      { ...bearer('placeholder'), 'api-key': 'boss' },
      { ...bearer('gate'), 'x-goog-api-key': 'boss' },
    ]) {
      expect(await status('/api/accounts', headers)).toBe(200);
    }
    expect(await status('/api/accounts?limit=1&key=boss', {})).toBe(200);
    expect(await status('/api/accounts?key=gate', {})).toBe(403);
    expect(await status('/api/accounts?key=wrong', { 'x-api-key': 'wrong' })).toBe(401);
  });

  it('keeps a session to the key that made it, but lets an admin release it', async () => {
    const service = await startServer({}, { adminKey: 'boss', poolApiKey: 'gate' });
    await service.call('POST', '/api/accounts', { provider: 'warp', api_key: 'k' }, bearer('boss'));
    await service.call('POST', allocate, { session_id: 's' }, bearer('boss'));
    const session = { session_id: 's' };
    expect((await service.call('POST', allocate, session, bearer('gate'))).status).toBe(409);
    expect((await service.call('POST', '/api/accounts/release', session, bearer('gate'))).status).toBe(404);
    await service.call('POST', '/api/accounts/release', session, bearer('boss'));
    await service.call('POST', allocate, session, bearer('gate'));
    expect((await service.call('POST', '/api/accounts/release', session, bearer('boss'))).status).toBe(200);
  });
});

describe('a gateway', () => {
  const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
  const gateway = bearer('the-key-of-the-gateway');
  const borrower = bearer('the-key-of-borrowers');
  const keys = {
    adminKey: 'the-key-of-the-owner',
    poolApiKey: 'the-key-of-borrowers',
    gatewayKey: 'the-key-of-the-gateway',
  };
  const named = { session_id: 'gateway:mine', exclusive: false };
  const own = { lend: 'gateway' };

  it('is what shows the key of gateways; the name of a session gives nothing', async () => {
    const service = await startServer({}, keys);
    const account = { provider: 'warp', api_key: 'k', ...own };
    expect((await service.call('POST', '/api/accounts', account, bearer(keys.adminKey))).status).toBe(201);
    for (const headers of [borrower, bearer(keys.adminKey)]) {
      const refused = await service.call('POST', allocate, named, headers);
      expect(refused).toMatchObject({
        status: 503,
        body: { error: { shortage: { reasons: { lend_gateway_only: 1 } } } },
      });
    }
    // Both keys at once are a gateway's.
    const both = { ...borrower, 'x-api-key': keys.gatewayKey };
    expect((await service.call('POST', allocate, { session_id: 'any' }, both)).status).toBe(200);
    expect((await service.call('GET', '/api/accounts', undefined, gateway)).status).toBe(403);
  });

  it.each([
    ['a borrower', keys, borrower],
    ['a program on a machine without keys', { gatewayKey: keys.gatewayKey }, {}],
  ])('has sessions that %s can neither take nor end nor report on', async (_who, given, other) => {
    const service = await startServer({}, given);
    const owner = given === keys ? bearer(keys.adminKey) : {};
    await service.call('POST', '/api/accounts', { provider: 'warp', api_key: 'k' }, owner);
    const { body: lease } = await service.call<AllocateAnswer>('POST', allocate, named, gateway);
    const statuses = [
      await service.call('POST', allocate, named, other),
      await service.call('POST', '/api/accounts/release', { session_id: named.session_id }, other),
      await service.call('POST', report, reportOf(lease, 'refused'), other),
    ].map(({ status }) => status);
    expect(statuses).toEqual([409, 404, 404]);
    expect((await service.call('POST', report, reportOf(lease, 'success'), gateway)).body).toMatchObject({
      results: [{ result: 'applied', status: 'active' }],
    });
  });

  it('hears from /health who it is, and others what they are kept from', async () => {
    const service = await startServer({}, keys);
    await service.call(
      'POST',
      '/api/accounts',
      { provider: 'warp', api_key: 'k', ...own },
      bearer(keys.adminKey),
    );
    const health = async (headers: Record<string, string>) =>
      (await service.call('GET', '/health', undefined, headers)).body;
    expect(await health(gateway)).toMatchObject({ caller: 'gateway' });
    expect(await health(gateway)).not.toHaveProperty('gateway_only_accounts');
    expect(await health(borrower)).toMatchObject({ caller: 'borrower', gateway_only_accounts: 1 });
    for (const headers of [{}, bearer('wrong')])
      expect(await health(headers)).toMatchObject({ caller: 'unknown' });
  });

  it('shows guessed keys by a line now and then, without the keys', async () => {
    const lines: string[] = [];
    const logger = createLogger('INFO', { write: (line: string) => void lines.push(line) });
    const service = await startServer({}, { ...keys, logger });
    const guess = () => service.call('GET', '/api/accounts', undefined, bearer('guessed'));
    for (let count = 0; count < 5; count += 1) await guess();
    service.clock.advance(60_000);
    await guess();
    const told = lines.filter((line) => line.includes('wrong key')).map((line) => JSON.parse(line).requests);
    expect(told).toEqual([1, 5]);
    expect(lines.join('')).not.toContain('guessed');
  });
});

describe('events', () => {
  async function readEvents(service: Running, lastId?: string): Promise<{ text(): string; stop(): void }> {
    let text = '';
    const headers = lastId === undefined ? {} : { 'last-event-id': lastId };
    const sent = httpRequest({ host: '127.0.0.1', port: service.port, path: '/api/events', headers });
    sent.on('error', () => {});
    await new Promise<void>((resolve) => {
      sent.on('response', (response) => {
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          resolve();
        });
        response.on('error', () => {});
      });
      sent.end();
    });
    return { text: () => text, stop: () => sent.destroy() };
  }

  it('tells what changed, resumes after the last id, and says when it cannot', async () => {
    const service = await startServer();
    const stream = await readEvents(service);
    const id = await service.add('first');
    await vi.waitFor(() => expect(stream.text()).toContain(`"type":"account-changed","account_id":"${id}"`));
    const lastId = /id: (\S+)\ndata/.exec(stream.text())?.[1];
    stream.stop();
    await service.call('DELETE', `/api/accounts/${id}`);
    const resumed = await readEvents(service, lastId);
    expect(resumed.text()).toContain('account-removed');
    expect(resumed.text()).not.toContain('account-changed');
    expect((await readEvents(service, 'another-run-7')).text()).toContain('event: reset');
  });

  it('go to so many readers of one key, and there is a place again when one leaves', async () => {
    const service = await startServer({}, { mostStreamsOfKey: 2 });
    const [first] = [await readEvents(service), await readEvents(service)];
    const { status, body, headers } = await service.call('GET', '/api/events');
    expect([status, body['error'], headers['retry-after']]).toMatchObject([
      503,
      { code: 'overloaded' },
      '10',
    ]);
    first.stop();
    await vi.waitFor(async () => expect((await readEvents(service)).text()).toContain('connected'));
  });

  it('keeps an idle stream alive', async () => {
    const service = await startServer();
    const stream = await readEvents(service);
    service.clock.advance(15_000);
    await vi.waitFor(() => expect(stream.text()).toContain(': ping'));
  });
});
