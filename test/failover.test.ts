import { expect, test } from 'vitest';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';

async function accountOf(services: TestServices, id: string) {
  return (await services.pool(`/api/accounts/${id}`))['account'] as Record<string, unknown>;
}

/** Turns until the account has had one: the pool lends the least recently used first. */
async function text(services: TestServices, model = 'sandbox', more: Record<string, unknown> = {}) {
  const answer = await services.chat(userTurn(model, 'Hello', more));
  return [answer.status, await answer.text()] as const;
}

test.each([false, true])(
  'a spent account is replaced before the client sees anything (stream: %s)',
  async (stream) => {
    const services = await servicesForTest();
    const spent = await services.addAccount('wk-1.good');
    services.upstream.setKeyScenario('wk-1.good', 'spent');
    const good = await services.addAccount('wk-2.good', { tier: 1 });
    const [status, body] = await text(services, 'sandbox', { stream });
    expect(status).toBe(200);
    expect(body).not.toContain('error');
    expect(body).toContain('"stop"');
    expect(services.upstream.turns.map((turn) => turn.bearer)).toEqual(['wk-1.good', 'wk-2.good']);
    const account = await accountOf(services, spent);
    expect(account).toMatchObject({ status: 'exhausted' });
    expect(Date.parse(String(account['status_until']))).toBeGreaterThan(Date.now());
    expect(await accountOf(services, good)).toMatchObject({ status: 'active' });
    expect((await services.pool('/api/accounts/status'))['pool_stats']).toMatchObject({
      total: 2,
      exhausted: 1,
    });
  },
);

test('of two free accounts one never stands in for the other', async () => {
  const services = await servicesForTest();
  const spent = await services.addAccount('wk-1.good', { free: true });
  await services.addAccount('wk-2.good', { free: true, tier: 1 });
  services.upstream.setKeyScenario('wk-1.good', 'spent');
  for (const _ of [1, 2]) {
    const [status, body] = await text(services);
    expect([status, JSON.parse(body).error.code]).toEqual([429, 'insufficient_quota']);
  }
  expect(services.upstream.turns.map((turn) => turn.bearer)).toEqual(['wk-1.good']);
  expect(await accountOf(services, spent)).toMatchObject({ status: 'exhausted' });
});

test('a free account that is lent already gives way too when another one runs out', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good', { free: true, models: ['sandbox'] });
  const spent = await services.addAccount('wk-2.good', { free: true, models: ['auto'] });
  expect((await text(services, 'sandbox'))[0]).toBe(200);
  services.upstream.setKeyScenario('wk-2.good', 'spent');
  expect((await text(services, 'auto'))[0]).toBe(429);
  expect(await accountOf(services, spent)).toMatchObject({ status: 'exhausted' });
  expect((await text(services, 'sandbox'))[0]).toBe(429);
});

test('when every account is spent the client hears insufficient_quota and not to retry', async () => {
  const services = await servicesForTest();
  for (const key of ['wk-1.good', 'wk-2.good']) {
    await services.addAccount(key);
    services.upstream.setKeyScenario(key, 'spent');
  }
  const first = await services.chat(userTurn('sandbox', 'Hello'));
  expect(first.status).toBe(429);
  const second = await services.chat(userTurn('sandbox', 'Hello'));
  expect(second.status).toBe(429);
  expect(second.headers.get('x-should-retry')).toBe('false');
  expect(((await second.json()) as { error: unknown }).error).toMatchObject({
    type: 'insufficient_quota',
    code: 'insufficient_quota',
  });
});

test('a rejected key needs its owner, and another account answers', async () => {
  const services = await servicesForTest();
  const rejected = await services.addAccount('wk-1.good');
  services.upstream.setKeyScenario('wk-1.good', '401');
  await services.addAccount('wk-2.good', { tier: 1 });
  expect((await text(services))[0]).toBe(200);
  expect(await accountOf(services, rejected)).toMatchObject({ status: 'reauth_required' });
});

test('a refusal is surfaced, not worked around', async () => {
  const services = await servicesForTest();
  const refused = await services.addAccount('wk-1.good');
  services.upstream.setKeyScenario('wk-1.good', '403');
  await services.addAccount('wk-2.good', { tier: 1 });
  const [status, body] = await text(services);
  expect([status, JSON.parse(body).error.code]).toEqual([403, 'upstream_refused']);
  expect(await accountOf(services, refused)).toMatchObject({ status: 'cooldown', status_reason: 'refused' });
});

