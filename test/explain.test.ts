import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { type ExplainedTurn, explainedTurn } from '../src/core/shown-models.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { eventually, inMemory, servicesForTest, type TestServices, userTurn } from './support/services.ts';
import { startUpstreams, withUpstreams } from './support/upstreams.ts';

async function ask(url: string, body: object): Promise<Record<string, unknown> & { httpStatus: number }> {
  const answer = await fetch(`${url}/api/models/explain`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { httpStatus: answer.status, ...((await answer.json()) as object) };
}

function withoutStatus({ httpStatus: _status, ...answer }: { httpStatus: number }): object {
  return answer;
}

async function explain(
  { gatewayUrl }: TestServices,
  model: string,
  more: object = {},
): Promise<ExplainedTurn> {
  const { httpStatus, ...answer } = await ask(gatewayUrl, { model, ...more });
  expect([httpStatus, answer]).toEqual([200, answer]);
  return explainedTurn.parse(answer);
}

const places = (found: readonly { provider: string; model: string }[]) =>
  found.map(({ provider, model }) => `${provider}/${model}`);

const yaml = `aliases:
  quick: chat-tier
  deep: one/chat-long
routes:
  - model: chat-tier
    candidates:
      - { provider: one, model: chat-text, tier: 1, weight: 3 }
      - { provider: two, model: claude-text, tier: 1, weight: 1 }
      - { provider: two, model: claude-long, tier: 2, labels: [team-a] }
  - model: "when/*"
    candidates:
      - { provider: one, model: chat-text, when: { tools: false, images: false, max_context: 8000 } }
      - { provider: two, model: "*", when: { max_context: 20000 } }
`;

const both = {
  one: { protocol: 'chat' },
  two: { protocol: 'messages', keys: ['sk-a-1234567890', 'sk-b-1234567890'] },
} as const;

describe('which account would answer', () => {
  it('is said with shares where candidates share a tier, and as turns really go', async () => {
    const services = await withUpstreams(both, yaml);
    const found = await explain(services, 'quick');
    expect(found.way).toEqual({ kind: 'route', route: 'chat-tier', alias: 'chat-tier' });
    expect(found.answers).toMatchObject([
      { provider: 'one', model: 'chat-text', share: 0.75, account_id: expect.stringMatching(/^acc_/) },
      { provider: 'two', model: 'claude-text', share: 0.25, account_id: expect.stringMatching(/^acc_/) },
    ]);
    expect(found.error).toBeNull();
    expect(places(found.candidates)).toEqual(['one/chat-text', 'two/claude-text', 'two/claude-long']);
    expect(found.candidates[2]).toMatchObject({
      tier: 2,
      labels: ['team-a'],
      can_serve: false,
      share: 1,
      accounts: {},
    });
    // Twenty of the same, always the same answer.
    const again = await Promise.all(Array.from({ length: 20 }, () => explain(services, 'quick')));
    const shares = ({ answers }: ExplainedTurn) => answers.map(({ provider, share }) => [provider, share]);
    for (const one of again) expect(shares(one)).toEqual(shares(found));
    const answeredBy = new Set<string>();
    for (let count = 0; count < 40; count += 1) {
      const answer = await services.chat(userTurn('quick', `Hello ${count}`));
      await answer.text();
      answeredBy.add(answer.headers.get('x-warp2api-route')?.split('#')[0] ?? '');
    }
    expect([...answeredBy].sort()).toEqual(['one/chat-text', 'two/claude-text']);
    // They are held by the gateway now.
    expect((await explain(services, 'quick')).candidates[0]?.accounts).toEqual({ held: 1 });
  });

  it('depends on what a request has, and names what takes no such request', async () => {
    const services = await withUpstreams(both, yaml);
    const plain = await explain(services, 'when/a b/é');
    expect(places(plain.candidates)).toEqual(['one/chat-text', 'two/when/a b/é']);
    expect(plain.candidates[0]?.when).toEqual({ tools: false, images: false, max_context: 8000 });
    for (const [traits, reason] of [
      [{ tools: true }, 'tools'],
      [{ images: true }, 'images'],
      [{ tokens: 9_000 }, 'context'],
    ] as const) {
      const found = await explain(services, 'when/x', traits);
      expect(places(found.answers)).toEqual(['two/when/x']);
      expect(found.passed_over).toMatchObject([{ provider: 'one', reason }]);
    }
    const none = await explain(services, 'when/x', { tokens: 30_000 });
    expect(none).toMatchObject({
      answers: [],
      candidates: [],
      error: { code: 'context_too_long', status: 400 },
    });
    expect(none.passed_over.map(({ reason }) => reason)).toEqual(['context', 'context']);
  });

  it.each(['chat', 'responses', 'messages', 'gemini'])(
    'is said for clients of %s, and for a request as it is',
    async (dialect) => {
      const services = await withUpstreams(both, yaml);
      const all = { dialect, tools: true, images: true, tokens: 500 };
      expect(places((await explain(services, 'chat-tier', all)).answers)).toEqual([
        'one/chat-text',
        'two/claude-text',
      ]);
      const bad = await ask(services.gatewayUrl, { model: 'x', dialect: 'chat', body: { messages: 'none' } });
      expect([bad.httpStatus, bad['error']]).toMatchObject([400, { param: 'messages' }]);
    },
  );

  it('is refused by name where a field of the request is not taken there', async () => {
    const services = await withUpstreams(both, yaml);
    const { candidates } = await explain(services, 'chat-tier', {
      body: { messages: [{ role: 'user', content: 'Hello' }], logit_bias: { 1: 5 }, n: 1 },
    });
    const skipped = candidates.find(({ provider }) => provider === 'two')?.skipped;
    expect(skipped).toMatchObject([{ reason: 'field', says: expect.stringContaining('logit_bias') }]);
  });

  it('says how a plain name leads to its model', async () => {
    const services = await withUpstreams(both, yaml);
    await eventually(
      'the lists are known',
      async () => (await explain(services, 'chat-text')).answers.length > 0,
    );
    expect((await explain(services, 'chat-text')).way.kind).toBe('listed');
    expect((await explain(services, 'two/anything')).way.kind).toBe('named');
    expect(await explain(services, 'deep')).toMatchObject({
      way: { kind: 'alias', alias: 'one/chat-long' },
      answers: [{ provider: 'one', model: 'chat-long', share: 1 }],
    });
    const none = await explain(services, 'no-such-model');
    expect(none).toMatchObject({
      way: { kind: 'none' },
      answers: [],
      error: { code: 'model_not_found', status: 404 },
    });
  });

  it('says why none can, with counts, and as the client would hear it', async () => {
    const services = await withUpstreams(both, yaml);
    const { accounts } = (await services.pool('/api/accounts')) as unknown as { accounts: { id: string }[] };
    for (const { id } of accounts) await services.pool(`/api/accounts/${id}`, { enabled: false }, 'PATCH');
    const found = await explain(services, 'chat-tier');
    expect(found.answers).toEqual([]);
    expect(found.candidates[1]).toMatchObject({ can_serve: false, accounts: { disabled: 2 } });
    expect(found.candidates[1]?.named_accounts.map(({ standing }) => standing)).toEqual([
      'disabled',
      'disabled',
    ]);
    const answer = await services.chat(userTurn('chat-tier', 'Hello'));
    const { error } = (await answer.json()) as { error: { code: string } };
    expect(found.error).toMatchObject({ code: error.code, status: answer.status });
  });

  it('passes over a candidate whose circuit is open, and takes no probe from it', async () => {
    const services = await withUpstreams(both, yaml);
    services.vendors.one.script('chat-text', [], 'unavailable');
    await eventually('its circuit opens', async () => {
      await (await services.chat(userTurn('chat-tier', 'Hello'))).text();
      const health = (await (await fetch(`${services.gatewayUrl}/health`)).json()) as {
        open_circuits: string[];
      };
      return health.open_circuits.includes('one/chat-text');
    });
    for (let count = 0; count < 3; count += 1) {
      const found = await explain(services, 'chat-tier');
      expect(found.answers).toMatchObject([{ provider: 'two', model: 'claude-text', share: 1 }]);
      expect(found.candidates.at(-1)).toMatchObject({
        provider: 'one',
        skipped: [{ reason: 'circuit' }],
      });
    }
  });

  it('is asked for a client key, which may not take every candidate', async () => {
    const services = await withUpstreams(both, yaml);
    const made = await fetch(`${services.gatewayUrl}/api/keys`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'two only', providers: ['two'] }),
    });
    const { secret } = (await made.json()) as { secret: string };
    const found = await explain(services, 'chat-tier', { key: 'two only' });
    expect(found.answers).toMatchObject([{ provider: 'two', model: 'claude-text', share: 1 }]);
    expect(found.passed_over).toMatchObject([{ provider: 'one', reason: 'key' }]);
    const answer = await services.chat(userTurn('chat-tier', 'Hello'), { authorization: `Bearer ${secret}` });
    expect(answer.headers.get('x-warp2api-model')).toBe('two/claude-text');
    const none = await explain(services, 'deep', { key: 'two only' });
    expect(none).toMatchObject({ answers: [], error: { code: 'forbidden', status: 403 } });
    expect((await ask(services.gatewayUrl, { model: 'x', key: 'nobody' })).httpStatus).toBe(404);
  });

  it('borrows nothing and sends nothing', async () => {
    const services = await withUpstreams(both, yaml);
    await explain(services, 'chat-tier');
    const before = await services.pool('/api/sessions');
    for (let count = 0; count < 10; count += 1) await explain(services, 'chat-tier');
    const after = await services.pool('/api/sessions');
    expect(after['total']).toBe(before['total']);
    expect(services.vendors.one.turns).toEqual([]);
    const { turns } = (await (await fetch(`${services.gatewayUrl}/api/turns`)).json()) as {
      turns: unknown[];
    };
    expect(turns).toEqual([]);
  });

  it('is the sandbox where there is no account', async () => {
    const services = await servicesForTest();
    const found = await explain(services, 'claude-sonnet-4-5', { dialect: 'messages' });
    expect(found).toMatchObject({
      way: { kind: 'sandbox' },
      answers: [{ provider: 'sandbox', model: 'sandbox' }],
    });
  });

  it('answers with a thousand models, fifty candidates and names of any kind', async () => {
    const many = Array.from(
      { length: 50 },
      (_, at) => `{ provider: ${at % 2 ? 'one' : 'two'}, model: m-${at} }`,
    );
    const aliases = Array.from({ length: 1_000 }, (_, at) => `  alias-${at}: one/chat-text\n`).join('');
    const services = await withUpstreams(
      both,
      `aliases:\n${aliases}routes:\n  - model: "团队/模型 *"\n    candidates: [${many.join(', ')}]\n`,
    );
    const found = await explain(services, '团队/模型 /a?b#c');
    expect(found.candidates).toHaveLength(50);
    expect(found.candidates.filter(({ accounts }) => accounts !== null)).toHaveLength(20);
    expect(found.notes).toEqual(['Accounts are shown for the first 20 candidates only.']);
    // Were each model or candidate looked at for every other, these would outlast the test.
    for (let count = 0; count < 20; count += 1)
      await explain(services, `alias-${count}`, { tokens: 100_000 });
  });

  it('goes on with what is held while the pool is away, and says so', async () => {
    const services = await startUpstreams(both, yaml);
    await services.chat(userTurn('chat-tier', 'Hello'));
    // A gateway of its own over the same pool, which answers to no question after this one.
    const logger = createLogger('FATAL');
    const config = loadConfig({
      ...inMemory,
      PORT: '0',
      POOL_SERVICE_URL: services.poolUrl,
      DATA_DIR: mkdtempSync(join(tmpdir(), 'warp2api-explain-')),
    });
    const alone = await startServices(config, 'gateway', logger, (error) => {
      throw error;
    });
    onTestFinished(() => alone.close());
    const gatewayUrl = alone.gatewayUrl ?? '';
    const before = explainedTurn.parse(withoutStatus(await ask(gatewayUrl, { model: 'warp/auto' })));
    expect(before.candidates[0]?.accounts).toEqual({});
    await services.close();
    const away = explainedTurn.parse(withoutStatus(await ask(gatewayUrl, { model: 'warp/auto' })));
    expect(away.notes).toEqual([expect.stringContaining('cannot be reached')]);
    expect(away.candidates[0]).toMatchObject({ accounts: null, can_serve: false });
    expect(away).toMatchObject({ answers: [], error: { code: 'pool_unavailable', status: 503 } });
  });

  it('needs the admin key where there is one', async () => {
    const services = await servicesForTest({
      ADMIN_KEY: 'an-admin-key-of-24-chars',
      API_KEYS: 'client-key-0123456',
    });
    const { httpStatus } = await ask(services.gatewayUrl, { model: 'x' });
    expect(httpStatus).toBe(401);
  });
});
