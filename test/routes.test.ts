import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startOpenaiSandbox } from '../sandbox/openai-chat/server.ts';
import type { VendorSandbox } from '../sandbox/vendor/server.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';

interface Setup extends TestServices {
  readonly one: VendorSandbox;
  readonly two: VendorSandbox;
  /** Writes other routes to the configuration file, as editors do that replace it where `isReplaced`. */
  change(routes: string, isReplaced?: boolean): void;
  health(): Promise<{ status: string; config: { status: string; error?: string; loaded_at: string } }>;
  /** Where a turn is answered. */
  answeredBy(body: object, headers?: Record<string, string>): Promise<string | null>;
}

/** Both services over two upstreams, with these routes. */
async function withRoutes(routes: string, environment: Record<string, string> = {}): Promise<Setup> {
  const [one, two] = await Promise.all([startOpenaiSandbox(), startOpenaiSandbox()]);
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-routes-'));
  const file = join(folder, 'warp2api.yaml');
  const change = (changed: string, isReplaced = false) => {
    const text = `providers:
  one: { type: openai_compatible, base_url: "${one.url}" }
  two: { type: openai_compatible, base_url: "${two.url}" }
routes:
${changed}`;
    writeFileSync(isReplaced ? `${file}.new` : file, text);
    if (isReplaced) renameSync(`${file}.new`, file);
  };
  change(routes);
  const services = await servicesForTest({ CONFIG_FILE: file, ...environment });
  onTestFinished(async () => {
    await Promise.all([one.close(), two.close()]);
    rmSync(folder, { recursive: true });
  });
  return {
    ...services,
    one,
    two,
    change,
    health: async () => (await fetch(`${services.gatewayUrl}/health`)).json() as ReturnType<Setup['health']>,
    async answeredBy(body, headers) {
      const answer = await services.chat(body, headers);
      const text = await answer.text();
      if (answer.status !== 200) throw new Error(`${answer.status}: ${text}`);
      return answer.headers.get('x-warp2api-model');
    },
  };
}

const key = (name: string) => `sk-${name}-1234567890`;
const order = `  - model: "chat-*"
    candidates:
      - { provider: one, model: chat-text, tier: 1 }
      - { provider: two, model: "*" }
`;

describe('the candidates of a route', () => {
  it('are tried in their order, and another name is the asked one where a star stands', async () => {
    const { answeredBy, addAccount, one, two } = await withRoutes(order);
    await addAccount(key('two'), { provider: 'two' });
    expect(await answeredBy(userTurn('chat-reasoning', 'Hi'))).toBe('two/chat-reasoning');
    await addAccount(key('one'), { provider: 'one' });
    expect(await answeredBy(userTurn('chat-reasoning', 'Hi'))).toBe('one/chat-text');
    expect([one.turns.length, two.turns.length]).toEqual([1, 1]);
  });

  it('share turns by weight, and a conversation stays where it was answered', async () => {
    const { answeredBy, addAccount, one, two } = await withRoutes(`  - model: shared
    candidates:
      - { provider: one, model: chat-text, tier: 1, weight: 3 }
      - { provider: two, model: chat-text, tier: 1 }
`);
    await addAccount(key('one'), { provider: 'one', capacity: 50 });
    await addAccount(key('two'), { provider: 'two', capacity: 50 });
    const seen = new Map<string, string | null>();
    for (let turn = 0; turn < 60; turn += 1)
      seen.set(`Hello ${turn}`, await answeredBy(userTurn('shared', `Hello ${turn}`)));
    expect(one.turns.length).toBeGreaterThan(two.turns.length);
    expect(two.turns.length).toBeGreaterThan(2);
    for (const [said, first] of [...seen].slice(0, 12)) {
      const messages = [
        { role: 'user', content: said },
        { role: 'assistant', content: 'Hi' },
        { role: 'user', content: 'And now?' },
      ];
      expect(await answeredBy({ model: 'shared', messages })).toBe(first);
    }
    const session = { 'x-session-id': 'mine' };
    const answers = new Set<string | null>();
    for (let turn = 0; turn < 12; turn += 1) answers.add(await answeredBy(userTurn('shared', 'Hi'), session));
    expect(answers.size).toBe(1);
  });

  it('take only what their conditions say', async () => {
    const { answeredBy, addAccount, chat } = await withRoutes(`  - model: careful
    candidates:
      - { provider: one, model: chat-text, when: { images: false, tools: false, max_context: 1000 } }
      - { provider: two, model: chat-text, when: { max_context: 5000 } }
`);
    await addAccount(key('one'), { provider: 'one' });
    await addAccount(key('two'), { provider: 'two' });
    const url = 'data:image/png;base64,iVBORw0KGgo=';
    const image = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }];
    const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }];
    expect(await answeredBy(userTurn('careful', 'Hi'))).toBe('one/chat-text');
    expect(await answeredBy({ model: 'careful', messages: image })).toBe('two/chat-text');
    expect(await answeredBy(userTurn('careful', 'Hi', { tools }))).toBe('two/chat-text');
    expect(await answeredBy(userTurn('careful', 'x'.repeat(8_000)))).toBe('two/chat-text');
    const refused = await chat(userTurn('careful', 'x'.repeat(40_000)));
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      error: { code: 'context_length_exceeded', message: expect.stringMatching(/^The prompt is too long/) },
    });
  });
});

