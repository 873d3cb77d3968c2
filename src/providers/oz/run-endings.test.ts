import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { settled } from '../../gateway/testing/manual-clock.ts';
import { begin } from './run.fake.ts';

describe('a run that goes wrong', () => {
  it.each([
    ['FAILED', undefined, 'upstream_unavailable'],
    ['FAILED', 'insufficient_credits', 'upstream_quota_exhausted'],
    ['FAILED', 'budget_exceeded', 'upstream_quota_exhausted'],
    ['FAILED', 'not_authorized', 'upstream_refused'],
    ['FAILED', 'content_policy_violation', 'invalid_request'],
    ['FAILED', 'environment_setup_failed', 'invalid_request'],
    ['ERROR', 'authentication_required', 'upstream_unauthorized'],
    ['ERROR', 'resource_unavailable', 'upstream_unavailable'],
    ['BLOCKED', undefined, 'invalid_request'],
    ['CANCELLED', undefined, 'upstream_unavailable'],
    ['FAILED', 'constructor', 'upstream_unavailable'],
    ['FAILED', '__proto__', 'upstream_unavailable'],
  ] as const)('as %s with %s is the error %s', async (state, error_code, code) => {
    const { oz, clock, start, error, batches } = begin();
    oz.state.run = { state, status_message: { message: 'secret words', error_code } };
    start();
    await clock.advance(2_000);
    expect(error()).toMatchObject({ code, isFinal: false });
    expect(error()?.message).not.toContain('secret');
    expect(batches).toHaveLength(1);
    expect(oz.calls()).not.toContain('POST /agent/runs/r1/cancel');
  });

  it('after its work has begun is not begun again elsewhere', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.run = { state: 'ERROR', started_at: '2026-01-01T00:00:00Z' };
    start();
    await clock.advance(2_000);
    expect(error()?.failover).toBe('no');
  });

  it('keeps no answer for a whole one that took back what it had said', async () => {
    const { oz, clock, start, error, text } = begin();
    oz.state.run = { state: 'INPROGRESS' };
    oz.state.said = ['One'];
    start();
    await clock.advance(1_000);
    oz.state.run = { state: 'SUCCEEDED' };
    oz.state.said = ['Two'];
    await clock.advance(5_000);
    expect([text(), error()?.code]).toEqual(['One', 'upstream_protocol']);
  });

  it('waits a little for the conversation of a run that has ended well, then says that there is none', async () => {
    const missing = () => ({ status: 404, body: {} });
    const late = begin();
    late.oz.state.run = { state: 'SUCCEEDED' };
    late.oz.state.conversation = missing;
    late.start();
    await late.clock.advance(2_000);
    late.oz.state.conversation = undefined;
    late.oz.state.said = ['Here.'];
    await late.clock.advance(5_000);
    expect(late.text()).toBe('Here.');

    const never = begin();
    never.oz.state.run = { state: 'SUCCEEDED' };
    never.oz.state.conversation = missing;
    never.start();
    await never.clock.advance(30_000);
    expect(never.error()).toMatchObject({ code: 'upstream_protocol', isFinal: true });
  });

  it('goes on through looks that fail in passing', async () => {
    const { oz, clock, start, text } = begin();
    oz.state.look = () => ({ status: 503, body: {} });
    start();
    await clock.advance(30_000);
    oz.state.look = () => {
      throw new AppError('upstream_unavailable', 'away');
    };
    await clock.advance(30_000);
    oz.state.look = undefined;
    oz.state.run = { state: 'SUCCEEDED' };
    oz.state.said = ['Here.'];
    await clock.advance(10_000);
    expect(text()).toBe('Here.');
  });

  it('keeps to the time it is asked to wait', async () => {
    const { oz, clock, start } = begin();
    oz.state.look = () => ({ status: 429, body: {}, headers: { 'retry-after': '40' } });
    start();
    await clock.advance(1_000);
    expect(oz.asked).toHaveLength(2);
    await clock.advance(39_000);
    expect(oz.asked).toHaveLength(2);
    await clock.advance(1_000);
    expect(oz.asked).toHaveLength(3);
  });

  it('ends at once when the key is no longer taken', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.look = () => ({ status: 401, body: {} });
    start();
    await clock.advance(1_000);
    expect(error()).toMatchObject({ code: 'upstream_unauthorized', isFinal: true });
  });
});