test("a request's own fault touches no account", async () => {
  const services = await servicesForTest();
  const ids = [await services.addAccount('wk-1.good'), await services.addAccount('wk-2.good')];
  for (const model of ['sandbox-400', 'sandbox-404', 'sandbox-context', 'sandbox-unavailable'])
    await text(services, model);
  for (const id of ids)
    expect(await accountOf(services, id)).toMatchObject({ status: 'active', status_reason: null });
});

test('an answer that broke after its first words is never begun again in a stream', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  await services.addAccount('wk-2.good');
  services.upstream.setKeyScenario('wk-1.good', 'cut');
  services.upstream.setKeyScenario('wk-2.good', 'cut');
  const [, body] = await text(services, 'sandbox', { stream: true });
  expect(body).not.toContain('[DONE]');
  expect(body.match(/The first part/g)?.length ?? 0).toBeLessThanOrEqual(1);
});

test('one account alone comes back within seconds from cuts, errors and quota signals', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  for (const model of [
    'sandbox-cut',
    'sandbox-error-early',
    'sandbox-quota',
    'sandbox-cut-early',
    'sandbox-quota',
  ]) {
    await text(services, model);
    const [status] = await text(services);
    // A turn waits ten seconds for the account and no longer.
    expect(status, `after ${model}`).toBe(200);
  }
});

test('a chat and an exclusive borrower take turns on the only account', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  expect((await text(services))[0]).toBe(200);
  // The pool waits a second for the gateway to give it back, which a busy machine may exceed; unasked it is kept a minute.
  const lease = await eventually('the account is given back', async () => {
    const answer = await services.pool('/api/accounts/allocate', {});
    return answer['httpStatus'] === 200 && answer;
  });
  const chat = text(services);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await services.pool('/api/accounts/release', { session_id: lease['session_id'] });
  expect((await chat)[0]).toBe(200);
});

test('a chat waits ten seconds for the only account and then says so', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  await services.pool('/api/accounts/allocate', { session_id: 'outsider' });
  const started = performance.now();
  const [status, body] = await text(services);
  expect([status, JSON.parse(body).error.code]).toEqual([503, 'no_account_available']);
  expect(performance.now() - started).toBeGreaterThan(9_000);
});

test('a disabled account starts no new turn, and an enabled one does again', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-1.good');
  expect((await text(services))[0]).toBe(200);
  await services.pool(`/api/accounts/${id}`, { enabled: false }, 'PATCH');
  expect((await text(services))[0]).toBe(503);
  await services.pool(`/api/accounts/${id}`, { enabled: true }, 'PATCH');
  expect((await text(services))[0]).toBe(200);
});

test('a warm turn makes no call to the pool, and its use is counted all the same', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-1.good');
  for (let turn = 0; turn < 5; turn += 1) await text(services);
  await eventually('five turns are counted', async () => {
    const account = await accountOf(services, id);
    return (account['usage'] as { turns: number }).turns === 5 && account['use_count'] === 1;
  });
});

test('fifty turns at once over two accounts all end well and leave nothing lent', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good', { capacity: 30 });
  await services.addAccount('wk-2.good', { capacity: 30 });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => text(services, 'sandbox-burst', { stream: index % 2 === 0 })),
  );
  expect(answers.map(([status]) => status)).toEqual(Array(50).fill(200));
  await eventually('an outsider gets both accounts', async () => {
    const answer = await services.pool('/api/accounts/allocate', { count: 2, session_id: 'outsider' });
    return answer['httpStatus'] === 200;
  });
});

/** The conversation so far, and what the next turn of it brought to the upstream. */
async function talkOn(
  services: TestServices,
  messages: { role: string; content: string }[],
  content: string,
) {
  messages.push({ role: 'user', content });
  const answer = await services.chat({ model: 'sandbox', messages });
  expect(answer.status).toBe(200);
  const body = (await answer.json()) as { choices: { message: { role: string; content: string } }[] };
  messages.push({ role: 'assistant', content: body.choices[0]?.message.content ?? '' });
  const turn = services.upstream.turns.at(-1);
  return { bearer: turn?.bearer, conversationId: turn?.conversationId, query: turn?.query ?? '' };
}

