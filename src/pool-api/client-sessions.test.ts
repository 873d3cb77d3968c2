import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { findFreePort } from '../core/testing/free-port.ts';
import { AccountPoolClient, isPoolError, PoolError } from './client.ts';
import {
  allocated,
  type FakeAnswer,
  type FakeCall,
  failed,
  leased,
  sessionIdOf,
  startFakePool,
} from './pool.fake.ts';

function friendly(call: FakeCall): FakeAnswer {
  if (call.path.endsWith('/allocate')) return allocated(call);
  if (call.path.endsWith('/report')) return { body: { success: true, results: [] } };
  return { body: { success: true, released: 1 } };
}

const paths = (calls: readonly FakeCall[]) => calls.map(({ path }) => path.split('/').at(-1));
const reportsOf = (calls: readonly FakeCall[]) =>
  calls.flatMap(({ path, body }) =>
    path.endsWith('/report') ? (body as { reports: { report_id: string; outcome: string }[] }).reports : [],
  );

/** Timers run only when the test moves the time; sockets go on. */
function freezeTimers(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
}

describe('a session', () => {
  it('is the same object for the same id, and learns the present bearers', async () => {
    let version = 3;
    await using pool = await startFakePool((call) => {
      if (!call.path.endsWith('/allocate')) return friendly(call);
      const answer = allocated(call).body;
      return {
        body: { ...answer, accounts: [{ ...leased, token_version: version, id_token: `b-${version}` }] },
      };
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate({ session_id: 'job-1' });
    expect((await session.token()).token).toBe('b-3');
    version = 4;
    expect(await client.allocate({ session_id: 'job-1' })).toBe(session);
    expect((await session.token()).token).toBe('b-4');
    expect(pool.calls).toHaveLength(2);
  });

  it('hears of lost leases and borrows again at its next use', async () => {
    let fence = 11;
    await using pool = await startFakePool((call) => {
      if (!call.path.endsWith('/allocate')) return friendly(call);
      return { body: { ...allocated(call).body, accounts: [{ ...leased, fence }] } };
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    const losses: unknown[] = [];
    const stop = session.onLost((loss) => losses.push(loss));
    fence = 12;
    await session.renew();
    expect(losses).toMatchObject([{ reason: 'session_expired', accounts: [{ id: 'acc-1', fence: 11 }] }]);
    stop();
    fence = 13;
    await session.renew();
    expect(losses).toHaveLength(1);
    expect((await session.token()).account.fence).toBe(13);
  });

  it('renews itself until it is released', async () => {
    freezeTimers();
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate({ ttl_seconds: 1 });
    await vi.waitFor(() => expect(pool.calls.length).toBeGreaterThanOrEqual(3));
    await session.release();
    const before = pool.calls.length;
    vi.advanceTimersByTime(10_000);
    await client.allocate({ session_id: 'another' }, { renew: false });
    expect(paths(pool.calls.slice(before))).toEqual(['allocate']);
  });

  it.each([false, AbortSignal.abort()])('is not renewed where that is not wanted', async (renew) => {
    freezeTimers();
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    await client.allocate({ ttl_seconds: 1 }, { renew });
    vi.advanceTimersByTime(10_000);
    await client.allocate({ session_id: 'another' }, { renew: false });
    expect(paths(pool.calls)).toEqual(['allocate', 'allocate']);
  });

  it('that was released gives no bearer and cannot be renewed', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    await session.release();
    expect(session).toMatchObject({ isReleased: true, accounts: [] });
    await expect(session.token()).rejects.toMatchObject({ code: 'session_not_found' });
    await expect(session.renew()).rejects.toMatchObject({ code: 'session_not_found' });
  });

  it('released late does not give back a newer session of the same id', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const old = await client.allocate({ session_id: 'job-1' });
    await old.release();
    const newer = await client.allocate({ session_id: 'job-1' });
    expect(newer).not.toBe(old);
    expect(await old.release()).toEqual({ success: true, released: 0 });
    expect(newer.isReleased).toBe(false);
    expect(paths(pool.calls)).toEqual(['allocate', 'release', 'allocate']);
  });

  it('goes back when the pool is there again after a release that failed', async () => {
    let isAway = true;
    await using pool = await startFakePool((call) =>
      isAway && call.path.endsWith('/release') ? 'reset' : friendly(call),
    );
    await using client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
    const session = await client.allocate();
    await expect(session.release()).rejects.toMatchObject({ code: 'pool_unavailable' });
    isAway = false;
    const count = pool.calls.length;
    await vi.waitFor(() => expect(paths(pool.calls.slice(count))).toContain('release'));
  });

  it('is not given back late when its id has been used again', async () => {
    freezeTimers();
    let isAway = true;
    await using pool = await startFakePool((call) =>
      isAway && call.path.endsWith('/release') ? 'reset' : friendly(call),
    );
    await using client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
    const session = await client.allocate({ session_id: 'job-1' });
    await expect(session.release()).rejects.toThrow();
    // The first retry comes immediately, and fails too.
    await vi.waitFor(() => expect(paths(pool.calls)).toEqual(['allocate', 'release', 'release']));
    isAway = false;
    await client.allocate({ session_id: 'job-1' });
    const count = pool.calls.length;
    await vi.advanceTimersByTimeAsync(800);
    // Closing releases the new session, and would wait for another running release.
    await client.close();
    expect(paths(pool.calls.slice(count))).toEqual(['release']);
  });

  it('that a broken call may have made goes back, although the last try never arrived', async () => {
    const port = await findFreePort();
    // It listens no more when the first call breaks, however soon the next one comes.
    const first = await startFakePool(
      () => {
        void first[Symbol.asyncDispose]();
        return 'reset';
      },
      { port },
    );
    await using client = new AccountPoolClient({ baseUrl: first.url, retries: 1, retryDelayMs: 1 });
    await expect(client.allocate()).rejects.toThrow(/ECONNREFUSED/);
    expect(first.calls).toHaveLength(1);
    await using again = await startFakePool(friendly, { port });
    await vi.waitFor(() => expect(paths(again.calls)).toEqual(['release']));
    expect(sessionIdOf(again.calls[0])).toBe(sessionIdOf(first.calls[0]));
  });

  it('waits at the pool no longer than was asked for, however often the call is tried', async () => {
    await using pool = await startFakePool((call, index) => (index === 0 ? 'reset' : friendly(call)));
    await using client = new AccountPoolClient({ baseUrl: pool.url, retryDelayMs: 100 });
    await client.allocate({ wait_ms: 20_000 });
    const waits = pool.calls.map(({ body }) => (body as { wait_ms: number }).wait_ms);
    expect(waits[1]).toBeLessThanOrEqual(19_950);
    expect(waits[1]).toBeGreaterThan(10_000);
  });
});

describe('queued reports', () => {
  it('go out together, before the session is released', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    for (let turn = 0; turn < 3; turn += 1) session.queueReport(leased, 'success', { usage: { turns: 1 } });
    expect(client.reports.pending).toBe(3);
    await session.release();
    expect(paths(pool.calls)).toEqual(['allocate', 'report', 'release']);
    expect(reportsOf(pool.calls)).toMatchObject([{ outcome: 'success', usage: { turns: 3 } }]);
    expect(client.reports).toEqual({ pending: 0, dropped: 0, refused: 0, lastRefusal: undefined });
  });

  it('go out at once when they change the account', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    freezeTimers();
    // Other reports go out by a timer, and timers stand still here.
    session.queueReport(leased, 'rate_limited', { retry_after_ms: 1_000 });
    while (pool.calls.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(paths(pool.calls)).toEqual(['allocate', 'report']);
  });

  it('are sent again with the same ids when the pool was away', async () => {
    let isAway = true;
    await using pool = await startFakePool((call) => {
      return isAway && call.path.endsWith('/report') ? failed(503, 'shutting_down') : friendly(call);
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
    const session = await client.allocate();
    session.queueReport(leased, 'success');
    session.queueReport(leased, 'timeout');
    await vi.waitFor(() => expect(reportsOf(pool.calls)).toHaveLength(2));
    isAway = false;
    await vi.waitFor(() => expect(client.reports.pending).toBe(0));
    const [first, second, ...again] = reportsOf(pool.calls);
    expect(again).toEqual([first, second]);
  });

  it('are kept up to 1,000, and successes are dropped first', async () => {
    let isAway = true;
    await using pool = await startFakePool((call) => {
      return isAway && call.path.endsWith('/report') ? failed(503, 'shutting_down') : friendly(call);
    });
    const client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
    const session = await client.allocate();
    session.queueReport(leased, 'unauthorized');
    for (let fence = 1; fence <= 1_200; fence += 1) session.queueReport({ ...leased, fence }, 'success');
    await vi.waitFor(() => expect(client.reports).toMatchObject({ pending: 1_000, dropped: 201 }));
    isAway = false;
    const before = pool.calls.length;
    await client.close();
    const sent = reportsOf(pool.calls.slice(before));
    expect(sent).toHaveLength(1_000);
    expect(sent[0]?.outcome).toBe('unauthorized');
  });

  it('that the pool refuses are counted, with the reason', async () => {
    await using pool = await startFakePool((call) =>
      call.path.endsWith('/report') ? failed(404, 'session_not_found') : friendly(call),
    );
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    session.queueReport(leased, 'timeout');
    await vi.waitFor(() => expect(client.reports.refused).toBe(1));
    expect(client.reports.lastRefusal?.code).toBe('session_not_found');
  });

  it('with figures the pool would refuse are an error at once', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    expect(() => session.queueReport(leased, 'success', { usage: { credits: Number.NaN } })).toThrow(
      expect.objectContaining({ code: 'invalid_request', param: 'usage.credits' }),
    );
    expect(client.reports.pending).toBe(0);
  });

  it('bring newer bearers to the session', async () => {
    await using pool = await startFakePool((call) => {
      if (!call.path.endsWith('/report')) return friendly(call);
      const result = {
        report_id: 'r',
        account_id: 'acc-1',
        result: 'stale',
        status: 'active',
        status_until: null,
      };
      const newer = { id_token: 'newer', token_version: 4, token_expires_at: null };
      return { body: { success: true, results: [{ ...result, ...newer }] } };
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    session.queueReport(leased, 'unauthorized');
    await vi.waitFor(async () => expect((await session.token()).token).toBe('newer'));
  });
});

describe('a client', () => {
  it('has one block or session for an id', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    client.block({ count: 1, session_id: 'mine' });
    expect(() => client.block({ count: 1, session_id: 'mine' })).toThrow(
      expect.objectContaining({ code: 'session_mismatch' }),
    );
    expect(pool.calls).toHaveLength(0);
  });

  it('gives back what its blocks hold when it is closed', async () => {
    await using pool = await startFakePool((call) =>
      call.path.endsWith('/events') ? 'hang' : friendly(call),
    );
    const client = new AccountPoolClient({ baseUrl: pool.url });
    const block = client.block({ count: 1 });
    const lease = await block.take();
    lease.report('success');
    await client.close();
    const called = paths(pool.calls).filter((path) => path !== 'events');
    expect(called).toEqual(['allocate', 'report', 'release']);
    expect(lease.isHeld).toBe(false);
    await expect(block.take()).rejects.toThrow();
  });

  it('waits for a pool behind a proxy that says 502, 503 or 504 meanwhile', async () => {
    await using pool = await startFakePool((call, index) =>
      index < 3 ? { status: 502 + index, body: 'Bad Gateway' } : friendly(call),
    );
    await using client = new AccountPoolClient({ baseUrl: pool.url, retryDelayMs: 1 });
    await client.allocate();
    expect(pool.calls).toHaveLength(4);
  });

  it('tells its errors from others by type and code', () => {
    const error: unknown = new PoolError('forbidden', 'no');
    expect([isPoolError(error), isPoolError(error, 'forbidden'), isPoolError(error, 'internal')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(isPoolError(new Error('no'))).toBe(false);
  });
});