describe('whose fault an end is', () => {
  it.each([
    ['FAILED', undefined, undefined, 'upstream', 'once'],
    ['FAILED', undefined, false, 'upstream', 'no'],
    ['FAILED', 'insufficient_credits', false, 'account', 'yes'],
    ['FAILED', 'content_policy_violation', false, 'request', 'no'],
    ['ERROR', 'internal_error', true, 'upstream', 'once'],
    ['ERROR', 'agent_process_failed', false, 'upstream', 'no'],
    ['ERROR', 'infrastructure_timeout', false, 'upstream', 'no'],
    ['BLOCKED', undefined, undefined, 'request', 'no'],
    ['CANCELLED', undefined, undefined, 'request', 'no'],
  ] as const)(
    '%s with %s, retryable %s: %s, another account: %s',
    async (state, error_code, retryable, fault, failover) => {
      const { oz, clock, start, error } = begin();
      oz.state.run = { state, status_message: { message: 'x', error_code, retryable } };
      start();
      await clock.advance(2_000);
      expect(error()).toMatchObject({ fault, failover });
    },
  );

  it('stays what it was when nothing may be tried again', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.begin = () => ({ status: 502, page: '<html>Bad gateway</html>' });
    start();
    await clock.advance(60_000);
    expect(error()).toMatchObject({ fault: 'network', isFinal: true, outcome: undefined });
  });
});

describe('a page in place of the answer', () => {
  const page = '<html><title>403 Forbidden</title></html>';

  it.each([
    [302, 'upstream_unavailable', 'once'],
    [401, 'upstream_unavailable', 'once'],
    [402, 'upstream_unavailable', 'once'],
    [403, 'upstream_unavailable', 'once'],
    [404, 'upstream_unavailable', 'once'],
    [429, 'upstream_rate_limited', 'no'],
  ])('to the beginning with status %i is %s of the network', async (status, code, failover) => {
    const { oz, clock, start, error } = begin();
    oz.state.begin = () => ({ status, page });
    const call = start();
    await clock.advance(0);
    expect(error()).toMatchObject({ code, failover, fault: 'network', outcome: undefined, isFinal: false });
    expect([call.isTaken, oz.asked.length]).toEqual([false, 1]);
  });

  it('about the size is a request that is too large', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.begin = () => ({ status: 413, page });
    start();
    await clock.advance(0);
    expect(error()).toMatchObject({ code: 'too_large', fault: 'request', failover: 'no' });
  });

  it('with status 200 leaves it open whether a run was begun', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.begin = () => ({ page });
    start();
    await clock.advance(60_000);
    expect(error()).toMatchObject({ code: 'upstream_unavailable', fault: 'network', isFinal: true });
    expect(oz.calls().filter((call) => call.startsWith('POST'))).toEqual(['POST /agent/runs']);
  });

  it.each([200, 401, 403, 404])('with status %i ends no run that is followed', async (status) => {
    const { oz, clock, start, text } = begin();
    oz.state.look = () => ({ status, page });
    start();
    await clock.advance(30_000);
    oz.state.look = undefined;
    oz.state.run = { state: 'SUCCEEDED' };
    oz.state.said = ['Here.'];
    await clock.advance(10_000);
    expect(text()).toBe('Here.');
  });

  it('to a cancellation is no end of the run: it is cancelled again', async () => {
    const { oz, clock, start, isClosed } = begin();
    const call = start();
    await clock.advance(1_000);
    oz.state.cancel = () => ({ status: 403, page });
    call.abort(new AppError('cancelled', 'The client left.'));
    await clock.advance(3_000);
    oz.state.cancel = () => ({ body: 'r1' });
    await clock.advance(5_000);
    expect(isClosed()).toBe(true);
    expect(oz.calls().filter((one) => one.endsWith('/cancel')).length).toBeGreaterThan(1);
  });
});

