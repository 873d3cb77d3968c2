import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Delivery } from '../../core/configured-routes.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import { createLineProvider, lines, refuse, say, type UpstreamCallSeen } from '../testing/fake-upstream.ts';
import { settled } from '../testing/manual-clock.ts';
import { clientTurn, createTurnFixture, noLimits, SeenOutput } from '../testing/turn-fixture.ts';
import { ClientTurns } from './client-turns.ts';
import type { TurnResult } from './run-turn.ts';

const upstreams = ['warp', 'other'] as const;
const answer = ['say hel', 'say lo', 'usage 10 5', 'end'];

/** What an upstream may do with one attempt. */
const faults = {
  sound: (call: UpstreamCallSeen) => lines(call, ...answer),
  error: (call: UpstreamCallSeen) => refuse(call, 500),
  overloaded: (call: UpstreamCallSeen) => refuse(call, 529),
  limited: (call: UpstreamCallSeen) => refuse(call, 429),
  spent: (call: UpstreamCallSeen) => refuse(call, 402),
  unauthorized: (call: UpstreamCallSeen) => refuse(call, 401),
  refused: (call: UpstreamCallSeen) => refuse(call, 403),
  'unknown-model': (call: UpstreamCallSeen) => refuse(call, 404),
  invalid: (call: UpstreamCallSeen) => refuse(call, 400),
  'too-long': (call: UpstreamCallSeen) => lines(call, 'error context_too_long'),
  reset: (call: UpstreamCallSeen) => call.response.destroy(),
  unreadable: (call: UpstreamCallSeen) => lines(call, 'throw'),
  silent: () => {},
  cut: (call: UpstreamCallSeen) => {
    say(call, 'say hel');
    setImmediate(() => call.response.destroy());
  },
  stalled: (call: UpstreamCallSeen) => say(call, 'say hel'),
  'failed late': (call: UpstreamCallSeen) =>
    lines(call, 'say hel', 'usage 10 2', 'error upstream_unavailable'),
} as const;
/** No fault where it answers first. */
const reworded = (call: UpstreamCallSeen) => lines(call, 'say hey', 'usage 10 2', 'end');
const answers = { ...faults, reworded };
type FaultName = keyof typeof answers;

interface Plan {
  readonly steps: readonly FaultName[];
  readonly accounts: readonly [number, number];
  readonly delivery: Delivery;
  readonly isWhole: boolean;
  readonly candidates: number;
}

const plans: fc.Arbitrary<Plan> = fc.record({
  steps: fc.array(fc.constantFrom(...(Object.keys(faults) as FaultName[])), { maxLength: 12 }),
  accounts: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 3 })),
  delivery: fc.constantFrom<Delivery>('stream', 'whole', 'continue'),
  isWhole: fc.boolean(),
  candidates: fc.integer({ min: 1, max: 2 }),
});

async function play({ steps, accounts, delivery, isWhole, candidates }: Plan) {
  const fixture = await createTurnFixture();
  try {
    const { clock, pool, upstream, turns } = fixture;
    upstreams.forEach((provider, index) => {
      for (let count = 0; count < (accounts[index] ?? 0); count += 1)
        pool.add(`${provider}-${count}`, { provider });
    });
    const calls: { upstream: string; fault: FaultName }[] = [];
    upstream.answer = (call, index) => {
      const fault = steps[index] ?? 'sound';
      calls.push({ upstream: call.bearer.replace('bearer-of-', '').split('-')[0] ?? '', fault });
      answers[fault](call);
    };
    class Output extends SeenOutput {
      override readonly isBuffered = isWhole;
      override begin() {
        if (this.isBuffered) this.batches = [];
      }
    }
    const output = new Output();
    const results: TurnResult[] = [];
    const clientTurns = new ClientTurns(
      turns,
      { turnEnded: (_turn, result) => results.push(result) },
      { check() {} },
      noLimits,
    );
    const routes = upstreams
      .slice(0, candidates)
      .map((name) => ({ provider: createLineProvider(() => upstream.url, name), model: 'auto' }));
    const request = {
      ...plainTurn,
      messages: [{ role: 'user' as const, parts: [{ type: 'text' as const, text: 'hi' }] }],
    };
    const turn = clientTurn(request, {
      decoded: { request, isStream: !isWhole, options: undefined, ignored: [] },
      delivery,
      plan: { candidates: routes, delivery: 'stream', promptCache: 'auto' },
      record: turns.records.begin({
        requestId: 'r',
        client: { id: 'me' },
        dialect: 'chat',
        model: request.model,
        isStream: !isWhole,
      }),
    });
    let isOver = false;
    const running = clientTurns.run(turn, output).finally(() => {
      isOver = true;
    });
    for (let steps = 0; !isOver && steps < 4_000; steps += 1) {
      await clock.advance(100);
      turns.running.tick(turns.listening.tick());
      await settled();
    }
    expect(isOver).toBe(true);
    await running;
    return { calls, output, results, record: turn.record, runningCalls: turns.running.callCount };
  } finally {
    await fixture.close();
  }
}

it('any turn with any faults ends once, within its budget, and says nothing twice', async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const { calls, output, results, record, runningCalls } = await play(plan);
      const { events } = output;
      const ends = events.filter(({ type }) => type === 'finish' || type === 'error');
      expect(ends).toHaveLength(1);
      expect(events.at(-1)).toBe(ends[0]);
      // One answer, one line of the log, one usage.
      expect(results).toHaveLength(1);
      const [result] = results;
      expect(record.ended?.outcome).toBe(result?.error?.code ?? 'success');
      expect(record.ended?.usage).toEqual(result?.usage);
      expect(events.filter(({ type }) => type === 'usage').length).toBeLessThanOrEqual(1);
      expect(runningCalls).toBe(0);
      if (result?.error) expect(ends[0]?.type).toBe('error');
      // Nothing is said twice, and an answer that ends well is whole.
      if (ends[0]?.type === 'finish') expect(output.text).toBe('hello');
      else expect('hello'.startsWith(output.text)).toBe(true);
      // No turn fails that an attempt has answered.
      if (calls.at(-1)?.fault === 'sound') expect(result?.error).toBeUndefined();
      expect(calls.length).toBeLessThanOrEqual(8);
      for (const name of upstreams) {
        expect(calls.filter(({ upstream }) => upstream === name).length).toBeLessThanOrEqual(6);
      }
      // By when they began: how long a request is on its way is not the turn's to decide.
      const begun = record.attempts.map(({ startedMs }) => startedMs);
      expect(begun).toHaveLength(calls.length);
      for (const first of begun) {
        const burst = begun.filter((at) => at >= first && at <= first + 3_000);
        expect(burst.length).toBeLessThanOrEqual(4);
      }
    }),
    { numRuns: 150, interruptAfterTimeLimit: 40_000 },
  );
}, 60_000);

it('an attempt that goes on in other words is ended, and what it used is counted', async () => {
  const plan = { accounts: [2, 0] as const, delivery: 'continue', isWhole: false, candidates: 1 } as const;
  const { output, results, record } = await play({ ...plan, steps: ['cut', 'reworded'] });
  expect(output.text).toBe('hel');
  expect(results[0]?.error).toMatchObject({ code: 'upstream_protocol' });
  expect(record.attempts.map(({ outcome }) => outcome)).toEqual([
    'upstream_unavailable',
    'upstream_protocol',
  ]);
  // One of the first attempt, by our own count.
  expect(results[0]?.usage).toMatchObject({ outputTokens: 3 });
  expect(record.attempts[1]?.usage).toMatchObject({ outputTokens: 2 });
});
