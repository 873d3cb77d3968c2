import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FaultName, faultNames } from '../sandbox/vendor/faults.ts';
import { abandonedUsage, soundText } from '../sandbox/vendor/scenarios.ts';
import type { VendorSandbox } from '../sandbox/vendor/server.ts';
import { type Judged, judge, questionTo } from './support/answer-judge.ts';
import { eventually } from './support/services.ts';
import {
  modelOf,
  type Protocol,
  protocols,
  startUpstreams,
  type UpstreamServices,
  withUpstreams,
} from './support/upstreams.ts';

/** How a fault is asked for: held until it is whole, or as it comes, streamed or in one body. */
const ways = [
  { way: 'whole', isStream: true, headers: { 'x-warp2api-delivery': 'whole' } },
  { way: 'whole-body', isStream: false, headers: { 'x-warp2api-delivery': 'whole' } },
  { way: 'stream', isStream: true, headers: {} },
  { way: 'body', isStream: false, headers: {} },
  { way: 'continue', isStream: true, headers: { 'x-warp2api-delivery': 'continue' } },
] as const;
type Way = (typeof ways)[number];

/** Each dialect over upstreams of its own, where turns are relayed, and of the others, where they are translated. */
const pairs = protocols.flatMap((dialect) => protocols.map((upstream) => [dialect, upstream] as const));

/**
 * All ways where turns are relayed. Where they are translated, the faults are read as each upstream's and told as each dialect's:
 * two ways for each pair, so that every upstream and every dialect has all of them.
 */
function waysOf(dialect: Protocol, upstream: Protocol): readonly Way[] {
  const apart =
    (protocols.indexOf(dialect) - protocols.indexOf(upstream) + protocols.length) % protocols.length;
  if (apart === 0) return ways;
  const first = 2 * (apart - 1);
  return ways.filter((_way, at) => at === first % ways.length || at === (first + 1) % ways.length);
}

const nothing: Judged = { end: 'broken', text: '', status: 0, model: null, body: '' };

const nameOf = (fault: FaultName, { way }: Way) => `${fault}-${way}`;

/** What a candidate of the bench does. A fault of prefill shows where an answer is continued: by a model that refuses to. */
function candidatesOf(upstream: Protocol, fault: FaultName, way: Way): string {
  const [first, second] = fault === 'prefill' ? ['text-cut', 'text-prefill'] : [`text-${fault}`, 'text'];
  const name = nameOf(fault, way);
  // Short only where nothing comes: on a busy machine an answer may take that long, too, and `filtered` is to be seen.
  const limitSeconds = fault === 'silence' || fault === 'slow' ? 2 : 60;
  return `  - model: bench-${name}
    candidates:
      - { provider: p-${name}, model: ${modelOf(upstream, first ?? '')} }
      - { provider: sound, model: ${modelOf(upstream, second ?? '')}, tier: 2 }
    first_content_timeout_seconds: ${limitSeconds}
`;
}

