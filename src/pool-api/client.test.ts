import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { findFreePort } from '../core/testing/free-port.ts';
import { AccountPoolClient, PoolError } from './client.ts';
import {
  allocated,
  type FakeAnswer,
  type FakeCall,
  failed,
  leased,
  poolStatus,
  sessionIdOf,
  startFakePool,
} from './pool.fake.ts';

const released = { body: { success: true, released: 1 } };

/** Lends to everyone and takes everything back. */
function friendly(call: FakeCall): FakeAnswer {
  if (call.path === '/api/accounts/allocate') return allocated(call);
  if (call.path === '/api/accounts/status') return { body: poolStatus };
  if (call.path === '/api/accounts/report') return { body: { success: true, results: [] } };
  return released;
}

async function errorOf(promise: Promise<unknown>): Promise<PoolError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof PoolError) return error;
  throw new Error(`expected a PoolError, got ${String(error)}`);
}

describe('AccountPoolClient', () => {
  it('borrows accounts, keeps the session in its books and gives it back', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url, apiKey: 'borrower' });
    const session = await client.allocate({ provider: 'warp', count: 1 });
    expect(session).toMatchObject({ accounts: [leased], created: true });
    expect(session.expiresAt).toEqual(new Date('2030-01-01T00:30:00Z'));
    expect([...client.sessions.keys()]).toEqual([session.sessionId]);
    expect(pool.calls[0]).toMatchObject({
      body: { provider: 'warp', count: 1, session_id: session.sessionId },
      headers: { authorization: 'Bearer borrower' },
    });

    expect(await session.release()).toEqual({ success: true, released: 1 });
    expect(client.sessions.size).toBe(0);
    expect(pool.calls[1]).toMatchObject({ body: { session_id: session.sessionId } });
  });

  it('keeps waiting for a pool that is not up yet', async () => {
    const port = await findFreePort();
    await using client = new AccountPoolClient({
      baseUrl: `http://127.0.0.1:${port}`,
      retryDelayMs: 50,
      retries: 20,
    });
    const session = client.allocate();
    await sleep(40);
    await using pool = await startFakePool(friendly, { port });
    expect((await session).accounts).toHaveLength(1);
    expect(pool.calls).toHaveLength(1);
    await (await session).release();
  });

  it('repeats an allocate whose connection broke with the same session id, so that it cannot lease twice', async () => {
    await using pool = await startFakePool((call, index) => (index < 2 ? 'reset' : friendly(call)));
    await using client = new AccountPoolClient({ baseUrl: pool.url, retryDelayMs: 1 });
    const session = await client.allocate();
    const ids = pool.calls.slice(0, 3).map(sessionIdOf);
    expect(ids).toEqual([session.sessionId, session.sessionId, session.sessionId]);
  });

  it('repeats a report with the same report ids', async () => {
    await using pool = await startFakePool((call, index) => (index === 0 ? 'reset' : friendly(call)));
    await using client = new AccountPoolClient({ baseUrl: pool.url, retryDelayMs: 1 });
    await client.report('s-1', [
      { account_id: 'acc-1', fence: 11, token_version: 3, outcome: 'success', usage: { turns: 2 } },
    ]);
    expect(pool.calls).toHaveLength(2);
    expect(pool.calls[1]?.body).toEqual(pool.calls[0]?.body);
    expect(pool.calls[0]?.body).toEqual({
      session_id: 's-1',
      reports: [
        {
          account_id: 'acc-1',
          fence: 11,
          token_version: 3,
          outcome: 'success',
          usage: { turns: 2 },
          report_id: expect.any(String),
          at: expect.stringMatching(/Z$/),
        },
      ],
    });
  });

  it('gives up after its retries with pool_unavailable and says where it looked', async () => {
    const port = await findFreePort();
    await using client = new AccountPoolClient({ baseUrl: `http://127.0.0.1:${port}`, retryDelayMs: 1 });
    const error = await errorOf(client.status());
    expect(error).toMatchObject({ code: 'pool_unavailable', status: 503 });
    expect(error.message).toContain(`http://127.0.0.1:${port} cannot be reached (ECONNREFUSED)`);
  });

  it('does not repeat what the pool refused', async () => {
    await using pool = await startFakePool(() => failed(503, 'no_account_available'));
    await using client = new AccountPoolClient({ baseUrl: pool.url, retryDelayMs: 1 });
    expect((await errorOf(client.allocate())).code).toBe('no_account_available');
    expect(pool.calls).toHaveLength(1);
  });

  it('waits out a pool that restarts', async () => {
    await using pool = await startFakePool((call, index) =>
      index === 0 ? failed(503, 'shutting_down') : friendly(call),
    );
    await using client = new AccountPoolClient({ baseUrl: pool.url, retryDelayMs: 1 });
    expect((await client.status()).health).toBe('healthy');
  });

  it('takes a release of an unknown session as done', async () => {
    await using pool = await startFakePool((call) =>
      call.path.endsWith('/release') ? failed(404, 'session_not_found') : friendly(call),
    );
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    expect(await session.release()).toEqual({ success: true, released: 0 });
    expect(await client.release('never-was')).toEqual({ success: true, released: 0 });
    expect(client.sessions.size).toBe(0);
  });

  it('keeps a session in its books when only some leases were given back', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const session = await client.allocate();
    await client.release(session, { leases: [{ id: 'acc-1', fence: 11 }] });
    expect(pool.calls[1]?.body).toEqual({
      session_id: session.sessionId,
      leases: [{ id: 'acc-1', fence: 11 }],
    });
    expect(client.sessions.has(session.sessionId)).toBe(true);
  });

  it('gives back at the end of an await using block, also when the block throws', async () => {
    await using pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const failing = async () => {
      await using session = await client.allocate();
      throw new Error(`work failed with ${session.accounts.length} account`);
    };
    await expect(failing()).rejects.toThrow('work failed with 1 account');
    expect(pool.calls.map((call) => call.path)).toEqual(['/api/accounts/allocate', '/api/accounts/release']);
  });

  it('lets the error of an await using block through when the pool is gone by then', async () => {
    const pool = await startFakePool(friendly);
    await using client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
    const failing = async () => {
      await using _session = await client.allocate();
      await pool[Symbol.asyncDispose]();
      throw new Error('work failed');
    };
    await expect(failing()).rejects.toThrow('work failed');
  });

  it('gives back everything it still holds when it is closed, and then refuses to borrow', async () => {
    await using pool = await startFakePool(friendly);
    const client = new AccountPoolClient({ baseUrl: pool.url });
    const sessions = [await client.allocate(), await client.allocate()];
    await client.close();
    await client.close();
    const given = pool.calls.filter((call) => call.path.endsWith('/release')).map(sessionIdOf);
    expect(given.sort()).toEqual(sessions.map((session) => session.sessionId).sort());
    expect((await errorOf(client.allocate())).message).toBe('This client is closed.');
  });

  it('gives back what an allocate may have leased when it is closed meanwhile', async () => {
    await using pool = await startFakePool((call) => (call.path.endsWith('/allocate') ? 'hang' : released));
    const client = new AccountPoolClient({ baseUrl: pool.url });
    const waiting = errorOf(client.allocate({ wait_ms: 5_000 }));
    await vi.waitFor(() => expect(pool.calls).toHaveLength(1));
    await client.close();
    expect((await waiting).code).toBe('pool_unavailable');
    expect(pool.calls[1]?.path).toBe('/api/accounts/release');
    expect(sessionIdOf(pool.calls[1])).toBe(sessionIdOf(pool.calls[0]));
  });

  it('ends a waiting allocate when its signal aborts, and gives back what may have been leased', async () => {
    await using pool = await startFakePool((call) => (call.path.endsWith('/allocate') ? 'hang' : released));
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    const controller = new AbortController();
    const waiting = client.allocate({ wait_ms: 60_000 }, { signal: controller.signal });
    await vi.waitFor(() => expect(pool.calls).toHaveLength(1));
    controller.abort(new Error('changed my mind'));
    await expect(waiting).rejects.toThrow('changed my mind');
    await vi.waitFor(() => expect(pool.calls).toHaveLength(2));
    expect(sessionIdOf(pool.calls[1])).toBe(sessionIdOf(pool.calls[0]));
  });

  it('ends the wait between two tries when the signal aborts', async () => {
    const port = await findFreePort();
    await using client = new AccountPoolClient({ baseUrl: `http://127.0.0.1:${port}`, retryDelayMs: 5_000 });
    const signal = AbortSignal.timeout(30);
    await expect(client.status({ signal })).rejects.toThrow(/timeout/);
  });

  it('gives up on a pool that takes the call and does not answer in time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const asked = Promise.withResolvers<void>();
    await using pool = await startFakePool(() => {
      asked.resolve();
      return 'hang';
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url, timeoutMs: 1_000 });
    const late = errorOf(client.status());
    await asked.promise;
    vi.advanceTimersByTime(1_000);
    expect((await late).message).toMatch(/did not answer within 1000 ms/);
    expect(pool.calls).toHaveLength(1);
  });

  it('takes an answer that came while this process paused for longer than its limit', async () => {
    const later = setTimeout;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    await using pool = await startFakePool((call) => {
      // Timers that are due have their turn before what has arrived.
      later(() => vi.advanceTimersByTime(1_000), 1);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
      return friendly(call);
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url, timeoutMs: 1_000 });
    expect((await client.status()).running).toBe(true);
    expect(pool.calls).toHaveLength(1);
  });

  it.each(['127.0.0.1', '::1'])('reaches a pool on %s as localhost', async (host) => {
    // Nobody else's under the other address, which the client may try first.
    await using pool = await startFakePool(friendly, { host, port: await findFreePort() });
    await using client = new AccountPoolClient({ baseUrl: `http://localhost:${pool.port}` });
    expect((await client.status()).running).toBe(true);
  });

  it('uses one connection for calls that follow each other', async () => {
    const ports = new Set<number | undefined>();
    await using pool = await startFakePool(() => (response) => {
      ports.add(response.socket?.remotePort);
      response.end(JSON.stringify(poolStatus));
    });
    await using client = new AccountPoolClient({ baseUrl: pool.url });
    for (let call = 0; call < 5; call += 1) await client.status();
    expect(pool.calls).toHaveLength(5);
    expect(ports.size).toBe(1);
  });
});

