import { afterEach, beforeEach, expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import { createLineProvider, lines, say, type UpstreamCallSeen } from '../testing/fake-upstream.ts';
import {
  clientTurn,
  createTurnFixture,
  SeenOutput,
  type TurnFixture,
  until,
} from '../testing/turn-fixture.ts';
import { TurnRun } from './run-turn.ts';

let fixture: TurnFixture;
beforeEach(async () => {
  fixture = await createTurnFixture();
  for (const provider of ['warp', 'other']) fixture.pool.add(provider, { provider });
});
afterEach(() => fixture.close());

/** A stream that breaks off after these lines, and what the next attempts are answered with. */
async function continued(
  begun: readonly string[],
  then: (call: UpstreamCallSeen) => void,
  takesPrefill = false,
) {
  const { upstream, turns } = fixture;
  const output = new SeenOutput();
  upstream.answer = (call, index) => {
    if (index > 0) return then(call);
    say(call, ...begun);
    void until(() => output.batches.length > 0).then(() => call.response.destroy());
  };
  const route = (name: string) => ({ provider: createLineProvider(() => upstream.url, name), model: 'auto' });
  const request = {
    ...plainTurn,
    messages: [{ role: 'user' as const, parts: [{ type: 'text' as const, text: 'hi' }] }],
  };
  const turn = clientTurn(request, {
    delivery: 'continue',
    plan: {
      candidates: [route('warp'), { ...route('other'), takesPrefill }],
      delivery: 'stream',
      promptCache: 'auto',
    },
  });
  let isOver = false;
  const running = new TurnRun(turns, turn, output).run().finally(() => {
    isOver = true;
  });
  while (!isOver) await fixture.pass(50);
  return { result: await running, text: output.text, output, calls: upstream.calls };
}

it('a model that takes it is given the beginning, without the white space at its end', async () => {
  const rest = (call: UpstreamCallSeen) => lines(call, 'think hm', 'say  to all', 'usage 12 3', 'end');
  const { result, text, output, calls } = await continued(['usage 10 2', 'say hello '], rest, true);
  expect(calls[1]).toMatchObject({ bearer: 'bearer-of-other', body: { prompt: 'hello' } });
  expect(text).toBe('hello to all');
  expect(result).toMatchObject({ error: undefined, usage: { inputTokens: 22, outputTokens: 5 } });
  expect(output.events.filter(({ type }) => type === 'finish' || type === 'error')).toHaveLength(1);
  expect(output.events.some(({ type }) => type === 'reasoning-delta')).toBe(false);
});

it.each([
  ['begins again anyway', ['say hel', 'say lo', 'say  all'], 'hello all'],
  ['goes on with words like those at the beginning', ['say he', 'say y'], 'hello hey'],
  ['goes on with the first letters alone', ['say he'], 'hello he'],
])('a model that takes it and %s repeats no word', async (_how, said, whole) => {
  const rest = (call: UpstreamCallSeen) => lines(call, ...said, 'end');
  const { result, text } = await continued(['say hello '], rest, true);
  expect(text).toBe(whole);
  expect(result.error).toBeUndefined();
});

it('any other begins again, and what the client has is held back', async () => {
  const again = (call: UpstreamCallSeen) => lines(call, 'think hm', 'say hel', 'say lo', 'say  all', 'end');
  const { result, text, calls } = await continued(['say hello'], again);
  expect(calls[1]).toMatchObject({ bearer: 'bearer-of-other', body: { prompt: 'hi' } });
  expect(text).toBe('hello all');
  expect(result.error).toBeUndefined();
});

it.each([
  ['in other words', ['say hey', 'end']],
  ['and ends sooner', ['say hell', 'end']],
])('one that begins %s ends with an error', async (_how, answer) => {
  const { result, text, output } = await continued(['say hello'], (call) => lines(call, ...answer));
  expect(result.error).toMatchObject({ code: 'upstream_protocol' });
  expect(text).toBe('hello');
  expect(output.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_protocol' } });
});

it('an answer with a call is not continued', async () => {
  const { result, calls } = await continued(['say hello', 'call read {}'], (call) => lines(call, 'end'));
  expect(result.error).toMatchObject({ code: 'upstream_unavailable' });
  expect(calls).toHaveLength(1);
});
