import { Validator as SchemaValidator } from '@cfworker/json-schema';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterEach, describe, expect, it } from 'vitest';
import { type ApiDocument, apiDocument } from '../../lib/api/api-document.ts';
import { routesOf } from '../../lib/http/http-server.ts';
import { closeServers, startServer } from '../testing/test-server.ts';
import { poolApi } from './routes.ts';

afterEach(closeServers);

describe('/openapi.json', () => {
  it('is a valid OpenAPI document that names every route of the server, and no other', async () => {
    const { app, call } = await startServer({}, { adminKey: 'boss' });
    const { status, body } = await call<ApiDocument>('GET', '/openapi.json');
    expect(status).toBe(200);
    expect(await new Validator().validate(JSON.parse(JSON.stringify(body)))).toEqual({ valid: true });
    // Patterns for readers in any language.
    expect(JSON.stringify(body)).not.toContain('\\\\p{');
    const described = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
    );
    const served = routesOf(app).map(({ method, url, access }) => ({ method, url, access }));
    expect(described.sort()).toEqual(served.map(({ method, url }) => `${method} ${url}`).sort());
    for (const { method, path, access } of poolApi.routes) {
      const url = path.replace('{id}', ':id');
      expect(served).toContainEqual({ method, url, access });
    }
  });

  it('says which key opens a call, and the server agrees', async () => {
    const { port } = await startServer({}, { adminKey: 'boss', poolApiKey: 'borrow' });
    for (const { method, path, access } of poolApi.routes) {
      const statusWith = async (key?: string) => {
        const url = `http://127.0.0.1:${port}${path.replace('{id}', 'none')}`;
        const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
        const answer = await fetch(url, { method, headers });
        await answer.body?.cancel();
        return answer.status;
      };
      const expected = access === 'open' ? [false, false] : [true, access === 'adminKey'];
      const got = [(await statusWith()) === 401, (await statusWith('borrow')) === 403];
      expect([method, path, got]).toEqual([method, path, expected]);
    }
  });

  it('allows and forbids what the server takes and refuses', async () => {
    const { call } = await startServer();
    const { body } = await call<ApiDocument>('GET', '/openapi.json');
    const report = {
      report_id: 'r',
      account_id: 'a',
      token_version: 0,
      outcome: 'success',
      at: '2026-01-01T00:00:00Z',
    };
    const given: readonly (readonly [method: string, path: string, schema: string, body: object])[] = [
      ['POST', '/api/accounts', 'NewAccount', { provider: 'warp', api_key: 'wk-1' }],
      ['POST', '/api/accounts', 'NewAccount', { provider: 'warp', api_key: 'wk-1', refresh_token: 'r' }],
      ['PATCH', '/api/accounts/none', 'AccountChange', { api_key: 'wk-1', refresh_token: 'r' }],
      ['POST', '/api/logins', 'NewLogin', { provider: 'warp', account_id: 'a', label: 'l' }],
      [
        'POST',
        '/api/accounts',
        'NewAccount',
        { provider: 'warp', api_key: 'wk-2', refresh_token: null, lend: null },
      ],
      ['POST', '/api/accounts', 'NewAccount', { provider: null, api_key: 'wk-1' }],
      ['POST', '/api/accounts', 'NewAccount', { provider: 'warp', api_key: 'wk-3', models: ['a', null] }],
      [
        'PATCH',
        '/api/accounts/none',
        'AccountChange',
        { enabled: null, label: null, api_key: 'wk-1', refresh_token: null },
      ],
      [
        'POST',
        '/api/accounts/refresh-tokens',
        'RefreshTokensRequest',
        { email: null, id: null, force: null },
      ],
      ['POST', '/api/accounts/replenish', 'ReplenishRequest', { count: null, unknown: null }],
      ['POST', '/api/accounts/import', 'ImportRequest', { lines: '', sealed: null, passphrase: null }],
      ['POST', '/api/accounts/import', 'ImportRequest', { lines: null, sealed: '', passphrase: null }],
      ['POST', '/api/accounts/allocate', 'AllocateRequest', { slots: 2, exclusive: null }],
      ['POST', '/api/accounts/import', 'ImportRequest', { lines: '' }],
      ['POST', '/api/accounts/import', 'ImportRequest', { lines: '', passphrase: 'p' }],
      ['POST', '/api/accounts/import', 'ImportRequest', { lines: '', sealed: '', passphrase: 'p' }],
      ['POST', '/api/accounts/import', 'ImportRequest', { sealed: '' }],
      ['POST', '/api/accounts/allocate', 'AllocateRequest', { slots: 2 }],
      ['POST', '/api/accounts/allocate', 'AllocateRequest', { slots: 2, exclusive: false }],
      ['POST', '/api/accounts/allocate', 'AllocateRequest', { slots: 1, exclusive: true }],
      [
        'POST',
        '/api/accounts/report',
        'ReportRequest',
        { session_id: 's', reports: [{ ...report, fence: 2 ** 53 }] },
      ],
      [
        'POST',
        '/api/accounts/report',
        'ReportRequest',
        { session_id: 's', reports: [{ ...report, fence: 1 }] },
      ],
      [
        'POST',
        '/api/accounts/report',
        'ReportRequest',
        { session_id: 's', reports: [{ ...report, fence: 1, reset_at: null, usage: { credits: null } }] },
      ],
      [
        'POST',
        '/api/accounts/report',
        'ReportRequest',
        { session_id: 's', reports: [{ ...report, fence: 1, usage: { tokens: null } }] },
      ],
    ];
    for (const [method, path, name, sent] of given) {
      const fits = new SchemaValidator(body.components.schemas[name] ?? false, '2020-12').validate(
        sent,
      ).valid;
      const { status } = await call(method, path, sent);
      expect([name, sent, fits]).toEqual([name, sent, status !== 400]);
    }
  });

  it('leaves to the provider whether an account needs a credential', async () => {
    const { call } = await startServer();
    const { body } = await call<ApiDocument>('GET', '/openapi.json');
    const schema = new SchemaValidator(body.components.schemas['NewAccount'] ?? false, '2020-12');
    for (const none of [{ provider: 'warp' }, { provider: 'warp', api_key: null, refresh_token: null }]) {
      expect(schema.validate(none).valid).toBe(true);
      expect((await call('POST', '/api/accounts', none)).status).toBe(400);
    }
  });

  it('shows what may be left out of a request as such', () => {
    const { schemas } = apiDocument(poolApi).components;
    expect(schemas['AllocateRequest']).toMatchObject({ additionalProperties: false });
    expect(schemas['AllocateRequest']?.['required']).toBeUndefined();
    expect(schemas['AllocateAnswer']?.['required']).toContain('session_id');
  });
});

describe('/docs', () => {
  it('is a page without scripts that loads nothing and names every call', async () => {
    const { port } = await startServer();
    const answer = await fetch(`http://127.0.0.1:${port}/docs`);
    const policy = answer.headers.get('content-security-policy');
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'/);
    expect(policy).not.toMatch(/unsafe|script-src|https?:/);
    const page = await answer.text();
    expect(page).not.toMatch(/<script|\son\w+=|style=|https?:\/\/|src=/);
    for (const { path } of poolApi.routes) expect(page).toContain(path);
    // Each link leads somewhere.
    for (const [, id] of page.matchAll(/href="#([^"]+)"/g)) expect(page).toContain(`id="${id}"`);
  });
});
