import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { CollectedTurn, FailedResponse, OutboundTurn } from '../../core/protocol.ts';
import type { UpstreamProvider } from '../../core/provider.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { Message, TurnEvent, TurnRequest } from '../../core/turn.ts';
import type { RoutePlan } from '../models/route.ts';
import { createLineProvider, lineOutbound, lines, refuse, say } from '../testing/fake-upstream.ts';
import { settled } from '../testing/manual-clock.ts';
import {
  clientTurn,
  createTurnFixture,
  SeenOutput,
  type TurnFixture,
  until,
} from '../testing/turn-fixture.ts';
import { TurnRun } from './run-turn.ts';
import { TurnSignal } from './running-turns.ts';

let fixture: TurnFixture;
beforeEach(async () => {
  fixture = await createTurnFixture();
});
afterEach(() => fixture.close());

function requestOf(messages: readonly Message[], change: Partial<TurnRequest> = {}): TurnRequest {
  return {
    ...plainTurn,
    messages,
    ...change,
  };
}

function user(text: string): Message {
  return { role: 'user', parts: [{ type: 'text', text }] };
}
function assistant(text: string): Message {
  return { role: 'assistant', parts: [{ type: 'text', text }] };
}

interface RunOptions {
  readonly isBuffered?: boolean;
  readonly wantsUsage?: boolean;
  readonly request?: TurnRequest;
  readonly affinityKey?: string;
  readonly plan?: RoutePlan;
  readonly write?: (events: readonly TurnEvent[]) => Promise<void> | undefined;
}

function run(options: RunOptions = {}) {
  const client = new TurnSignal();
  let routed = 0;
  class Output extends SeenOutput {
    override readonly isBuffered = options.isBuffered ?? false;
    override begin() {
      routed += 1;
      if (this.isBuffered) this.batches.length = 0;
    }
    override write(events: readonly TurnEvent[]) {
      void super.write(events);
      return options.write?.(events);
    }
    override finish(answer: CollectedTurn, events: readonly TurnEvent[]) {
      void options.write?.(events);
      super.finish(answer, events);
    }
  }
  const output = new Output();
  const turn = clientTurn(options.request ?? requestOf([user('hi')]), {
    affinityKey: options.affinityKey,
    plan: options.plan,
    wantsUsage: options.wantsUsage ?? false,
    signal: client,
  });
  const summary = new TurnRun(fixture.turns, turn, output).run().then((result) => ({
    ...result,
    accountId: result.attempt?.lease.account.id,
  }));
  return {
    summary,
    client,
    attempts: () => turn.record.attempts.map(({ outcome }) => outcome),
    batches: output.batches,
    events: () => output.events,
    text: () => output.text,
    routed: () => routed,
  };
}

/** Runs to the end and checks what holds for every turn. */
async function finish(turn: ReturnType<typeof run>) {
  const summary = await turn.summary;
  const ends = turn.events().filter(({ type }) => type === 'finish' || type === 'error');
  expect(ends.length).toBe(summary.error?.code === 'cancelled' ? 0 : 1);
  if (ends.length === 1) expect(turn.events().at(-1)).toBe(ends[0]);
  return summary;
}

/** The same for a turn that pauses before it tries again. */
async function finishInTime(turn: ReturnType<typeof run>) {
  let isOver = false;
  void turn.summary.finally(() => {
    isOver = true;
  });
  while (!isOver) await fixture.pass(50);
  return finish(turn);
}

const reported = () => fixture.pool.reports.map(({ account_id: id, outcome }) => `${id} ${outcome}`);

/** Gives the gateway a lease on an account before the turn, as a busy hour would. */
async function warm(...ids: string[]): Promise<void> {
  const others = new Set(fixture.pool.accounts.keys());
  for (const id of ids) {
    const lease = await fixture.turns.leases.acquire({
      provider: 'warp',
      model: undefined,
      prefer: id,
      exclude: new Set([...others].filter((other) => other !== id)),
      deadline: fixture.clock.monotonic(),
      signal: new AbortController().signal,
    });
    lease.release();
  }
}

