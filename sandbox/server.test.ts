import http from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keyScenarios, type Sandbox, scenarios, startSandbox } from './index.ts';
import { chatRequest, eventsOf, graphqlBody, hold, send } from './raw-client.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.close());

interface GraphqlAnswer {
  status: number;
  /** `data.user`; empty when there is none. */
  output: {
    user?: {
      requestLimitInfo?: Record<string, unknown>;
      aiCreditAvailability?: Record<string, unknown>;
      workspaces?: { featureModelChoice?: { agentMode: ModelChoice } }[];
    };
  };
  errors: { message: string }[] | undefined;
}

interface ModelChoice {
  defaultId: string;
  choices: { id: string; contextWindow: { default: number } }[];
}

/** Asks for these fields of a `UserOutput`. */
async function graphql(op: string, fields: string, bearer = 'wk-test'): Promise<GraphqlAnswer> {
  const body = graphqlBody(op, fields);
  const headers = { 'content-type': 'application/json' };
  const answer = await send(sandbox.url, body, { path: `/graphql/v2?op=${op}`, bearer, headers });
  const json = answer.status === 200 ? JSON.parse(answer.body) : {};
  return { status: answer.status, output: json.data?.user ?? {}, errors: json.errors };
}

const usage =
  'user { requestLimitInfo { isUnlimited requestLimit requestsUsedSinceLastRefresh nextRefreshTime } }';

const limits = async (bearer: string) => {
  const { output } = await graphql('GetRequestLimitInfo', usage, bearer);
  return output.user?.requestLimitInfo ?? {};
};

const chat = (bearer: string, model = 'sandbox') => send(sandbox.url, chatRequest({ model }), { bearer });

test('usage counts finished turns and tells when it is refreshed', async () => {
  expect(await limits('wk-usage')).toMatchObject({ isUnlimited: false, requestsUsedSinceLastRefresh: 0 });
  await chat('wk-usage');
  await chat('wk-usage', 'sandbox-error');
  const after = await limits('wk-usage');
  expect(after['requestsUsedSinceLastRefresh']).toBe(1);
  expect(Date.parse(String(after['nextRefreshTime']))).toBeGreaterThan(Date.now());
});

test('credits that were set are used up, then chat is refused for want of credits', async () => {
  const nextRefreshTime = new Date('2030-01-02T03:04:05Z');
  sandbox.setCredits('wk-poor', { limit: 2, used: 1, nextRefreshTime });
  expect((await chat('wk-poor')).status).toBe(200);
  const refused = await chat('wk-poor');
  expect(refused.status).toBe(429);
  expect(refused.headers['x-warp-error-code']).toBe('OUT_OF_CREDITS');
  expect(await limits('wk-poor')).toMatchObject({
    requestLimit: 2,
    requestsUsedSinceLastRefresh: 2,
    nextRefreshTime: '2030-01-02T03:04:05.000Z',
  });
  sandbox.setCredits('wk-poor', undefined);
  expect((await chat('wk-poor')).status).toBe(200);
});

test('the model list holds every scenario, with context windows, and can be replaced', async () => {
  const choices = 'choices { id contextWindow { default } }';
  const query = `user { workspaces { featureModelChoice { agentMode { defaultId ${choices} } } } }`;
  const list = async () => {
    const { output } = await graphql('GetFeatureModelChoices', query);
    return output.user?.workspaces?.[0]?.featureModelChoice?.agentMode;
  };
  const agentMode = await list();
  const ids = agentMode?.choices.map((choice) => choice.id);
  expect(agentMode?.defaultId).toBe('auto');
  expect(ids).toEqual(expect.arrayContaining(['auto', 'gpt-5', ...scenarios.map(({ model }) => model)]));
  expect(agentMode?.choices[0]?.contextWindow.default).toBeGreaterThan(0);
  sandbox.setModels([{ id: 'only-one' }]);
  expect((await list())?.choices).toHaveLength(1);
  sandbox.setModels(undefined);
});

test('GetUser and GetAICreditAvailability answer', async () => {
  const { output } = await graphql(
    'GetUser',
    'apiKeyOwnerType principalType user { llms { agentMode { defaultId } } }',
  );
  expect(output).toMatchObject({ apiKeyOwnerType: 'User', principalType: 'USER' });
  const availability = async (bearer: string) => {
    const fields = 'user { aiCreditAvailability { available denialReason creditSource } }';
    const answer = await graphql('GetAICreditAvailability', fields, bearer);
    return answer.output.user?.aiCreditAvailability;
  };
  expect(await availability('wk-1')).toEqual({
    available: true,
    denialReason: 'NONE',
    creditSource: 'BASE_LIMIT',
  });
  expect(await availability('wk-1.spent')).toMatchObject({
    available: false,
    denialReason: 'OUT_OF_CREDITS',
  });
});