describe('a run that nobody wants any more', () => {
  it('is cancelled at once when the call is ended', async () => {
    const { oz, clock, start, error, isClosed } = begin();
    const call = start();
    await clock.advance(2_500);
    const asked = oz.asked.length;
    call.abort(new AppError('cancelled', 'The client left.'));
    expect(error()?.code).toBe('cancelled');
    await settled();
    expect(oz.calls().slice(asked)).toEqual(['POST /agent/runs/r1/cancel']);
    expect(isClosed()).toBe(true);
  });

  it('is cancelled without a word when its reader has enough', async () => {
    const { oz, clock, start, batches } = begin();
    const call = start();
    await clock.advance(1_000);
    call.discard();
    await settled();
    expect(oz.calls().at(-1)).toBe('POST /agent/runs/r1/cancel');
    expect(batches).toEqual([]);
  });

  it('is cancelled although its id was still on the way', async () => {
    const { oz, clock, start } = begin();
    const call = start();
    call.abort(new AppError('cancelled', 'The client left.'));
    await settled();
    expect(oz.asked).toHaveLength(0);

    const later = begin();
    const second = later.start();
    later.oz.state.begin = () => {
      second.abort(new AppError('cancelled', 'The client left.'));
      return { body: { run_id: 'r1' } };
    };
    await settled();
    await clock.advance(0);
    expect(later.oz.calls()).toEqual(['POST /agent/runs', 'POST /agent/runs/r1/cancel']);
  });

  it('is cancelled again and again while it is being prepared', async () => {
    const { oz, clock, start, isClosed } = begin();
    const call = start();
    await clock.advance(1_000);
    oz.state.cancel = () => ({ status: 409, body: {} });
    call.abort(new AppError('cancelled', 'The client left.'));
    await clock.advance(3_000);
    expect(isClosed()).toBe(false);
    oz.state.cancel = () => ({ body: 'r1' });
    await clock.advance(5_000);
    expect(isClosed()).toBe(true);
    const cancels = oz.calls().filter((call) => call.endsWith('/cancel'));
    expect(cancels.length).toBeGreaterThan(2);
  });

  it('is left alone after a minute in which it could not be cancelled', async () => {
    const { oz, clock, start, isClosed } = begin();
    const call = start();
    await clock.advance(1_000);
    oz.state.cancel = () => ({ status: 503, body: {} });
    call.abort(new AppError('cancelled', 'The client left.'));
    await clock.advance(70_000);
    expect(isClosed()).toBe(true);
  });

  it('is cancelled at the time limit, though it is known to work', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.run = { state: 'INPROGRESS' };
    const call = start();
    await clock.advance(599_000);
    call.checkTimeouts(clock.monotonic());
    expect(error()).toBeUndefined();
    await clock.advance(1_000);
    call.checkTimeouts(clock.monotonic());
    await settled();
    expect(error()).toMatchObject({ code: 'upstream_timeout', isFinal: true });
    expect(oz.calls().at(-1)).toBe('POST /agent/runs/r1/cancel');
  });

  it('is cancelled when nothing has been heard of it for too long', async () => {
    const { oz, clock, start, error } = begin();
    oz.state.look = () => ({ status: 503, body: {} });
    const call = start();
    await clock.advance(121_000);
    call.checkTimeouts(clock.monotonic());
    await settled();
    expect(error()).toMatchObject({ code: 'upstream_unavailable', isFinal: true });
    expect(oz.calls().at(-1)).toBe('POST /agent/runs/r1/cancel');
  });

  it('is waited for by whoever closes, but not for long', async () => {
    const { oz, clock, start, provider } = begin();
    const call = start();
    await clock.advance(1_000);
    oz.state.cancel = () => ({ status: 409, body: {} });
    call.abort(new AppError('shutting_down', 'Stopping.'));
    let isDone = false;
    const closing = provider.caller.close().then(() => {
      isDone = true;
    });
    await clock.advance(4_000);
    expect(isDone).toBe(false);
    await clock.advance(1_000);
    await closing;
    expect(isDone).toBe(true);
  });
});