describe('a good turn', () => {
  it('has the list of models asked for anew when the upstream says that it has changed', async () => {
    const outdated = vi.spyOn(fixture.turns.models, 'outdated');
    fixture.pool.add('one');
    await finish(run());
    expect(outdated).not.toHaveBeenCalled();
    fixture.upstream.answer = (call) => lines(call, 'say hello', 'outdated', 'end');
    await finish(run());
    expect(outdated.mock.calls.map(([provider]) => provider.name)).toEqual(['warp']);
  });

  it('goes to no account whose own list lacks the model', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    const { routes } = fixture.turns;
    const plan = await routes.plan({ model: 'auto', messages: [], reasoning: {} });
    const candidates = plan.candidates.map((route) => ({ ...route, barred: new Set(['one']) }));
    vi.spyOn(routes, 'plan').mockResolvedValue({ ...plan, candidates });
    for (let count = 0; count < 3; count += 1) await finish(run());
    expect(fixture.upstream.calls.map(({ bearer }) => bearer)).toEqual(Array(3).fill('bearer-of-two'));
  });

  it('passes over a candidate that would refuse the request, and gets the refusal where there is no other', async () => {
    fixture.pool.add('one');
    const request = {
      ...requestOf([user('hi')]),
      wishes: [
        { ability: 'openai.logit_bias', param: 'logit_bias', otherwise: 'refused', says: 'leave it out' },
      ],
    } as const;
    const refused = await finish(run({ request }));
    expect(refused.error).toMatchObject({ code: 'invalid_request', param: 'logit_bias' });
    expect(fixture.upstream.calls).toHaveLength(0);

    const { candidates } = await fixture.turns.routes.plan(request);
    const [route] = candidates;
    if (!route) throw new Error('no candidate');
    const able = { ...route.provider, capabilitiesOf: () => new Set(['openai.logit_bias'] as const) };
    vi.spyOn(fixture.turns.routes, 'after').mockResolvedValueOnce([{ ...route, provider: able }]);
    expect(await finish(run({ request }))).toMatchObject({ error: undefined, route: { provider: able } });
  });

  it('ends with one finish, a success and the usage', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => lines(call, 'start', 'say hello', 'usage 10 5', 'end');
    const turn = run();
    expect(await finish(turn)).toMatchObject({ error: undefined, accountId: 'one', attempts: 1 });
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports).toMatchObject([
      { outcome: 'success', usage: { input_tokens: 10, output_tokens: 5 } },
    ]);
    expect(fixture.turns.running.callCount).toBe(0);
  });

  it('shows usage that came before the content', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => {
      say(call, 'usage 10 5');
      void until(() => fixture.turns.running.callCount > 0)
        .then(settled)
        .then(() => lines(call, 'say hello', 'end'));
    };
    const turn = run({ wantsUsage: true });
    await finish(turn);
    expect(turn.events().find(({ type }) => type === 'usage')).toEqual({
      type: 'usage',
      usage: { inputTokens: 10, outputTokens: 5 },
    });
  });

  it('counts what an upstream without figures used, exactly only if it is shown', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => lines(call, 'say hello world', 'end');
    const shown = run({ wantsUsage: true });
    expect(await finish(shown)).toMatchObject({ usage: { outputTokens: 2, isEstimated: true } });
    expect(shown.events().map(({ type }) => type)).toEqual(['text-delta', 'usage', 'finish']);
    await fixture.clock.advance(1_100);
    const hidden = run();
    await finish(hidden);
    expect(hidden.events().map(({ type }) => type)).toEqual(['text-delta', 'finish']);
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports[1]?.usage).toEqual({ input_tokens: 1, output_tokens: 3 });
  });

  it.each([['say hello world|usage 0 0 1.5|end'], ['usage 0 0 1.5|say hello world|end']])(
    'counts the tokens of an upstream that tells only its charge, and keeps the charge (%s)',
    async (script) => {
      fixture.pool.add('one');
      fixture.upstream.answer = (call) => {
        const [first = '', ...rest] = script.split('|');
        say(call, first);
        void until(() => fixture.turns.running.callCount > 0)
          .then(settled)
          .then(() => lines(call, ...rest));
      };
      const counted = { inputTokens: 1, outputTokens: 2, credits: 1.5, isEstimated: true };
      const shown = run({ wantsUsage: true });
      expect(await finish(shown)).toMatchObject({ usage: counted });
      expect(shown.events().filter(({ type }) => type === 'usage')).toMatchObject([{ usage: counted }]);
      expect(shown.events().at(-1)?.type).toBe('finish');
      await fixture.clock.advance(1_100);
      await finish(run());
      await fixture.clock.advance(1_100);
      expect(fixture.pool.reports.map(({ usage }) => usage)).toEqual([
        { input_tokens: 1, output_tokens: 2, credits: 1.5 },
        { input_tokens: 1, output_tokens: 3, credits: 1.5 },
      ]);
    },
  );

  it('stops the upstream at the token limit', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => say(call, 'say one two three four five', 'say six');
    const turn = run({ request: requestOf([user('hi')], { limits: { maxOutputTokens: 3 } }) });
    expect(await finish(turn)).toMatchObject({ error: undefined });
    expect(turn.text()).toBe('one two three');
    expect(turn.events().at(-1)).toEqual({ type: 'finish', reason: 'length' });
    await fixture.upstream.calls[0]?.closed;
    await fixture.clock.advance(1_100);
    expect(reported()).toEqual(['one success']);
  });

  it('asks the upstream to wait while the reader is behind', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => {
      say(call, 'say one');
      void until(() => turn.batches.length === 1).then(() => lines(call, 'say two', 'end'));
    };
    const { promise: caughtUp, resolve: catchUp } = Promise.withResolvers<void>();
    const turn = run({ write: () => caughtUp });
    await until(() => turn.batches.length === 1);
    for (let count = 0; count < 10; count += 1) await settled();
    expect(turn.text()).toBe('one');
    catchUp();
    await finish(turn);
    expect(turn.text()).toBe('onetwo');
  });
});

