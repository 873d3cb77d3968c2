import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import { testContext, testSettings } from '../testing/provider-context.ts';
import { warp } from './index.ts';
import { createWarpProvider } from './provider.ts';
import { isWarpHost } from './warp-host.ts';

interface Asked {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: { readonly query: string; readonly operationName: string; readonly variables: unknown };
}

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function providerAt(answer: (response: ServerResponse, operation: string) => void) {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const bytes = await buffer(request).catch(() => undefined);
    // The test has ended.
    if (bytes === undefined) return;
    const body = JSON.parse(bytes.toString()) as Asked['body'];
    asked.push({ url: request.url, headers: request.headers, body });
    answer(response, body.operationName);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const clock = { ...testContext.clock, now: () => Date.UTC(2026, 0, 15) };
  const provider = createWarpProvider(
    { ...testContext, clock },
    { ...testSettings, WARP_SERVER_URL: `http://127.0.0.1:${port}` },
  );
  return { provider, asked };
}

const json =
  (value: unknown, status = 200) =>
  (response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
const ofUser = (user: unknown) => json({ data: { user: { __typename: 'UserOutput', user } } });

async function errorOf(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AppError) return error;
  throw new Error('no AppError was thrown');
}

describe('the list of models', () => {
  const choices = [
    { id: 'auto', displayName: 'Auto', visionSupported: true, contextWindow: { max: 400, default: 200 } },
    { id: 'plain', contextWindow: null, disableReason: 'REQUIRES_UPGRADE', somethingNew: 1 },
    { id: 'off', disableReason: 'ADMIN_DISABLED' },
    { id: 'out', disableReason: 'PROVIDER_OUTAGE' },
    { id: 'new', disableReason: 'MOON_PHASE' },
    {
      id: 'think-high',
      baseModelName: 'Think',
      reasoningLevel: 'High',
      description: 'Thinks.',
      provider: 'ANTHROPIC',
      visionSupported: false,
      usageMetadata: { creditMultiplier: 2.5, requestMultiplier: 1 },
    },
    { id: 'odd', provider: 'UNKNOWN', reasoningLevel: null, usageMetadata: null, baseModelName: null },
  ];
  const workspace = {
    featureModelChoice: {
      agentMode: { defaultId: 'auto', choices },
      // Lists of models that no turn can use.
      coding: { defaultId: 'coder', choices: [{ id: 'coder' }] },
    },
  };
  const other = { featureModelChoice: { agentMode: { defaultId: 'foreign', choices: [{ id: 'foreign' }] } } };

  it('is that of the first workspace, with what each is, and why one may not be used', async () => {
    const { provider, asked } = await providerAt(ofUser({ workspaces: [workspace, other, {}, null] }));
    expect(await provider.listModels({ bearer: 'wk-1' })).toEqual([
      { id: 'auto', displayName: 'Auto', contextWindow: 200, hasVision: true, isDefault: true },
      { id: 'plain', withheld: { reason: "the account's plan does not include it", isPassing: false } },
      { id: 'off', withheld: { reason: expect.stringContaining('administrator'), isPassing: false } },
      { id: 'out', withheld: { reason: 'its vendor has an outage', isPassing: true } },
      { id: 'new', withheld: { reason: 'the provider says MOON_PHASE', isPassing: true } },
      {
        id: 'think-high',
        description: 'Thinks.',
        hasVision: false,
        vendor: 'anthropic',
        baseName: 'Think',
        effort: 'high',
        creditMultiplier: 2.5,
      },
      { id: 'odd' },
    ]);
    expect(asked[0]).toMatchObject({
      url: '/graphql/v2?op=GetFeatureModelChoices',
      headers: { authorization: 'Bearer wk-1', 'user-agent': 'warp2api/test' },
      body: {
        operationName: 'GetFeatureModelChoices',
        variables: { requestContext: { clientContext: {}, osContext: {} } },
      },
    });
    expect(Object.keys(asked[0]?.headers ?? {}).filter((name) => name.startsWith('x-warp'))).toEqual([]);
  });

  it('is read without what has another shape', async () => {
    const odd = [
      { id: 'auto', displayName: 7, contextWindow: 'large', usageMetadata: [], visionSupported: 'yes' },
      { displayName: 'No id' },
      'text',
      { id: 'good', displayName: 'Good', contextWindow: { max: '1', default: 200 } },
    ];
    const listOf = (choices: unknown) =>
      providerAt(ofUser({ workspaces: [{ featureModelChoice: { agentMode: { defaultId: 5, choices } } }] }));
    expect(await (await listOf(odd)).provider.listModels({ bearer: 'wk-1' })).toEqual([
      { id: 'auto' },
      { id: 'good', displayName: 'Good', contextWindow: 200 },
    ]);
    // None at all is no list: it would keep the account from every model.
    const none = await listOf(['text']);
    expect((await errorOf(none.provider.listModels({ bearer: 'wk-1' }))).code).toBe('upstream_protocol');
  });

  it('is read at once, however many items of it are none', async () => {
    const answer = (choices: unknown[]) =>
      ofUser({ workspaces: [{ featureModelChoice: { agentMode: { choices } } }] });
    const odd = await providerAt(answer([{ id: 'auto' }, ...Array(190_000).fill(1)]));
    const errors = await providerAt(json({ errors: Array(190_000).fill(1) }));
    const seconds = await cpuSecondsOf(async () => {
      expect(await odd.provider.listModels({ bearer: 'wk-1' })).toEqual([{ id: 'auto' }]);
      expect((await errorOf(errors.provider.listModels({ bearer: 'wk-1' }))).code).toBe('upstream_protocol');
    });
    expect(seconds).toBeLessThan(2);
  });

  it('is an error without a workspace or in another shape', async () => {
    const empty = await providerAt(ofUser({ workspaces: [] }));
    expect((await errorOf(empty.provider.listModels({ bearer: 'wk-1' }))).code).toBe('upstream_protocol');
    const odd = await providerAt(ofUser({ workspaces: 'none' }));
    expect((await errorOf(odd.provider.listModels({ bearer: 'wk-1' }))).code).toBe('upstream_protocol');
  });
});