test('a conversation whose account is gone is told whole on another one, and goes on there', async () => {
  const services = await servicesForTest();
  const first = await services.addAccount('wk-1.good');
  await services.addAccount('wk-2.good', { tier: 1 });
  const messages: { role: string; content: string }[] = [];
  await talkOn(services, messages, 'My name is Ada');
  const second = await talkOn(services, messages, 'I like maps');
  expect(second).toMatchObject({ bearer: 'wk-1.good', query: 'I like maps' });
  await services.pool(`/api/accounts/${first}`, { enabled: false }, 'PATCH');

  const moved = await talkOn(services, messages, 'Who am I?');
  expect(moved.bearer).toBe('wk-2.good');
  for (const said of ['My name is Ada', 'I like maps', 'Who am I?']) expect(moved.query).toContain(said);

  await services.pool(`/api/accounts/${first}`, { enabled: true }, 'PATCH');
  const next = await talkOn(services, messages, 'And now?');
  expect(next).toEqual({ bearer: 'wk-2.good', conversationId: moved.conversationId, query: 'And now?' });
  expect(services.upstream.turns.flatMap(({ problems }) => problems)).toEqual([]);
  const words = [...services.log().matchAll(/"conversation":"(\w+)"/g)].map(([, word]) => word);
  expect(words).toEqual(['new', 'hit', 'lost', 'hit']);
});

test('a conversation the upstream knows no longer is told whole to the same account, and goes on there', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  const messages: { role: string; content: string }[] = [];
  await talkOn(services, messages, 'My name is Ada');
  services.upstream.forgetConversations();
  const anew = await talkOn(services, messages, 'Who am I?');
  expect(anew.query).toContain('My name is Ada');
  const next = await talkOn(services, messages, 'And now?');
  expect(next).toEqual({ bearer: 'wk-1.good', conversationId: anew.conversationId, query: 'And now?' });
  const words = [...services.log().matchAll(/"conversation":"(\w+)"/g)].map(([, word]) => word);
  expect(words).toEqual(['new', 'lost', 'hit']);
});

test('a turn that broke in the middle is sent again without losing a word of what was said before', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  const messages: { role: string; content: string }[] = [];
  await talkOn(services, messages, 'My name is Ada');
  const again = [...messages, { role: 'user', content: 'Who am I?' }];
  services.upstream.setKeyScenario('wk-1.good', 'cut');
  const broken = await services.chat({ model: 'sandbox', messages: again, stream: true });
  expect(await broken.text()).not.toContain('[DONE]');
  services.upstream.setKeyScenario('wk-1.good', undefined);

  const resent = await talkOn(services, messages, 'Who am I?');
  expect(resent.query).toContain('My name is Ada');
  expect(resent.query).toContain('Who am I?');
  const next = await talkOn(services, messages, 'Thanks');
  expect(next).toEqual({ bearer: 'wk-1.good', conversationId: resent.conversationId, query: 'Thanks' });
  expect(services.upstream.turns.flatMap(({ problems }) => problems)).toEqual([]);
});

test('new conversations of one session go to one account, by header or by the body’s key', async () => {
  const services = await servicesForTest();
  for (const key of ['wk-1.good', 'wk-2.good']) await services.addAccount(key, { capacity: 1 });
  const bearerOf = async (more: Record<string, unknown>, headers: Record<string, string> = {}) => {
    expect((await services.chat(userTurn('sandbox', 'Hello', more), headers)).status).toBe(200);
    return services.upstream.turns.at(-1)?.bearer;
  };
  const session = { 'x-session-id': 'abc' };
  const body = { prompt_cache_key: 'a key' };
  const busy = await services.chat(userTurn('sandbox-drip', 'Hello', { stream: true }));
  const taken = services.upstream.turns.at(-1)?.bearer;
  const own = await bearerOf({}, session);
  expect(own).not.toBe(taken);
  expect(await bearerOf(body)).toBe(own);
  await busy.body?.cancel();
  await eventually('the other account is free', () => services.upstream.counts().open === 0);

  // A turn of no session gets the account that was held first.
  expect(await bearerOf({})).toBe(taken);
  for (let turn = 0; turn < 3; turn += 1) {
    expect(await bearerOf({}, session)).toBe(own);
    expect(await bearerOf(body)).toBe(own);
    expect(await bearerOf({ prompt_cache_key: 'another' }, session)).toBe(own);
  }
  expect(await bearerOf({ prompt_cache_key: 'another' })).toBe(taken);
});