describe('a failure before content', () => {
  it.each([
    [429, 'rate_limited', 2],
    [401, 'unauthorized', 2],
    // Once more on the same account first.
    [502, 'unavailable', 3],
  ])('of status %i brings in another account and is reported as %s', async (status, outcome, attempts) => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call) =>
      call.bearer === 'bearer-of-one' ? refuse(call, status) : lines(call, 'say hello', 'end');
    const turn = run();
    expect(await finishInTime(turn)).toMatchObject({ error: undefined, accountId: 'two', attempts });
    expect(turn.text()).toBe('hello');
    expect(reported()).toContain(`one ${outcome}`);
  });

  it('in the batch that holds the first content shows nothing of it', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call, index) =>
      index === 0 ? lines(call, 'say wrong', 'error upstream_unavailable') : lines(call, 'say right', 'end');
    const turn = run();
    await finishInTime(turn);
    expect(turn.text()).toBe('right');
  });

  it('of the request is the answer: no other account is tried and none is blamed', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call) => refuse(call, 400);
    expect(await finish(run())).toMatchObject({ error: { code: 'invalid_request' }, attempts: 1 });
    expect(fixture.pool.reports).toEqual([]);
  });

  it('that is the refusal of an account is not worked around with one that is free', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call) => refuse(call, 403);
    expect(await finish(run())).toMatchObject({ error: { code: 'upstream_refused' }, attempts: 1 });
  });

  it('of the upstream is held against no account where all fail', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    for (const answer of [
      'error upstream_unavailable',
      'error upstream_protocol',
      'error upstream_timeout',
    ]) {
      fixture.upstream.answer = (call) => lines(call, answer);
      for (let turn = 0; turn < 3; turn += 1) await finishInTime(run());
    }
    fixture.upstream.answer = (call) => refuse(call, 503);
    for (let turn = 0; turn < 3; turn += 1) await finishInTime(run());
    expect(fixture.pool.reports).toEqual([]);
  });

  it("that is no account's fault still counts what was used", async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => lines(call, 'usage 10 5', 'error context_too_long');
    await finish(run());
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports).toMatchObject([
      { outcome: 'cancelled', usage: { input_tokens: 10, output_tokens: 5 } },
    ]);
  });

  it("that is the model's brings in one other account and no third", async () => {
    for (const id of ['one', 'two', 'three']) fixture.pool.add(id);
    fixture.upstream.answer = (call) => refuse(call, 529);
    expect(await finish(run())).toMatchObject({ error: { code: 'model_unavailable' }, attempts: 2 });
    expect(fixture.pool.reports).toEqual([]);
  });

  it('surfaces as it was when there is no other account, at once', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => refuse(call, 429);
    expect(await finish(run())).toMatchObject({
      error: { code: 'upstream_rate_limited', retryAfterMs: 7_000 },
    });
  });

  it('is tried six times at most, and no more than four times within three seconds', async () => {
    for (let count = 0; count < 8; count += 1) fixture.pool.add(`account-${count}`);
    const at: number[] = [];
    fixture.upstream.answer = (call) => {
      at.push(fixture.clock.monotonic());
      refuse(call, 429);
    };
    const turn = run();
    expect(await finishInTime(turn)).toMatchObject({ error: { code: 'upstream_rate_limited' }, attempts: 6 });
    expect(new Set(fixture.upstream.calls.map((call) => call.bearer)).size).toBe(6);
    expect((at[4] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(3_000);
  });

  it('that is sent in another way counts among these six', async () => {
    const provider = createLineProvider(() => fixture.upstream.url);
    const asked = { sendAgain: { how: 'without-proofs' as const } };
    const outbound = {
      ...lineOutbound,
      classifyFailure: (response: FailedResponse) =>
        response.status === 400
          ? new AppError('invalid_request', 'no proofs', asked)
          : lineOutbound.classifyFailure(response),
    };
    for (let account = 0; account < 7; account += 1) fixture.pool.add(`acc-${account}`);
    fixture.upstream.answer = (call, index) => refuse(call, index < 5 ? 429 : 400);
    const candidates = [{ provider: { ...provider, outbound } as UpstreamProvider, model: 'auto' }];
    const turn = run({ plan: { candidates, delivery: 'stream', promptCache: 'auto' } });
    expect(await finishInTime(turn)).toMatchObject({ error: { code: 'invalid_request' }, attempts: 6 });
    expect(fixture.upstream.calls).toHaveLength(6);
  });

  it('of what the encoder adds to the length of an answer is sent again without that', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call, index) =>
      index === 0 ? refuse(call, 400) : lines(call, 'say hello', 'end');
    const sendAgain = { how: 'shorter', mostOutputTokens: 8_192, isOfModel: true } as const;
    const sent: unknown[] = [];
    const outbound = {
      ...lineOutbound,
      outputTokensOf: () => 36_000,
      open(asked: OutboundTurn) {
        sent.push(asked.mostOutputTokens);
        return lineOutbound.open(asked);
      },
      classifyFailure: () => new AppError('invalid_request', 'too long', { sendAgain }),
    };
    const provider = { ...createLineProvider(() => fixture.upstream.url), outbound } as UpstreamProvider;
    const plan = {
      candidates: [{ provider, model: 'auto' }],
      delivery: 'stream',
      promptCache: 'auto',
    } as const;
    const request = requestOf([user('hi')], { limits: { maxOutputTokens: 4_000 } });
    for (let turn = 0; turn < 2; turn += 1)
      expect(await finish(run({ plan, request }))).toMatchObject({ error: undefined });
    expect(sent).toEqual([undefined, 8_192, 8_192]);
  });

  it('leaves what only its own account had refused before to the next one', async () => {
    for (const id of ['one', 'two']) fixture.pool.add(id);
    fixture.upstream.answer = (call, index) =>
      index === 0 ? refuse(call, 429) : lines(call, 'say hello', 'end');
    const sent: unknown[] = [];
    const outbound = {
      ...lineOutbound,
      open(asked: OutboundTurn) {
        sent.push(asked.request.reasoning.isAsked);
        return lineOutbound.open(asked);
      },
    };
    const provider = { ...createLineProvider(() => fixture.upstream.url), outbound } as UpstreamProvider;
    const route = { provider, model: 'auto' };
    const request = requestOf([user('hi')], { reasoning: { isAsked: true } });
    fixture.turns.refusals.note({ how: 'without-summary' }, { route, request }, 'one');
    await warm('one');
    const plan = { candidates: [route], delivery: 'stream', promptCache: 'auto' } as const;
    expect(await finishInTime(run({ plan, request }))).toMatchObject({ error: undefined, accountId: 'two' });
    expect(sent).toEqual([false, true]);
  });

  it('is sent in another way to its own account first, which is known for it only if it answers then', async () => {
    for (const id of ['one', 'two']) fixture.pool.add(id);
    const answers = [400, 429, 200, 400, 200];
    fixture.upstream.answer = (call, index) =>
      answers[index] === 200 ? lines(call, 'say hello', 'end') : refuse(call, answers[index] ?? 500);
    const sendAgain = { how: 'without-summary' } as const;
    const outbound = {
      ...lineOutbound,
      classifyFailure: (response: FailedResponse) =>
        response.status === 400
          ? new AppError('invalid_request', 'no summary', { sendAgain })
          : lineOutbound.classifyFailure(response),
    };
    const provider = { ...createLineProvider(() => fixture.upstream.url), outbound } as UpstreamProvider;
    const route = { provider, model: 'auto' };
    const request = requestOf([user('hi')], { reasoning: { isAsked: true } });
    const plan = { candidates: [route], delivery: 'stream', promptCache: 'auto' } as const;
    const known = (id: string) => fixture.turns.refusals.changesOf({ route, request }, id);
    await warm('one');
    expect(await finishInTime(run({ plan, request }))).toMatchObject({ error: undefined, accountId: 'two' });
    const bearers = () => fixture.upstream.calls.map(({ bearer }) => bearer);
    expect(bearers()).toEqual(['bearer-of-one', 'bearer-of-one', 'bearer-of-two']);
    expect([known('one'), known('two')]).toEqual([[], []]);

    expect(await finishInTime(run({ plan, request }))).toMatchObject({ error: undefined });
    const [id = ''] = bearers()
      .slice(3)
      .map((bearer) => bearer.replace('bearer-of-', ''));
    expect(bearers().slice(3)).toEqual([`bearer-of-${id}`, `bearer-of-${id}`]);
    expect(known(id)).toEqual(['without-summary']);
  });

  it('of an upstream that fails on every account is shown without a pause before', async () => {
    for (const id of ['one', 'two', 'three', 'four', 'five']) fixture.pool.add(id);
    fixture.upstream.answer = (call) => refuse(call, 500);
    const startedAt = fixture.clock.monotonic();
    const { attempts } = await finishInTime(run());
    expect(attempts).toBe(4);
    expect(fixture.clock.monotonic() - startedAt).toBeLessThan(1_500);
  });

  it.each([500, 529])('of an upstream with one account is met with a second try after %i', async (status) => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call, index) =>
      index === 0 ? refuse(call, status) : lines(call, 'say hello', 'end');
    expect(await finishInTime(run())).toMatchObject({ error: undefined, attempts: 2, accountId: 'one' });
  });

  it('uses what is held already for the next attempt, with a preferred account that failed', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    await warm('one', 'two');
    const first = run();
    await finish(first);
    const { accountId } = await first.summary;
    const calls = fixture.pool.allocations.length;
    fixture.upstream.answer = (call) =>
      call.bearer === `bearer-of-${accountId}` ? refuse(call, 502) : lines(call, 'say hello', 'end');
    const again = run({ request: requestOf([user('hi'), assistant('hello'), user('more')]) });
    expect(await finishInTime(again)).toMatchObject({ error: undefined, attempts: 3 });
    expect(fixture.pool.allocations.length).toBe(calls);
  });
});