describe('the quota', () => {
  const info = {
    isUnlimited: false,
    requestLimit: 100,
    requestsUsedSinceLastRefresh: 110,
    nextRefreshTime: '2026-02-01T00:00:00Z',
  };
  const grant = (grantType: string, expiration: string | null, left: number) => ({
    grantType,
    expiration,
    requestCreditsRemaining: left,
  });

  it('adds the grants that are still good for chats', async () => {
    const { provider, asked } = await providerAt(
      ofUser({
        requestLimitInfo: info,
        bonusGrants: [
          grant('ANY', null, 5),
          grant('ANY', '2026-01-01T00:00:00Z', 50),
          grant('AMBIENT_ONLY', null, 70),
        ],
        workspaces: [{ bonusGrantsInfo: { grants: [grant('ANY', '2026-03-01T00:00:00Z', 2)] } }, {}],
      }),
    );
    expect(await provider.getQuota({ bearer: 'wk-1' })).toEqual({
      isUnlimited: false,
      limit: 100,
      used: 110,
      remaining: 7,
      resetAt: new Date('2026-02-01T00:00:00Z'),
    });
    expect(asked.map(({ url }) => url)).toEqual([
      '/graphql/v2?op=GetRequestLimitInfo',
      '/graphql/v2?op=GetAICreditAvailability',
    ]);
  });

  it('has no limit for an unlimited account', async () => {
    const { provider } = await providerAt(
      ofUser({ requestLimitInfo: { ...info, isUnlimited: true, nextRefreshTime: 'never' } }),
    );
    expect(await provider.getQuota({ bearer: 'wk-1' })).toEqual({ isUnlimited: true, used: 110 });
  });
});