test('operations nobody knows and requests that do not fit get errors with 200', async () => {
  expect((await graphql('Nothing', usage)).errors).toHaveLength(1);
  expect((await graphql('GetRequestLimitInfo', 'apiKeyOwnerType')).errors).toHaveLength(1);
  const broken = await send(sandbox.url, 'no json', { path: '/graphql/v2?op=GetUser' });
  expect(JSON.parse(broken.body)).toHaveProperty('errors');
  expect(sandbox.operations.at(-1)).toMatchObject({ operationName: 'GetUser', bearer: 'wk-test' });
});

test.each([
  ['a field that there is not', 'user { requestLimitInfo { isUnlimited requestsLeft } }', 'requestsLeft'],
  [
    'a field of another place',
    'user { requestLimitInfo { isUnlimited } spendingInfo { uid } }',
    'spendingInfo',
  ],
  ['an object without its fields', 'user { requestLimitInfo }', 'requestLimitInfo'],
  ['fields of a value', 'user { requestLimitInfo { requestLimit { amount } } }', 'requestLimit'],
  ['a fragment of an object', 'user { requestLimitInfo { ... on Limit { requestLimit } } }', 'Limit'],
  ['no end', 'user { requestLimitInfo { requestLimit }', 'Syntax'],
])('a query with %s is refused whole, as a server does', async (_name, fields, word) => {
  const { status, output, errors } = await graphql('GetRequestLimitInfo', fields);
  expect([status, output]).toEqual([200, {}]);
  expect(errors?.[0]?.message).toContain(word);
});

test('a query is answered with what it asks for and no more', async () => {
  const { output } = await graphql(
    'GetRequestLimitInfo',
    'user { requestLimitInfo { requestLimit } workspaces { uid } }',
  );
  expect(output).toEqual({
    __typename: 'UserOutput',
    user: { requestLimitInfo: { requestLimit: 100_000 }, workspaces: [{ uid: 'sandbox-workspace' }] },
  });
});

test('a key names its scenario behind the first dot, whatever the model says', async () => {
  expect((await chat('wk-7.503', 'sandbox-quota')).status).toBe(503);
  const burst = await chat('wk-7.burst-3', 'gpt-5');
  expect(hold(eventsOf(burst.body)).texts).toEqual(['token-0000 token-0001 token-0002 ']);
  expect((await chat('wk-7.a1b2c3')).status).toBe(200);
});

test('a scenario set for a key wins over its name, and a wrong name is an error', async () => {
  sandbox.setKeyScenario('wk-8.503', 'plain');
  expect((await chat('wk-8.503', 'sandbox-400')).status).toBe(200);
  sandbox.setKeyScenario('wk-8.503', undefined);
  expect((await chat('wk-8.503')).status).toBe(503);
  expect(() => sandbox.setKeyScenario('wk-8', 'nonsense')).toThrow('there is no scenario "nonsense"');
});

test('spent, revoked and refused keys meet that on every path', async () => {
  expect((await chat('wk-9.spent')).headers['x-warp-error-code']).toBe('OUT_OF_CREDITS');
  expect(await limits('wk-9.spent')).toMatchObject({ requestLimit: 150, requestsUsedSinceLastRefresh: 150 });
  expect((await chat('wk-9.revoked')).status).toBe(401);
  expect((await graphql('GetRequestLimitInfo', usage, 'wk-9.revoked')).status).toBe(401);
  expect((await chat('wk-9.refused')).status).toBe(403);
  expect((await graphql('GetRequestLimitInfo', usage, 'wk-9.refused')).status).toBe(403);
  expect((await graphql('GetRequestLimitInfo', usage, '')).status).toBe(401);
});

test('for a key without figures chat says that the quota is spent, and GraphQL fails', async () => {
  const kinds = { 'no-figures': 500, 'no-figures-page': 403, 'no-figures-rate': 429 };
  for (const [name, status] of Object.entries(kinds)) {
    const answer = await chat(`wk-9.${name}`);
    expect([answer.status, answer.body]).toEqual([429, '{"error":"No remaining quota"}']);
    expect((await graphql('GetRequestLimitInfo', usage, `wk-9.${name}`)).status).toBe(status);
  }
  expect((await graphql('GetUser', 'apiKeyOwnerType', 'wk-9.blocked-edge')).status).toBe(403);
  expect((await chat('wk-9.blocked-edge')).status).toBe(403);
  const tested = ['spent', 'revoked', 'refused', ...Object.keys(kinds), 'blocked-edge'];
  expect(keyScenarios.map(({ name }) => name)).toEqual(tested);
});