describe('accounts that fail differently', () => {
  /** The pool takes an account out for as long as it is limited, as the real one does. */
  function limit(id: string, ms: number): void {
    fixture.pool.setStatus(id, 'cooldown');
    fixture.clock.after(ms, () => fixture.pool.setStatus(id, 'active'));
  }

  it('one rests for two seconds and the other refuses: the turn waits and is answered', async () => {
    fixture.pool.add('resting');
    fixture.pool.add('refused');
    limit('resting', 2_000);
    fixture.upstream.answer = (call) =>
      call.bearer === 'bearer-of-refused' ? refuse(call, 403) : lines(call, 'say hello', 'end');
    const turn = run();
    await fixture.pass(1_900);
    expect(turn.batches).toEqual([]);
    await fixture.pass(200);
    expect(await finish(turn)).toMatchObject({ error: undefined, accountId: 'resting', attempts: 2 });
  });

  it('a limit met by the turn itself is waited for where its rest is short', async () => {
    fixture.pool.add('limited');
    fixture.pool.add('refused');
    fixture.pool.onReport = ({ account_id: id, outcome }) => {
      if (outcome !== 'rate_limited') return {};
      limit(id, 2_000);
      return { status: 'cooldown' };
    };
    let limits = 0;
    fixture.upstream.answer = (call) => {
      if (call.bearer === 'bearer-of-refused') return refuse(call, 403);
      limits += 1;
      return limits === 1 ? refuse(call, 429) : lines(call, 'say hello', 'end');
    };
    const turn = run();
    await fixture.pass(2_100);
    expect(await finish(turn)).toMatchObject({ error: undefined, accountId: 'limited', attempts: 3 });
  });

  it('where none can be waited for the error that passes is shown', async () => {
    for (const id of ['limited', 'spent', 'refused']) fixture.pool.add(id);
    fixture.upstream.answer = (call) =>
      refuse(call, { limited: 429, refused: 403, spent: 402 }[call.bearer.replace('bearer-of-', '')] ?? 500);
    expect(await finish(run())).toMatchObject({
      error: { code: 'upstream_rate_limited', retryAfterMs: 7_000 },
      attempts: 3,
    });
  });
});

describe('a provider that cannot be reached', () => {
  it('costs no account anything, and the turn goes on with the same one once it can be', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.setReachable(false);
    const turns = [run(), run(), run()];
    await fixture.pass(5_000);
    expect(fixture.turns.reach.all).toEqual(new Map([['warp', false]]));
    const lent = fixture.pool.allocations.length;
    fixture.setReachable(true);
    await fixture.pass(2_500);
    for (const turn of turns) expect(await finish(turn)).toMatchObject({ error: undefined, attempts: 1 });
    expect(fixture.turns.reach.all).toEqual(new Map([['warp', true]]));
    expect(fixture.pool.allocations.length).toBe(lent);
    await fixture.clock.advance(1_100);
    expect(new Set(fixture.pool.reports.map(({ outcome }) => outcome))).toEqual(new Set(['success']));
  });

  it('ends a turn after ten seconds with an error that says when to come again', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.setReachable(false);
    for (let count = 0; count < 9; count += 1) {
      const turn = run();
      await fixture.pass(10_500);
      expect(await finish(turn)).toMatchObject({
        error: { code: 'upstream_unavailable', fault: 'network', retryAfterMs: 5_000 },
        attempts: 1,
      });
    }
    expect(fixture.pool.reports).toEqual([]);
  });

  it('is probed by another turn when the client of the probing one has left', async () => {
    fixture.pool.add('one');
    fixture.setReachable(false);
    const first = run();
    await fixture.pass(300);
    const second = run();
    first.client.abort(new AppError('cancelled', 'gone'));
    await finish(first);
    fixture.setReachable(true);
    await fixture.pass(2_500);
    expect(await finish(second)).toMatchObject({ error: undefined });
  });
});

describe('a failure after content', () => {
  it('ends a stream with the error, for text once sent cannot be taken back', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call) => {
      say(call, 'say hel');
      void until(() => turn.batches.length > 0).then(() =>
        lines(call, 'say lo', 'error upstream_unavailable'),
      );
    };
    const turn = run();
    expect(await finish(turn)).toMatchObject({ error: { code: 'upstream_unavailable' }, attempts: 1 });
    expect(turn.text()).toBe('hello');
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports).toMatchObject([{ outcome: 'cancelled', usage: { output_tokens: 2 } }]);
  });

  it('of an answer that is collected begins it again', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call, index) => {
      if (index > 0) return lines(call, 'say hello', 'end');
      say(call, 'say hel');
      void until(() => turn.batches.length > 0).then(() => call.response.destroy());
    };
    const turn = run({ isBuffered: true });
    expect(await finishInTime(turn)).toMatchObject({ error: undefined, attempts: 2, accountId: 'two' });
    expect(turn.text()).toBe('hello');
  });
});