describe.each(pairs)('%s to upstreams of %s', (dialect, upstream) => {
  const tried = waysOf(dialect, upstream);
  let services: UpstreamServices<string>;
  /** All are asked together: most of their time is waiting. */
  let answers: Readonly<Record<string, ReturnType<typeof ask>>> = {};
  beforeAll(async () => {
    const runs = faultNames.flatMap((fault) => tried.map((way) => ({ fault, way })));
    const names = ['sound', ...runs.map(({ fault, way }) => `p-${nameOf(fault, way)}`)];
    const upstreams = Object.fromEntries(
      names.map((name) => [name, { protocol: upstream, options: { slowMs: 4_000 } }]),
    );
    const routes = runs.map(({ fault, way }) => candidatesOf(upstream, fault, way)).join('');
    services = await startUpstreams(
      upstreams,
      `models: { "sound/*-text-prefill": { prefill: true } }\nroutes:\n${routes}`,
      { UPSTREAM_IDLE_SECONDS: '2' },
    );
    answers = Object.fromEntries(runs.map(({ fault, way }) => [nameOf(fault, way), ask(fault, way)]));
  });
  afterAll(() => services.close());

  /** A continuation that is refused leaves the answer half: that must show. */
  const isPromised = (fault: FaultName, { way }: Way) =>
    way.startsWith('whole') || (way === 'continue' && fault !== 'prefill');

  async function ask(fault: FaultName, way: Way): Promise<Judged> {
    const { path, body } = questionTo(dialect, `bench-${nameOf(fault, way)}`, way.isStream);
    const answer = await fetch(`${services.gatewayUrl}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...way.headers },
      body: JSON.stringify(body),
    }).catch(() => undefined);
    return answer ? judge(dialect, answer) : nothing;
  }

  const primaryOf = (fault: FaultName, way: Way) => services.vendors[`p-${nameOf(fault, way)}`];

  for (const way of tried) {
    for (const fault of faultNames) {
      it(`${way.way}: ${fault}`, async () => {
        const judged = await answers[nameOf(fault, way)];
        if (!judged) throw new Error('it was not asked');
        if (fault === 'filtered') expect(judged.end).toMatch(/filtered|refused/);
        else if (isPromised(fault, way)) expect(judged).toMatchObject({ end: 'whole', text: soundText });
        else if (judged.end === 'whole') expect(judged.text).toBe(soundText);
        else expect(judged.end).toMatch(/error|refused|broken/);
        expectInBudget(primaryOf(fault, way));
      });
    }
  }
});

/** At most 4 attempts in 3 seconds, and 6 on one upstream. */
function expectInBudget(vendor: VendorSandbox | undefined): void {
  const times = (vendor?.turns ?? []).map(({ at }) => at);
  expect(times.length).toBeGreaterThan(0);
  expect(times.length).toBeLessThanOrEqual(6);
  for (const time of times) {
    expect(times.filter((other) => other >= time && other < time + 3_000).length).toBeLessThanOrEqual(4);
  }
}

describe('the bars of time', () => {
  const candidate = (provider: string, scenario: string, tier = 1) =>
    `{ provider: ${provider}, model: chat-${scenario}, tier: ${tier} }`;
  const route = (...candidates: string[]) =>
    `routes:\n  - { model: bench, candidates: [${candidates.join(', ')}] }\n`;

  async function askOnce(services: UpstreamServices<string>, headers: Record<string, string> = {}) {
    return judge('chat', await services.chat(questionTo('chat', 'bench', true).body, headers));
  }
  const sound = { end: 'whole', text: soundText };

  it('a Retry-After of 2 seconds is waited for where nothing else is free', async () => {
    const services = await withUpstreams({ one: { protocol: 'chat' } }, route(candidate('one', 'text')));
    services.vendors.one.script('chat-text', ['rate-limited']);
    const begunAt = Date.now();
    expect(await askOnce(services)).toMatchObject(sound);
    expect(Date.now() - begunAt).toBeGreaterThanOrEqual(2_000);
    expect(services.vendors.one.turns).toHaveLength(2);
  });

  it('a single candidate is tried again after one 500', async () => {
    const services = await withUpstreams(
      { one: { protocol: 'chat' } },
      route(candidate('one', 'text-error-once')),
    );
    expect(await askOnce(services)).toMatchObject(sound);
    expect(services.vendors.one.turns).toHaveLength(2);
  });

  it('a silent upstream is given up in time for a whole answer within 15 seconds', async () => {
    const services = await withUpstreams(
      { one: { protocol: 'chat' }, two: { protocol: 'chat' } },
      route(candidate('one', 'text-silence'), candidate('two', 'text', 2)),
    );
    expect(await askOnce(services)).toMatchObject(sound);
    // Silence is never asked again.
    expect(services.vendors.one.turns).toHaveLength(1);
  });

  it('all 20 requests over a primary that flaps are answered, held or not', async () => {
    const services = await withUpstreams(
      { one: { protocol: 'chat' }, two: { protocol: 'chat' } },
      route(candidate('one', 'text-flapping'), candidate('two', 'text', 2)),
    );
    for (let count = 0; count < 20; count++) {
      expect(await askOnce(services, { 'x-warp2api-delivery': 'whole' })).toMatchObject(sound);
    }
  });

  it('the primary is used again within 30 seconds after it recovered', async () => {
    const services = await withUpstreams(
      { one: { protocol: 'chat' }, two: { protocol: 'chat' } },
      route(candidate('one', 'text'), candidate('two', 'text', 2)),
    );
    const { one } = services.vendors;
    one.script('chat-text', [], 'unavailable');
    const until = Date.now() + 5_000;
    while (Date.now() < until) {
      expect(await askOnce(services)).toMatchObject({ ...sound, model: 'two/chat-text' });
      await delay(100);
    }
    one.script('chat-text', []);
    await eventually('the primary answers', async () => (await askOnce(services)).model === 'one/chat-text');
  });

  it('usage is counted exactly, also of an attempt that was given up', async () => {
    const services = await withUpstreams(
      { one: { protocol: 'messages' }, two: { protocol: 'chat' } },
      `routes:\n  - { model: bench, candidates: [{ provider: one, model: claude-text-accounting }, { provider: two, model: chat-text, tier: 2 }] }\n`,
    );
    const answer = await askOnce(services, { 'x-warp2api-delivery': 'whole' });
    expect(answer).toMatchObject({ ...sound, usage: { prompt_tokens: 21, completion_tokens: 7 } });
    const counted = await eventually('both accounts have their usage', async () => {
      const { accounts } = (await services.pool('/api/accounts')) as unknown as {
        accounts: { provider: string; usage: { input_tokens: number; output_tokens: number } }[];
      };
      const by = Object.fromEntries(accounts.map(({ provider, usage }) => [provider, usage]));
      return by['one']?.input_tokens && by['two']?.input_tokens ? by : undefined;
    });
    const { input, output } = abandonedUsage;
    expect(counted).toMatchObject({
      one: { input_tokens: input, output_tokens: output },
      two: { input_tokens: 21, output_tokens: 7 },
    });
  });
});