describe("the server's own word", () => {
  const info = {
    isUnlimited: false,
    requestLimit: 100,
    requestsUsedSinceLastRefresh: 40,
    nextRefreshTime: '2026-02-01T00:00:00Z',
  };
  const figures = { isUnlimited: false, limit: 100, used: 40, resetAt: new Date('2026-02-01T00:00:00Z') };
  const said = (available: boolean, denialReason: string) => ({
    aiCreditAvailability: { available, denialReason, creditSource: null },
  });

  it.each([
    ['lets requests in', said(true, 'NONE'), { ...figures, remaining: 60, isAvailable: true }],
    [
      'is that the credits are out',
      said(false, 'OUT_OF_CREDITS'),
      { ...figures, remaining: 0, isAvailable: false, denialReason: 'OUT_OF_CREDITS' },
    ],
    [
      'is another reason',
      said(false, 'DELINQUENT'),
      { ...figures, remaining: 60, isAvailable: false, denialReason: 'DELINQUENT' },
    ],
    [
      'is no word',
      said(false, 'Dear customer!'),
      { ...figures, remaining: 60, isAvailable: false, denialReason: 'UNKNOWN' },
    ],
  ])('%s', async (_name, user, expected) => {
    const { provider } = await providerAt(ofUser({ requestLimitInfo: info, ...user }));
    expect(await provider.getQuota({ bearer: 'wk-1' })).toEqual(expected);
  });

  it('is read without grants and times of another shape', async () => {
    const { provider } = await providerAt(
      ofUser({
        requestLimitInfo: { ...info, requestsUsedSinceLastRefresh: 40, nextRefreshTime: 5 },
        bonusGrants: [
          'x',
          { grantType: 'ANY', requestCreditsRemaining: 10 },
          { grantType: 'ANY', requestCreditsRemaining: 'many' },
        ],
        workspaces: [7, { bonusGrantsInfo: 'none' }, { bonusGrantsInfo: { grants: {} } }],
      }),
    );
    expect(await provider.getQuota({ bearer: 'wk-1' })).toMatchObject({ limit: 100, remaining: 70 });
  });

  it('stands alone where the figures cannot be had, and the figures where it cannot', async () => {
    const failing = (operation: string, status: number) => (response: ServerResponse, asked: string) =>
      asked === operation
        ? json({}, status)(response)
        : ofUser({ requestLimitInfo: info, ...said(true, 'NONE') })(response);
    const without = await providerAt(failing('GetRequestLimitInfo', 500));
    expect(await without.provider.getQuota({ bearer: 'wk-1' })).toEqual({
      isUnlimited: false,
      isAvailable: true,
    });
    const alone = await providerAt(failing('GetAICreditAvailability', 500));
    expect(await alone.provider.getQuota({ bearer: 'wk-1' })).toEqual({ ...figures, remaining: 60 });
    const rejected = await providerAt(failing('GetRequestLimitInfo', 401));
    expect((await errorOf(rejected.provider.getQuota({ bearer: 'wk-1' }))).code).toBe(
      'upstream_unauthorized',
    );
  });
});