describe('a spent quota', () => {
  it('of a free account finds no stand-in among free ones, though one is held', async () => {
    fixture.pool.add('free-one', { free: true });
    fixture.pool.add('free-two', { free: true });
    await warm('free-one', 'free-two');
    fixture.upstream.answer = (call) => refuse(call, 402);
    fixture.pool.onReport = (item) => {
      fixture.pool.setStatus(item.account_id, 'exhausted');
      return { status: 'exhausted' };
    };
    const turn = run();
    await fixture.clock.advance(10_000);
    await until(() => fixture.pool.waiting <= 1);
    await fixture.clock.advance(10_000);
    expect(await finish(turn)).toMatchObject({ error: { code: 'upstream_quota_exhausted' }, attempts: 1 });
    expect(fixture.upstream.calls.length).toBe(1);
  });

  it.each(['away', 'unsure'])(
    'of a free account finds no free stand-in while the pool is %s',
    async (how) => {
      fixture.pool.add('free-one', { free: true });
      fixture.pool.add('free-two', { free: true });
      await warm('free-one', 'free-two');
      fixture.upstream.answer = (call) => {
        fixture.pool.isAway = how === 'away';
        refuse(call, 402);
      };
      fixture.pool.onReport = () => ({ status: 'cooldown' });
      const turn = run();
      await until(() => fixture.upstream.calls.length > 0);
      for (let count = 0; count < 20; count += 1) await settled();
      await fixture.clock.advance(12_000);
      expect(await finish(turn)).toMatchObject({ error: { code: 'upstream_quota_exhausted' }, attempts: 1 });
      expect(fixture.upstream.calls.length).toBe(1);
      fixture.pool.isAway = false;
    },
  );

  it('of a paid account brings in another one', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call, index) =>
      index === 0 ? refuse(call, 402) : lines(call, 'say hello', 'end');
    expect(await finish(run())).toMatchObject({ error: undefined, attempts: 2 });
  });
});

describe('a bearer that is refused', () => {
  it('is replaced by the newer one of the same account, once', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    await warm('one', 'two');
    const bearers: string[] = [];
    fixture.upstream.answer = (call) => {
      bearers.push(call.bearer);
      if (call.bearer === 'newer') return lines(call, 'say hello', 'end');
      for (const account of fixture.pool.accounts.values()) {
        if (call.bearer !== account.bearer) continue;
        account.tokenVersion = 2;
        account.bearer = 'newer';
      }
      return refuse(call, 401);
    };
    const turn = run();
    expect(await finish(turn)).toMatchObject({ error: undefined, attempts: 2 });
    expect(bearers).toEqual(['bearer-of-one', 'newer']);
    expect((await turn.summary).accountId).toBe('one');
  });

  it('and whose newer one is refused too brings in another account', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    fixture.upstream.answer = (call) => {
      if (call.bearer === 'bearer-of-two') return lines(call, 'say hello', 'end');
      const account = fixture.pool.accounts.get('one');
      if (account) {
        account.tokenVersion += 1;
        account.bearer = `newer-${account.tokenVersion}`;
      }
      return refuse(call, 401);
    };
    expect(await finish(run())).toMatchObject({ error: undefined, attempts: 3, accountId: 'two' });
  });
});

describe('a client that leaves', () => {
  it('cancels the upstream at once and is reported with what was produced', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) => say(call, 'say twelve chars', 'think abcd');
    const turn = run();
    await until(() => turn.batches.length > 0);
    turn.client.abort(new AppError('cancelled', 'left'));
    expect(await finish(turn)).toMatchObject({ error: { code: 'cancelled' } });
    await fixture.upstream.calls[0]?.closed;
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports).toMatchObject([{ outcome: 'cancelled', usage: { output_tokens: 4 } }]);
    expect(fixture.turns.running.callCount).toBe(0);
  });

  it('before the answer began is reported too', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = () => {};
    const turn = run();
    await until(() => fixture.upstream.calls.length === 1);
    turn.client.abort(new AppError('cancelled', 'left'));
    const usage = { inputTokens: 1, outputTokens: 0, isEstimated: true };
    expect(await finish(turn)).toMatchObject({ error: { code: 'cancelled' }, attempts: 1, usage });
    await fixture.upstream.calls[0]?.closed;
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports).toMatchObject([{ outcome: 'cancelled', usage: { input_tokens: 1 } }]);
  });

  it('before it was sent has its end in the record, and no account is blamed', async () => {
    fixture.pool.add('one');
    const address = Promise.withResolvers<string>();
    const provider = { ...createLineProvider(() => ''), baseUrl: () => address.promise };
    const candidates = [{ provider, model: 'auto' }];
    const turn = run({ plan: { candidates, delivery: 'stream', promptCache: 'auto' } });
    await until(() => turn.attempts().length === 1);
    turn.client.abort(new AppError('cancelled', 'left'));
    address.resolve(fixture.upstream.url);
    expect(await finish(turn)).toMatchObject({ error: { code: 'cancelled' }, usage: undefined });
    expect(turn.attempts()).toEqual(['cancelled']);
    expect([fixture.upstream.calls.length, fixture.pool.reports.length]).toEqual([0, 0]);
  });

  it('while an upstream refuses it takes nothing there', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = ({ response }) => {
      response.writeHead(500);
      response.write('sorry');
    };
    const turn = run();
    await until(() => fixture.upstream.calls.length === 1);
    await settled();
    turn.client.abort(new AppError('cancelled', 'left'));
    expect(await finish(turn)).toMatchObject({ error: { code: 'cancelled' }, usage: undefined });
  });

  it('while it waits for an account leaves nothing behind', async () => {
    fixture.pool.add('one', { status: 'cooldown' });
    const turn = run();
    await until(() => fixture.pool.waiting === 1);
    turn.client.abort(new AppError('cancelled', 'left'));
    expect(await finish(turn)).toMatchObject({
      error: { code: 'cancelled' },
      attempts: 0,
      usage: undefined,
    });
    await settled();
    expect(fixture.pool.waiting).toBe(0);
  });

  it('gives its place to the next', async () => {
    fixture.pool.add('one', { capacity: 1 });
    fixture.upstream.answer = (call, index) => {
      if (index > 0) lines(call, 'say hello', 'end');
    };
    const first = run();
    await until(() => fixture.upstream.calls.length === 1);
    const second = run();
    await settled();
    first.client.abort(new AppError('cancelled', 'left'));
    expect(await finish(second)).toMatchObject({ error: undefined });
  });
});