it('what is too long for a model goes to the same model elsewhere only where that is known to hold more', async () => {
  const routes = (window: number) => `  - model: long
    candidates:
      - { provider: one, model: chat-too-long }
      - { provider: two, model: chat-too-long }
models:
  one/chat-too-long: { context_window: 8000 }
  two/chat-too-long: { context_window: ${window} }
`;
  for (const window of [8_000, 9_000]) {
    const { one, two, chat, addAccount } = await withRoutes(routes(window));
    for (const provider of ['one', 'two']) await addAccount(key(provider), { provider });
    expect((await chat(userTurn('long', 'Hi'))).status).toBe(400);
    expect([one.turns.length, two.turns.length]).toEqual([1, window > 8_000 ? 1 : 0]);
  }
});

it('a candidate with labels gets only accounts with one of these', async () => {
  const { answeredBy, addAccount, pool, one } = await withRoutes(`  - model: mine
    candidates:
      - { provider: one, model: chat-text, labels: [team-a, team-b] }
      - { provider: two, model: chat-text }
`);
  await addAccount(key('other'), { provider: 'one', label: 'team-c' });
  await addAccount(key('two'), { provider: 'two' });
  expect(await answeredBy(userTurn('one/chat-text', 'Hi'))).toBe('one/chat-text');
  expect(await answeredBy(userTurn('mine', 'Hi'))).toBe('two/chat-text');
  const id = await addAccount(key('labelled'), { provider: 'one', label: 'team-b' });
  expect(await answeredBy(userTurn('mine', 'Hi'))).toBe('one/chat-text');
  expect(one.turns.map(({ key: used }) => used)).toEqual([key('other'), key('labelled')]);
  await pool(`/api/accounts/${id}`, { label: 'team-d' }, 'PATCH');
  expect(await answeredBy(userTurn('mine', 'Hi'))).toBe('two/chat-text');
});

