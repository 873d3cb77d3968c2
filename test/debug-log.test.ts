import { expect, test } from 'vitest';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly request_id?: string;
  readonly [field: string]: unknown;
}

const linesOf = (services: TestServices): Line[] =>
  services
    .log()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

/** The lines of one turn, up to its end. */
async function turnLines(services: TestServices, id: string, body: object): Promise<Line[]> {
  await (await services.chat(body, { 'x-request-id': id })).text();
  const ofTurn = () => linesOf(services).filter(({ request_id }) => request_id === id);
  await eventually('the turn ends', () => ofTurn().some(({ msg }) => msg === 'turn'));
  return ofTurn();
}

test('DEBUG shows the steps of a turn under its request id, and nothing of what was said', async () => {
  const services = await servicesForTest({}, (config) => ({ ...config, aliases: { fast: 'gpt-5' } }));
  await services.addAccount('wk-1.key-of-the-owner');
  await eventually(
    'the gateway knows of the account',
    async () => (await fetch(`${services.gatewayUrl}/v1/models/gpt-5`)).ok,
  );
  const said = 'words-that-belong-to-the-client';
  const tools = [{ type: 'function', function: { name: 'tool-of-the-client', parameters: {} } }];
  const first = await turnLines(services, 'one', userTurn('fast', said, { stream: true, tools }));
  expect(first).toMatchObject([
    {
      msg: 'a turn begins',
      level: 'debug',
      dialect: 'chat',
      model: 'fast',
      stream: true,
      messages: 1,
      tools: 1,
    },
    { msg: 'the route is chosen', provider: 'warp', upstream_model: 'gpt-5' },
    { msg: 'an account is lent', account_id: expect.stringMatching(/^acc_/), waited_ms: expect.any(Number) },
    { msg: 'the upstream answers', status: 200, first_event: 'start', after_ms: expect.any(Number) },
    { msg: 'the outcome is reported', outcome: 'success' },
    {
      msg: 'turn',
      level: 'info',
      outcome: 'success',
      finish: 'stop',
      usage: { inputTokens: expect.any(Number) },
    },
  ]);
  const second = await turnLines(services, 'two', userTurn('fast', said));
  expect(second[2]).toMatchObject({ msg: 'an account is lent', from: 'memory' });
  expect(services.log()).not.toMatch(/words-that-belong|tool-of-the-client|key-of-the-owner/);
});

test('of a body that is passed on as it came nothing is counted that was not looked at', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat' } });
  const [began] = await turnLines(services, 'relayed', userTurn('one/chat-text', 'Hello'));
  expect(began).toMatchObject({ msg: 'a turn begins', bytes: expect.any(Number) });
  expect(began).not.toHaveProperty('messages');
});

test('DEBUG shows each retry with its reason, and what the pool did', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1');
  await services.addAccount('wk-2');
  await (await services.chat(userTurn('gpt-5', 'Hello'))).text();
  services.upstream.setKeyScenario(services.upstream.turns.at(-1)?.bearer ?? '', '429');
  const lines = await turnLines(services, 'retried', userTurn('gpt-5', 'Hello'));
  expect(lines.filter(({ level }) => level === 'debug')).toMatchObject([
    { msg: 'a turn begins' },
    { msg: 'the route is chosen' },
    { msg: 'an account is lent', from: 'memory' },
    { msg: 'the upstream answers', status: 429, first_event: 'error' },
    {
      msg: 'the outcome is reported',
      outcome: 'rate_limited',
      report: 'applied',
      account_status: 'cooldown',
    },
    { msg: 'the attempt failed', reason: 'upstream_rate_limited', next: 'other-account' },
    { msg: 'an account is lent' },
    { msg: 'the upstream answers', status: 200 },
    { msg: 'the outcome is reported', outcome: 'success' },
  ]);
  const ofPool = linesOf(services).filter(({ service }) => service === 'pool');
  expect(ofPool).toContainEqual(
    expect.objectContaining({ msg: 'leases were asked for', result: 'granted', added: 1, provider: 'warp' }),
  );
  expect(ofPool).toContainEqual(
    expect.objectContaining({
      msg: 'reports came in',
      // The first turn's success goes with it, before it.
      reports: [
        expect.objectContaining({ outcome: 'success' }),
        expect.objectContaining({ outcome: 'rate_limited', status: 'cooldown' }),
      ],
    }),
  );
  expect(ofPool).toContainEqual(expect.objectContaining({ msg: 'a provider was asked what is left' }));
  await services.pool('/api/accounts/allocate', { count: 2 });
  expect(linesOf(services)).toContainEqual(
    expect.objectContaining({
      msg: 'leases were asked for',
      count: 2,
      result: 'short',
      free: expect.objectContaining({ reasons: expect.anything() }),
    }),
  );
});