describe('a session', () => {
  const affinityKey = 'session';
  const talk = (text: string) => run({ request: requestOf([user(text)]), affinityKey });
  const bearers = () => fixture.upstream.calls.map(({ bearer }) => bearer.replace('bearer-of-', ''));

  /** Accounts that are held and idle, the one a turn without a preference would get first. */
  async function heldAccounts(): Promise<void> {
    fixture.pool.add('one', { capacity: 4 });
    fixture.pool.add('two', { capacity: 4 });
    await warm('one', 'two');
  }

  it('has its new conversations on one account, each told by its own history', async () => {
    await heldAccounts();
    await finish(run({ request: requestOf([user('stranger')]) }));
    await fixture.turns.affinity.sessionOf('me', 'warp', affinityKey).answeredBy('two', 'sought');
    for (const text of ['first', 'second', 'first']) {
      expect(await finish(talk(text))).toMatchObject({ conversation: 'new' });
    }
    expect(bearers()).toEqual(['one', 'two', 'two', 'two']);
    expect(fixture.upstream.calls.every(({ body }) => body.memory === undefined)).toBe(true);
  });

  it('follows a remembered conversation to its account', async () => {
    await heldAccounts();
    await finish(talk('hi'));
    fixture.turns.affinity.sessionOf('me', 'warp', 'other').answeredBy('two', 'sought');
    const next = requestOf([user('hi'), assistant('hello'), user('more')]);
    expect(await finish(run({ request: next, affinityKey: 'other' }))).toMatchObject({ conversation: 'hit' });
    expect(bearers()).toEqual(['one', 'one']);
    expect(fixture.turns.affinity.sessionOf('me', 'warp', 'other').preferred()).toBe('two');
  });

  it('spreads its turns at once when its account has no free place', async () => {
    await heldAccounts();
    await finish(talk('first'));
    const open: (() => void)[] = [];
    fixture.upstream.answer = (call) => open.push(() => lines(call, 'say hello', 'end'));
    const turns = [talk('second'), talk('third')];
    await until(() => open.length === 2);
    for (const answer of open) answer();
    for (const turn of turns) expect(await finish(turn)).toMatchObject({ error: undefined });
    expect(bearers().sort()).toEqual(['one', 'one', 'two']);
    expect(fixture.turns.affinity.sessionOf('me', 'warp', affinityKey).preferred()).toBe('one');
  });

  it('goes to another account while its own is cooling, and back', async () => {
    await heldAccounts();
    await finish(talk('first'));
    fixture.pool.setStatus('one', 'cooldown');
    await finish(talk('second'));
    fixture.pool.setStatus('one', 'active');
    await fixture.clock.advance(60_000);
    await finish(talk('third'));
    expect(bearers()).toEqual(['one', 'two', 'one']);
  });

  it('leaves an account that is slow to others, and its conversations stay', async () => {
    await heldAccounts();
    for (let turn = 0; turn < 2; turn += 1) {
      fixture.upstream.answer = (call) => {
        void fixture.clock.advance(29_000).then(() => lines(call, 'say hello', 'end'));
      };
      const slow = talk(`slow ${turn}`);
      await finish(slow);
    }
    fixture.turns.affinity.latency.note('one', 60_000);
    fixture.upstream.answer = (call) => lines(call, 'say hello', 'end');
    expect(fixture.turns.affinity.sessionOf('me', 'warp', affinityKey).preferred()).toBeUndefined();
    const next = requestOf([user('slow 1'), assistant('hello'), user('more')]);
    expect(await finish(run({ request: next, affinityKey }))).toMatchObject({
      conversation: 'hit',
      accountId: 'one',
    });
  });
});