test('health says that it is the sandbox, and other paths are not found', async () => {
  const health = await send(sandbox.url, '', { method: 'GET', path: '/health' });
  expect(JSON.parse(health.body)).toMatchObject({ status: 'ok', sandbox: true });
  const other = await send(sandbox.url, '', { method: 'GET', path: '/nothing' });
  expect(other.status).toBe(404);
  expect(JSON.parse(other.body)).toHaveProperty('error');
});

test('a slow reader of a huge answer holds the sandbox back, and leaving ends the turn', async () => {
  const request = http.request(new URL('/ai/multi-agent', sandbox.url), {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/x-protobuf', authorization: 'Bearer wk-slow-reader' },
  });
  request.on('error', () => undefined);
  const answered = new Promise<http.IncomingMessage>((resolve) => request.on('response', resolve));
  request.end(chatRequest({ model: 'sandbox-huge' }));
  const response = await answered;
  response.on('error', () => undefined);
  response.pause();
  const turn = () => sandbox.turns.findLast(({ bearer }) => bearer === 'wk-slow-reader');
  const settled = async (): Promise<number> => {
    const before = turn()?.eventsSent ?? 0;
    await new Promise((resolve) => setTimeout(resolve, 150));
    return turn()?.eventsSent === before && before > 0 ? before : await settled();
  };
  expect(await settled()).toBeLessThan(120);
  expect(turn()?.finished).toBe(false);
  request.destroy();
  await expect.poll(() => turn()?.cancelled).toBe(true);
});

test('a body of unknown length is cut off above 32 MB, and one that is never completed harms nobody', async () => {
  const request = http.request(new URL('/ai/multi-agent', sandbox.url), {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/x-protobuf', authorization: 'Bearer wk-big' },
  });
  const status = new Promise((resolve) => request.on('response', (response) => resolve(response.statusCode)));
  request.on('error', () => undefined);
  const megabyte = Buffer.alloc(1024 * 1024);
  for (let sent = 0; sent < 33; sent++) request.write(megabyte);
  expect(await status).toBe(413);
  request.destroy();

  const unfinished = http.request(new URL('/ai/multi-agent', sandbox.url), {
    method: 'POST',
    agent: false,
    headers: { authorization: 'Bearer wk-leaver', 'content-length': 10 },
  });
  unfinished.on('error', () => undefined);
  unfinished.write('half');
  const isSeen = () => sandbox.turns.some(({ bearer }) => bearer === 'wk-leaver');
  await expect.poll(isSeen).toBe(true);
  unfinished.destroy();
  await expect.poll(() => sandbox.counts().open).toBe(0);
  expect((await chat('wk-after')).status).toBe(200);
});

test('a port in use is reported with its own error', async () => {
  await expect(startSandbox({ port: sandbox.port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('closing destroys open connections', async () => {
  const other = await startSandbox();
  const open = send(other.url, chatRequest({ model: 'sandbox-stall' })).catch(() => undefined);
  await expect.poll(() => other.counts().open).toBe(1);
  await other.close();
  await open;
});

test('a call is billed to the team it names, else to the first of the account, and both are written down', async () => {
  const key = 'wk-teams';
  sandbox.setTeams(key, ['team-a', 'team-b']);
  sandbox.setCredits('team-a', { limit: 5, used: 5 });
  sandbox.setCredits('team-b', { limit: 9, used: 0 });
  const ask = (team?: string) =>
    send(sandbox.url, chatRequest(), {
      bearer: key,
      headers: team === undefined ? {} : { 'x-warp-active-team-uid': team },
    });
  expect((await ask()).headers['x-warp-error-code']).toBe('OUT_OF_CREDITS');
  expect((await ask('team-b')).status).toBe(200);
  expect(sandbox.turns.at(-1)).toMatchObject({ teamUid: 'team-b', problems: [] });
  const figures = async (team: string) => {
    const answer = await fetch(`${sandbox.url}/graphql/v2?op=GetRequestLimitInfo`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'x-warp-active-team-uid': team },
      body: graphqlBody('GetRequestLimitInfo', usage),
    });
    return JSON.stringify(await answer.json());
  };
  expect(await figures('team-b')).toMatch(/"requestLimit":9,"requestsUsedSinceLastRefresh":1/);
  expect(await figures('team-a')).toMatch(/"requestLimit":5,"requestsUsedSinceLastRefresh":5/);
  expect(sandbox.operations.at(-1)?.teamUid).toBe('team-a');
  await ask('team-c');
  expect(sandbox.turns.at(-1)?.problems).toEqual(['the account is not in the team team-c']);
  sandbox.setTeams(key, undefined);
});