describe('when the answer to the beginning is lost', () => {
  const lost = () => {
    throw new AppError('upstream_unavailable', 'The connection broke.');
  };

  it('the run is found by its name and followed, and none is begun twice', async () => {
    const { oz, clock, start, text } = begin();
    oz.state.begin = lost;
    start();
    await clock.advance(1_000);
    oz.state.found = ['r1'];
    oz.state.run = { state: 'SUCCEEDED' };
    oz.state.said = ['Here.'];
    await clock.advance(10_000);
    expect(text()).toBe('Here.');
    expect(oz.calls()).toEqual([
      'POST /agent/runs',
      'GET /agent/runs?name=…&limit=1',
      'GET /agent/runs?name=…&limit=1',
      'GET /agent/runs/r1',
      'GET /agent/runs/r1/conversation',
    ]);
    const [begun, lookedFor] = oz.asked;
    const config = begun?.body?.['config'] as { name: string } | undefined;
    expect(lookedFor?.call).toContain(`name=${config?.name}`);
  });

  it.each([
    ['a broken connection', lost],
    ['500', () => ({ status: 500, body: {} })],
    ['an answer without an id', () => ({ body: {} })],
  ])('and no run is found after %s, no other account begins one', async (_what, answer) => {
    const { oz, clock, start, error } = begin();
    oz.state.begin = answer;
    start();
    await clock.advance(60_000);
    expect(error()?.failover).toBe('no');
    expect(oz.calls().filter((call) => call.startsWith('POST'))).toEqual(['POST /agent/runs']);
  });

  it('the run is cancelled all the same if the client has left meanwhile', async () => {
    const { oz, clock, start } = begin();
    oz.state.begin = lost;
    const call = start();
    await clock.advance(0);
    call.abort(new AppError('cancelled', 'The client left.'));
    oz.state.found = ['r1'];
    await clock.advance(2_000);
    expect(oz.calls().at(-1)).toBe('POST /agent/runs/r1/cancel');
  });
});

it('a request that never came there is no lost one: another account may begin the run', async () => {
  const { oz, clock, start, error } = begin();
  oz.state.begin = () => {
    const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
    throw new AppError('upstream_unavailable', 'away', { cause });
  };
  const call = start();
  await clock.advance(0);
  expect(error()).toMatchObject({ code: 'upstream_unavailable', failover: 'yes' });
  expect([call.isTaken, oz.asked.length]).toEqual([false, 1]);
});

describe('a refusal to begin', () => {
  const problem = (code: string) => ({ type: `https://docs.example.test/errors/${code}/` });
  it.each([
    [400, problem('invalid_request'), 'invalid_request'],
    [401, problem('authentication-required'), 'upstream_unauthorized'],
    [401, {}, 'upstream_unauthorized'],
    [401, problem('external_authentication_required'), 'upstream_refused'],
    [402, {}, 'upstream_quota_exhausted'],
    [403, problem('insufficient-credits'), 'upstream_quota_exhausted'],
    [403, problem('budget_exceeded'), 'upstream_quota_exhausted'],
    [403, problem('feature_not_available'), 'upstream_refused'],
    [403, problem('content_policy_violation'), 'invalid_request'],
    [403, {}, 'upstream_refused'],
    [404, problem('resource_not_found'), 'invalid_request'],
    [422, problem('operation_not_supported'), 'invalid_request'],
    [429, problem('resource_unavailable'), 'upstream_rate_limited'],
    [429, {}, 'upstream_rate_limited'],
    [
      403,
      { type: '/factories/api-and-sdk/troubleshooting/errors/budget-exceeded/' },
      'upstream_quota_exhausted',
    ],
    [403, { retryable: true }, 'upstream_unavailable'],
    [409, problem('conflict'), 'upstream_unavailable'],
    [413, {}, 'too_large'],
    [418, problem('a_new_word'), 'invalid_request'],
    [500, problem('resource_unavailable'), 'upstream_unavailable'],
  ])(
    'of %i %j is the error %s, and another account may be tried as the table says',
    async (status, body, code) => {
      const { oz, clock, start, error, isClosed } = begin();
      oz.state.begin = () => ({ status, body, headers: { 'retry-after': '3' } });
      const call = start();
      await clock.advance(0);
      expect(error()).toMatchObject({ code, isFinal: false, retryAfterMs: 3_000 });
      expect([call.isTaken, isClosed()]).toEqual([false, true]);
      expect(oz.asked).toHaveLength(1);
    },
  );
});