describe('the conversation', () => {
  const next = requestOf([user('hi'), assistant('hello'), user('more')]);

  it('goes on on its account with what is remembered', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    await finish(run());
    await finish(run({ request: next }));
    expect(fixture.upstream.calls.map((call) => call.body.memory)).toEqual([undefined, 'memory of hi']);
  });

  it('is resent in full on another account', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    await finish(run());
    fixture.pool.setStatus('one', 'cooldown');
    await finish(run({ request: next }));
    expect(fixture.upstream.calls[1]?.body.memory).toBeUndefined();
    expect(fixture.upstream.calls[1]?.bearer).toBe('bearer-of-two');
  });

  it.each([401, 429, 502])('is not lost when the upstream refuses the turn with %i', async (status) => {
    fixture.pool.add('one');
    await finish(run());
    fixture.upstream.answer = (call) => refuse(call, status);
    await finishInTime(run({ request: next }));
    fixture.upstream.answer = (call) => lines(call, 'say hello', 'end');
    await finish(run({ request: next }));
    expect(fixture.upstream.calls.at(-1)?.body.memory).toBe('memory of hi');
  });

  it('is not lost when the upstream could not be reached', async () => {
    fixture.pool.add('one');
    await finish(run());
    fixture.setReachable(false);
    const turn = run({ request: next });
    await fixture.pass(11_000);
    expect(await finish(turn)).toMatchObject({ error: { code: 'upstream_unavailable' } });
    const found = await fixture.turns.conversations.find('me', 'warp', next);
    expect(found.goOn('one')?.memory.length).toBeGreaterThan(0);
  });

  it('is resent in full once the upstream may have seen the turn', async () => {
    fixture.pool.add('one');
    await finish(run());
    fixture.upstream.answer = (call) => call.response.destroy();
    await finishInTime(run({ request: next }));
    fixture.upstream.answer = (call) => lines(call, 'say hello', 'end');
    await finish(run({ request: next }));
    expect(fixture.upstream.calls.at(-1)?.body.memory).toBeUndefined();
  });

  it('is used again by the second attempt with a newer bearer', async () => {
    fixture.pool.add('one');
    await finish(run());
    fixture.upstream.answer = (call) => {
      const account = fixture.pool.accounts.get('one');
      if (call.bearer === 'newer' || !account) return lines(call, 'say hello', 'end');
      Object.assign(account, { tokenVersion: 2, bearer: 'newer' });
      return refuse(call, 401);
    };
    await finish(run({ request: next }));
    expect(fixture.upstream.calls.at(-1)?.body.memory).toBe('memory of hi');
  });

  it('that was cut at the token limit is resent in full: the upstream knows more than the client saw', async () => {
    fixture.pool.add('one');
    const limits = { maxOutputTokens: 1 };
    fixture.upstream.answer = (call) => lines(call, 'say hello world', 'end');
    await finish(run({ request: requestOf([user('hi')], { limits }) }));
    await finish(run({ request: next }));
    expect(fixture.upstream.calls[1]?.body.memory).toBeUndefined();
  });

  it('with a call the client does not take is resent in full: the upstream would wait for its result', async () => {
    fixture.pool.add('one');
    fixture.upstream.answer = (call) =>
      lines(call, 'say hello', 'call read {}', 'call write {}', 'end tools');
    const first = run({ request: requestOf([user('hi')], { parallelToolCalls: false }) });
    await finish(first);
    expect(first.events().filter(({ type }) => type === 'tool-call-start')).toHaveLength(1);
    const call = { type: 'tool-call' as const, id: 'call-1', name: 'read', arguments: '{}' };
    const said: Message = { role: 'assistant', parts: [{ type: 'text', text: 'hello' }, call] };
    await finish(run({ request: requestOf([user('hi'), said, user('more')]) }));
    expect(fixture.upstream.calls[1]?.body.memory).toBeUndefined();
  });

  it('ends with an error at a call that was forbidden, remembered or not', async () => {
    fixture.pool.add('one');
    await finish(run());
    fixture.upstream.answer = (call) => lines(call, 'say hm', 'call read {}', 'end tools');
    const forbidden = run({ request: { ...next, toolChoice: { type: 'none' } } });
    expect(await finish(forbidden)).toMatchObject({ error: { code: 'upstream_protocol' } });
    expect(fixture.upstream.calls[1]?.body.memory).toBe('memory of hi');
    expect(forbidden.events().filter(({ type }) => type === 'tool-call-start' || type === 'finish')).toEqual(
      [],
    );
  });
});

describe('a turn that cannot begin', () => {
  it('leaves no call behind where its request cannot be sent', async () => {
    // No header may hold a line end.
    fixture.pool.add('one\n');
    const turn = run();
    await fixture.pass(60_000);
    expect((await finish(turn)).error).toBeDefined();
    expect(fixture.turns.running.callCount).toBe(0);
  });

  it('for want of an account says so', async () => {
    expect(await finish(run())).toMatchObject({ error: { code: 'no_account_available' }, attempts: 0 });
  });

  it('because the pool is away says so', async () => {
    fixture.pool.isAway = true;
    expect(await finish(run())).toMatchObject({ error: { code: 'pool_unavailable' } });
  });

  it('because its protocol cannot carry it names the field, and its account stays untouched', async () => {
    fixture.pool.add('one');
    const turn = run({ request: requestOf([user('unspeakable')]) });
    expect(await finish(turn)).toMatchObject({ error: { code: 'invalid_request', param: 'messages' } });
    expect(turn.attempts()).toEqual(['invalid_request']);
    expect(fixture.pool.reports).toEqual([]);
    await fixture.clock.advance(70_000);
    expect(fixture.pool.slotsOf('one')).toBe(0);
  });

  it('goes to the sandbox when the last account has gone meanwhile', async () => {
    fixture.pool.add('box', { provider: 'sandbox' });
    fixture.pool.isSandbox = true;
    expect(await finish(run())).toMatchObject({
      error: undefined,
      route: { provider: { name: 'sandbox' } },
    });
  });
});

it('takes a fault of its own for what it is, not for one of the account', async () => {
  fixture.pool.add('one');
  fixture.pool.add('two');
  let isFirst = true;
  const turn = run({
    write() {
      if (!isFirst) return undefined;
      isFirst = false;
      throw new Error('a bug in an encoder');
    },
  });
  expect((await turn.summary).error?.code).toBe('internal');
  await fixture.clock.advance(1_100);
  expect(fixture.pool.reports).toEqual([]);
  expect(fixture.turns.running.callCount).toBe(0);
});

it('gives up on an upstream that is silent and turns to another account', async () => {
  fixture.pool.add('one');
  fixture.pool.add('two');
  fixture.upstream.answer = (call, index) => {
    if (index > 0) lines(call, 'say hello', 'end');
  };
  const turn = run();
  await until(() => fixture.upstream.calls.length === 1);
  fixture.turns.running.tick(fixture.turns.listening.now() + 30_000);
  expect(await finish(turn)).toMatchObject({ error: undefined, attempts: 2 });
  expect(reported()).toEqual(['one timeout']);
});

it('waits ten seconds for the first word of an upstream that has another account, and then as long as usual', async () => {
  fixture.pool.add('one');
  fixture.pool.add('two');
  vi.spyOn(fixture.turns.routes, 'openAccounts').mockReturnValue(2);
  const at: number[] = [];
  fixture.upstream.answer = (call) => {
    at.push(fixture.clock.monotonic());
    if (at.length > 1) fixture.clock.after(12_000, () => lines(call, 'say hello', 'end'));
  };
  const turn = run();
  let isOver = false;
  void turn.summary.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await fixture.pass(50);
    fixture.turns.running.tick(fixture.turns.listening.tick());
  }
  expect(await finish(turn)).toMatchObject({ error: undefined, attempts: 2 });
  expect((at[1] ?? 0) - (at[0] ?? 0)).toBeCloseTo(10_000, -3);
});