describe('errors of the pool', () => {
  async function statusError(answer: FakeAnswer): Promise<PoolError> {
    await using pool = await startFakePool(() => answer);
    await using client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
    return await errorOf(client.status());
  }

  it('carry code, param, retry time and shortage', async () => {
    const shortage = {
      matching: 2,
      reasons: { leased: 2 },
      holders: { exclusive: 1, shared: 0, gateway: 1 },
    };
    const answer = {
      ...failed(503, 'no_account_available', { shortage }),
      headers: { 'retry-after': '12' },
    };
    expect(await statusError(answer)).toMatchObject({
      code: 'no_account_available',
      message: 'it is no_account_available',
      retryAfterMs: 12_000,
      shortage,
    });
    const dated = {
      ...failed(503, 'no_account_available'),
      headers: { date: 'Thu, 01 Jan 2026 00:00:00 GMT', 'retry-after': 'Thu, 01 Jan 2026 00:00:30 GMT' },
    };
    expect(await statusError(dated)).toMatchObject({ retryAfterMs: 30_000 });
    expect(await statusError(failed(400, 'unknown_field', { param: 'colour' }))).toMatchObject({
      code: 'unknown_field',
      param: 'colour',
    });
  });

  it.each([
    [409, 'from_the_future', 'invalid_request'],
    [403, 'foreign_host', 'forbidden'],
    [500, 'toString', 'internal'],
  ])('of status %i with the unknown code %s count as %s', async (status, code, expected) => {
    expect((await statusError(failed(status, code))).code).toBe(expected);
  });

  it('are pool_unavailable when something else answers there', async () => {
    const page = (response: { end(text: string): unknown }) => {
      response.end('<html>It works!</html>');
    };
    expect(await statusError(page)).toMatchObject({
      code: 'pool_unavailable',
      message: expect.stringMatching(/check the address/),
    });
    expect((await statusError({ status: 502, body: 'Bad Gateway' })).code).toBe('pool_unavailable');
    expect((await statusError({ body: { success: true } })).code).toBe('pool_unavailable');
  });

  it('name an address or a key that cannot work before anything is sent', () => {
    expect(() => new AccountPoolClient({ baseUrl: 'localhost:8019' })).toThrow(/no http or https address/);
    expect(() => new AccountPoolClient({ apiKey: 'line\nbreak' })).toThrow(PoolError);
  });
});