describe('a question that fails', () => {
  it.each([
    [401, 'upstream_unauthorized'],
    [403, 'upstream_refused'],
    [429, 'upstream_rate_limited'],
    [502, 'upstream_unavailable'],
    [404, 'upstream_protocol'],
  ])('with status %i is %s', async (status, code) => {
    const { provider } = await providerAt(json({ error: 'inner words' }, status));
    const error = await errorOf(provider.getQuota({ bearer: 'wk-1' }));
    expect(error.code).toBe(code);
    expect(error.message).not.toContain('inner words');
  });

  it.each([
    [
      'an account that is gone',
      { errors: [{ message: 'User not in context: Not found' }] },
      'upstream_unauthorized',
    ],
    ['another error', { data: null, errors: [{ message: 'inner words' }] }, 'upstream_unavailable'],
    [
      'an error for the user',
      { data: { user: { __typename: 'UserFacingError', error: { message: 'inner words' } } } },
      'upstream_unavailable',
    ],
    ['no data', { data: null }, 'upstream_protocol'],
    ['no object', [], 'upstream_protocol'],
  ])('with %s says so', async (_name, body, code) => {
    const { provider } = await providerAt(json(body));
    const error = await errorOf(provider.getQuota({ bearer: 'wk-1' }));
    expect(error.code).toBe(code);
    expect(error.message).not.toContain('inner words');
  });

  it.each([401, 403, 429, 200])('says nothing of the account where a page of %i answers', async (status) => {
    const { provider } = await providerAt((response) => {
      response.writeHead(status, { 'content-type': 'text/html' }).end('<html><body>Sign in</body></html>');
    });
    const error = await errorOf(provider.getQuota({ bearer: 'wk-1' }));
    expect(error).toMatchObject({ fault: 'network', outcome: undefined });
    expect(['upstream_unavailable', 'upstream_rate_limited']).toContain(error.code);
  });

  it('tells a limit of the edge from one of the account', async () => {
    const { provider } = await providerAt((response) => {
      response.writeHead(429, { 'content-type': 'text/plain' }).end('Rate exceeded.');
    });
    const error = await errorOf(provider.getQuota({ bearer: 'wk-1' }));
    expect(error).toMatchObject({ code: 'upstream_rate_limited', fault: 'network', outcome: undefined });
  });

  it('does not follow a redirect with the credential', async () => {
    const { provider, asked } = await providerAt((response) => {
      response.writeHead(307, { location: '/elsewhere' }).end();
    });
    expect((await errorOf(provider.getQuota({ bearer: 'wk-1' }))).code).toBe('upstream_unavailable');
    expect(asked.map(({ url }) => url)).not.toContain('/elsewhere');
  });

  it('stops when the caller no longer waits', async () => {
    const abort = new AbortController();
    const { provider } = await providerAt(() => abort.abort());
    expect((await errorOf(provider.getQuota({ bearer: 'wk-1' }, abort.signal))).code).toBe('cancelled');
  });
});

it('every question names the team that pays, where the account has one', async () => {
  const user = { workspaces: [{ featureModelChoice: { agentMode: { choices: [{ id: 'auto' }] } } }] };
  const { provider, asked } = await providerAt(ofUser(user));
  await provider.listModels({ bearer: 'wk-1', teamUid: 'team-1' });
  await provider.getQuota({ bearer: 'wk-1', teamUid: 'team-1' }).catch(() => {});
  expect(asked.map(({ headers }) => headers['x-warp-active-team-uid'])).toEqual(Array(3).fill('team-1'));
});

describe('a key', () => {
  const { normalizeApiKey, authHeaders, baseUrl } = createWarpProvider(testContext, testSettings);

  it('gets the prefix every key has, once', () => {
    expect(normalizeApiKey(' 1.abc\n')).toBe('wk-1.abc');
    expect(normalizeApiKey('wk-1.abc')).toBe('wk-1.abc');
    expect(authHeaders({ bearer: 'wk-1.abc' })).toEqual({ authorization: 'Bearer wk-1.abc' });
    expect(baseUrl()).toBe('https://app.example.test');
    expect(authHeaders({ bearer: 'wk-1.abc', teamUid: 't-1' })).toEqual({
      authorization: 'Bearer wk-1.abc',
      'x-warp-active-team-uid': 't-1',
    });
  });

  it.each(['', ' \n', 'wk-', 'a b', 'a\u0000b', 'a\r\nx: y', 'schlüssel'])(
    'is refused when it is %j',
    (key) => {
      expect(() => normalizeApiKey(key)).toThrow(
        expect.objectContaining({ code: 'invalid_request', param: 'api_key' }),
      );
    },
  );
});

it.each([
  ['https://app.warp.dev', true],
  ['HTTPS://APP.Warp.Dev:443/', true],
  ['https://app.warp.dev.:443/path', true],
  ['https://staging.app.warp.dev', true],
  ['http://app.warp.dev', false],
  ['https://warp.dev.example.com', false],
  ['https://notwarp.dev', false],
])('knows the real host, whose turns need HTTP/2: %s is it: %s', (url, isReal) => {
  expect(isWarpHost(url)).toBe(isReal);
  const unset = {
    WARP_API_KEY: undefined,
    WARP_OAUTH_CLIENT_ID: undefined,
    WARP_FIREBASE_API_KEY: undefined,
  };
  const settings = { ...testSettings, ...unset, WARP_SERVER_URL: url };
  expect(createWarpProvider(testContext, settings).needsHttp2).toBe(isReal);
  expect(warp.server?.(settings)).toEqual({ url, needsHttp2: isReal });
});