describe('two candidates', () => {
  beforeEach(() => {
    for (const provider of ['warp', 'other']) fixture.pool.add(provider, { provider });
  });

  function ask() {
    const { url } = fixture.upstream;
    const candidates = ['warp', 'other'].map((name) => ({
      provider: createLineProvider(() => url, name),
      model: 'auto',
    }));
    return run({ plan: { candidates, delivery: 'stream', promptCache: 'auto' } });
  }

  it('that are both limited are waited for', async () => {
    fixture.pool.onReport = ({ account_id: id }) => {
      fixture.pool.setStatus(id, 'cooldown');
      fixture.clock.after(id === 'warp' ? 2_000 : 5_000, () => fixture.pool.setStatus(id, 'active'));
      return { status: 'cooldown' };
    };
    fixture.upstream.answer = (call, index) =>
      index < 2 ? refuse(call, 429) : lines(call, 'say hello', 'end');
    expect(await finishInTime(ask())).toMatchObject({ error: undefined, attempts: 3 });
    expect(fixture.clock.monotonic()).toBeGreaterThanOrEqual(2_000);
  });

  it('are used in their order again within 30 seconds of a recovery', async () => {
    let isDown = true;
    fixture.upstream.answer = (call) =>
      isDown && call.bearer === 'bearer-of-warp' ? refuse(call, 500) : lines(call, 'say hello', 'end');
    for (let turn = 0; turn < 20; turn += 1) {
      expect(await finishInTime(ask())).toMatchObject({ error: undefined, accountId: 'other' });
      await fixture.pass(1_000);
    }
    const tried = fixture.upstream.calls.filter(({ bearer }) => bearer === 'bearer-of-warp').length;
    expect(tried).toBeLessThan(12);
    isDown = false;
    const recoveredAt = fixture.clock.monotonic();
    for (let accountId: string | undefined; accountId !== 'warp'; ) {
      await fixture.pass(1_000);
      accountId = (await finishInTime(ask())).accountId;
    }
    expect(fixture.clock.monotonic() - recoveredAt).toBeLessThan(30_000);
  });

  it('of one model get no request that was too long for it at one of them', async () => {
    fixture.pool.add('warp-2', { provider: 'warp' });
    fixture.upstream.answer = (call) =>
      call.bearer === 'bearer-of-other' ? lines(call, 'error context_too_long') : refuse(call, 529);
    expect((await finishInTime(ask())).error).toBeDefined();
    const seen = () => fixture.upstream.calls.splice(0).map(({ bearer }) => bearer);
    expect(seen().filter((bearer) => bearer !== 'bearer-of-other')).toHaveLength(1);
    // One whose circuit is open would be the last to be tried.
    const route = { provider: createLineProvider(() => ''), model: 'auto' };
    for (let fault = 0; fault < 3; fault += 1) fixture.turns.circuits.failed(route);
    expect((await finishInTime(ask())).error).toMatchObject({ code: 'context_too_long' });
    expect(seen()).toEqual(['bearer-of-other']);
  });

  it('are looked at again by the next turn where one that they cannot carry was let through', async () => {
    const { url } = fixture.upstream;
    const [warp, other] = ['warp', 'other'].map((name) => createLineProvider(() => url, name));
    if (!warp || !other) throw new Error('no provider');
    const able = { ...other, capabilitiesOf: () => new Set(['openai.logit_bias'] as const) };
    const candidates = [warp, able].map((provider) => ({ provider, model: 'auto' }));
    const plan = { candidates, delivery: 'stream', promptCache: 'auto' } as const;
    for (let fault = 0; fault < 3; fault += 1)
      fixture.turns.circuits.failed({ provider: warp, model: 'auto' });
    await fixture.clock.advance(5_000);
    const wish = {
      ability: 'openai.logit_bias',
      param: 'logit_bias',
      otherwise: 'refused',
      says: 'no',
    } as const;
    const request = requestOf([user('hi')], { wishes: [wish] });
    const onlyThere = { ...plan, candidates: candidates.slice(0, 1) };
    expect((await finish(run({ plan, request }))).accountId).toBe('other');
    expect((await finish(run({ plan }))).accountId).toBe('warp');
    for (let fault = 0; fault < 3; fault += 1)
      fixture.turns.circuits.failed({ provider: warp, model: 'auto' });
    // Of a turn that has no other way, its circuit was not asked.
    expect((await finish(run({ plan: onlyThere, request }))).error).toMatchObject({
      code: 'invalid_request',
    });
    expect((await finish(run({ plan }))).accountId).toBe('other');
  });

  it('that begins every answer and never ends one is passed over, too', async () => {
    fixture.upstream.answer = (call) => {
      if (call.bearer !== 'bearer-of-warp') return lines(call, 'say hello', 'end');
      say(call, 'say hel');
      setImmediate(() => call.response.destroy());
    };
    for (let turn = 0; turn < 3; turn += 1)
      expect((await finishInTime(ask())).error).toMatchObject({ code: 'upstream_unavailable' });
    expect(await finishInTime(ask())).toMatchObject({ error: undefined, accountId: 'other' });
  });
});

it('an answer without an end is ended once it is longer than any answer', async () => {
  fixture.pool.add('one');
  let isLeft = false;
  fixture.upstream.answer = (call) => {
    call.response.on('close', () => {
      isLeft = true;
    });
    const line = `say ${'x'.repeat(1_000_000)}`;
    const goOn = (): void => {
      if (isLeft) return;
      say(call, line);
      setImmediate(goOn);
    };
    goOn();
  };
  const { summary, batches } = run();
  expect((await summary).error).toMatchObject({ code: 'upstream_protocol', failover: 'no' });
  const events = batches.flat();
  expect(events.at(-1)).toMatchObject({ type: 'error' });
  expect(events.filter(({ type }) => type === 'text-delta').length).toBeLessThanOrEqual(40);
  await vi.waitFor(() => expect(isLeft).toBe(true));
});