describe('names', () => {
  it('of routes are listed, and patterns are not', async () => {
    const { gatewayUrl, addAccount } = await withRoutes(`${order}  - model: mine
    candidates: [{ provider: two, model: chat-text }]
models: { two/chat-text: { context_window: 9000 } }
`);
    await addAccount(key('two'), { provider: 'two' });
    const { data } = (await (await fetch(`${gatewayUrl}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toContain('mine');
    expect(data.some(({ id }) => id.includes('*'))).toBe(false);
    expect(data.find(({ id }) => id === 'mine')).toMatchObject({ context_window: 9_000 });
    const one = await fetch(`${gatewayUrl}/v1/models/chat-thing`);
    expect(await one.json()).toMatchObject({ id: 'chat-thing' });
  });

  it('are listed with what the file says of their model, in each dialect', async () => {
    const { gatewayUrl, addAccount } = await withRoutes(`  - model: mine
    candidates: [{ provider: two, model: chat-text }]
models: { two/chat-text: { context_window: 9000, max_output: 800 } }
`);
    await addAccount(key('two'), { provider: 'two' });
    const shown = async (path: string, headers = {}) =>
      (await fetch(`${gatewayUrl}${path}/two/chat-text`, { headers })).json();
    expect(await shown('/v1/models')).toMatchObject({ context_window: 9_000, max_output_tokens: 800 });
    const anthropic = await shown('/v1/models', { 'anthropic-version': '2023-06-01' });
    expect(anthropic).toMatchObject({ max_input_tokens: 9_000, max_tokens: 800 });
    const gemini = await shown('/v1beta/models');
    expect(gemini).toMatchObject({ inputTokenLimit: 9_000, outputTokenLimit: 800 });
  });

  it('with a provider in front mean that provider, listed or not', async () => {
    const { chat, addAccount, two } = await withRoutes(`  - model: "*"
    candidates: [{ provider: one, model: chat-text }]
`);
    await addAccount(key('two'), { provider: 'two' });
    expect((await chat(userTurn('two/chat-text:online', 'Hi'))).status).toBe(404);
    expect(JSON.parse(two.turns[0]?.text ?? '')).toMatchObject({ model: 'chat-text:online' });
  });

  it('may be aliases of a route', async () => {
    const { answeredBy, addAccount } = await withRoutes(`  - model: mine
    candidates: [{ provider: two, model: chat-text }]
aliases: { "gpt-*": mine }
`);
    await addAccount(key('two'), { provider: 'two' });
    expect(await answeredBy(userTurn('gpt-4o', 'Hi'))).toBe('two/chat-text');
  });
});

describe('a change of the file', () => {
  const to = (provider: string, model = 'chat-text') =>
    `  - model: mine\n    candidates: [{ provider: ${provider}, model: ${model} }]\n`;

  it.each([false, true])(
    'counts for turns that begin then, and cuts none that runs (replaced: %s)',
    async (isReplaced) => {
      const { answeredBy, addAccount, change, chat, one } = await withRoutes(to('one', 'chat-slow'));
      await addAccount(key('one'), { provider: 'one' });
      await addAccount(key('two'), { provider: 'two' });
      const running = await chat(userTurn('mine', 'Hi', { stream: true }));
      change(to('two'), isReplaced);
      await eventually('the other route counts', async () => {
        return (await answeredBy(userTurn('mine', 'Hi', { stream: true }))) === 'two/chat-text';
      });
      expect(await running.text()).toContain('[DONE]');
      expect(one.turns.some(({ wasCut }) => wasCut)).toBe(false);
    },
  );

  it('that is faulty is refused with its place, and what was said before stays until it is mended', async () => {
    const { answeredBy, addAccount, change, health, log } = await withRoutes(to('one'));
    await addAccount(key('one'), { provider: 'one' });
    await addAccount(key('two'), { provider: 'two' });
    const { config } = await health();
    expect(config).toEqual({ status: 'ok', loaded_at: expect.any(String) });
    change(to('three'));
    await eventually('it is refused', async () => (await health()).config.status === 'error');
    expect(await health()).toMatchObject({
      status: 'degraded',
      config: { loaded_at: config.loaded_at, error: expect.stringMatching(/line 6, column 30: .*"three"/) },
    });
    expect(log()).toContain('is refused; what it said before stays in force');
    expect(await answeredBy(userTurn('mine', 'Hi'))).toBe('one/chat-text');
    change('- not: [valid');
    await eventually(
      'it is refused',
      async () => (await health()).config.error?.includes('not valid YAML') === true,
    );
    change(to('two'));
    await eventually('it counts', async () => (await health()).config.status === 'ok');
    expect(await answeredBy(userTurn('mine', 'Hi'))).toBe('two/chat-text');
  });

  it('is read again each time, through the links of a Kubernetes volume', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-volume-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const volume = join(folder, 'volume');
    const publish = (version: string) => {
      mkdirSync(join(volume, `..${version}`), { recursive: true });
      writeFileSync(join(volume, `..${version}`, 'warp2api.yaml'), `aliases: { now: ${version} }\n`);
      symlinkSync(`..${version}`, join(volume, '..data_tmp'));
      renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
    };
    publish('one');
    symlinkSync('..data/warp2api.yaml', join(volume, 'warp2api.yaml'));
    symlinkSync('volume/warp2api.yaml', join(folder, 'warp2api.yaml'));
    const { gatewayUrl } = await servicesForTest({ CONFIG_FILE: join(folder, 'warp2api.yaml') });
    const loadedAt = async () => {
      const health = (await (await fetch(`${gatewayUrl}/health`)).json()) as Awaited<
        ReturnType<Setup['health']>
      >;
      return health.config.loaded_at;
    };
    const versions = ['one', 'two', 'three', 'four'];
    for (const [index, version] of versions.slice(1).entries()) {
      const before = await loadedAt();
      publish(version);
      rmSync(join(volume, `..${versions[index]}`), { recursive: true });
      await eventually(`version ${version} is read`, async () => (await loadedAt()) !== before);
    }
  });

  it('is read on a hangup too', async () => {
    const { addAccount, answeredBy, change, health } = await withRoutes(to('one'));
    await addAccount(key('two'), { provider: 'two' });
    change(to('two'));
    process.emit('SIGHUP');
    expect(await answeredBy(userTurn('mine', 'Hi'))).toBe('two/chat-text');
    expect((await health()).config.status).toBe('ok');
  });

  it('to providers needs a restart, which the log says', async () => {
    const { change, log, health } = await withRoutes(to('one'));
    change(`${to('one')}providers: {}\n`);
    await eventually('it is refused', async () => (await health()).config.status === 'error');
    change(`${to('one')}sources: [{ type: device_login, provider: warp }]\n`);
    await eventually('it is said', async () => log().includes('they count after a restart'));
    const { status, loaded_at: loadedAt } = (await health()).config;
    expect(status).toBe('ok');
    change(to('one'));
    await eventually('it is read', async () => (await health()).config.loaded_at !== loadedAt);
    expect(log().split('they count after a restart')).toHaveLength(2);
  });
});
