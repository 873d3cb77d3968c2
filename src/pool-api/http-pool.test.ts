import type { ServerResponse } from 'node:http';
import { describe, expect, it, vi } from 'vitest';
import { cpuSecondsOf } from '../core/testing/cpu-time.ts';
import { findFreePort } from '../core/testing/free-port.ts';
import { NotPoolError } from './errors.ts';
import { createHttpPool, createHttpPoolAdmin } from './http-pool.ts';
import { allocated, createAccount, failed, poolStatus, sessionIdOf, startFakePool } from './pool.fake.ts';
import type { PoolEvent } from './schema.ts';

const removed: PoolEvent = { type: 'account-removed', account_id: 'acc-1', provider: 'warp' };
const wanted: PoolEvent = { type: 'lease-wanted', account_ids: ['acc-2'] };

/** Starts an event stream with these messages and leaves it open. */
function stream(...messages: readonly (readonly [id: string, data: unknown])[]) {
  return (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    for (const [id, data] of messages) response.write(`id: ${id}\ndata: ${JSON.stringify(data)}\n\n`);
  };
}

function listen(url: string, options: { eventSilenceMs?: number } = {}) {
  const pool = createHttpPool({ baseUrl: url, ...options });
  const controller = new AbortController();
  const events: PoolEvent[] = [];
  const states: boolean[] = [];
  pool.subscribe(
    (event) => events.push(event),
    (isConnected) => states.push(isConnected),
    controller.signal,
  );
  return {
    events,
    states,
    abort: () => controller.abort(),
    [Symbol.asyncDispose]: async () => {
      controller.abort();
      await pool.close();
    },
  };
}

describe('createHttpPool', () => {
  it('bridges one broken connection with the same session id', async () => {
    await using fake = await startFakePool((call, index) => (index === 0 ? 'reset' : allocated(call)));
    const pool = createHttpPool({ baseUrl: fake.url });
    const answer = await pool.allocate({ provider: 'warp' });
    expect(fake.calls.map(sessionIdOf)).toEqual([answer.session_id, answer.session_id]);
    await pool.close();
  });

  it('does not take a gateway, or anything else that answers, for the pool', async () => {
    const health = { status: 'ok', sandbox: true, version: '1', pool: { mode: 'inside', reachable: true } };
    await using gateway = await startFakePool(({ method }) => (response) => {
      response.writeHead(method === 'GET' ? 200 : 404, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(method === 'GET' ? health : { error: { message: 'no', code: 'not_found' } }),
      );
    });
    const pool = createHttpPool({ baseUrl: gateway.url });
    expect(await pool.health()).toMatchObject({ isReachable: false });
    await expect(pool.allocate({})).rejects.toThrow(NotPoolError);
    await pool.close();
  });

  it.each([
    ['a page', '<!doctype html><title>Files</title>'],
    ['JSON of something else', '{"models":[]}'],
  ])('does not take %s for an answer of the pool', async (_what, body) => {
    await using other = await startFakePool(() => (response) => {
      response.end(body);
    });
    const pool = createHttpPool({ baseUrl: other.url });
    expect(await pool.health()).toMatchObject({ isReachable: false });
    await expect(pool.allocate({})).rejects.toThrow(NotPoolError);
    await expect(pool.allocate({})).rejects.toMatchObject({ cause: expect.any(Error) });
    await pool.close();
  });

  it('says pool_unavailable after one quick retry', async () => {
    await using fake = await startFakePool(() => 'reset');
    const pool = createHttpPool({ baseUrl: fake.url });
    const report = { session_id: 's-1', reports: [] };
    await expect(pool.report(report)).rejects.toMatchObject({ code: 'pool_unavailable' });
    expect(fake.calls).toHaveLength(2);
    await pool.close();
  });

  it('keeps a prefix of the address and a given session id', async () => {
    await using fake = await startFakePool(allocated);
    const pool = createHttpPool({ baseUrl: `${fake.url}/pool/` });
    await pool.allocate({ session_id: 'mine' });
    expect(fake.calls[0]).toMatchObject({
      path: '/pool/api/accounts/allocate',
      body: { session_id: 'mine' },
    });
    await pool.close();
  });

  it('lets session_not_found through, for the caller keeps its own books', async () => {
    await using fake = await startFakePool(() => failed(404, 'session_not_found'));
    const pool = createHttpPool({ baseUrl: fake.url });
    await expect(pool.release({ session_id: 's-1' })).rejects.toMatchObject({ code: 'session_not_found' });
    await pool.close();
  });

  it('tells whether the pool answers and lends sandbox accounts', async () => {
    await using fake = await startFakePool(() => ({
      body: { status: 'ok', sandbox: true, version: '1.0.0' },
    }));
    const pool = createHttpPool({ baseUrl: fake.url });
    expect(await pool.health()).toEqual({ isReachable: true, isSandbox: true, gatewayOnly: 0 });
    const away = createHttpPool({ baseUrl: `http://127.0.0.1:${await findFreePort()}` });
    expect(await away.health()).toEqual({ isReachable: false, isSandbox: false, gatewayOnly: 0 });
    await Promise.all([pool.close(), away.close()]);
  });
});

describe('events', () => {
  it('are handed on, and those of an unknown kind passed over', async () => {
    await using fake = await startFakePool(() =>
      stream(['1', removed], ['2', { type: 'from-the-future' }], ['3', wanted]),
    );
    await using listener = listen(fake.url);
    await vi.waitFor(() => expect(listener.events).toEqual([removed, wanted]));
    expect(listener.states).toEqual([true]);
    expect(fake.calls[0]).toMatchObject({ path: '/api/events', headers: { accept: 'text/event-stream' } });
  });

  it('go on after the connection broke, from the last one seen', async () => {
    let breakOff = (): void => {};
    await using fake = await startFakePool((_call, index) => (response) => {
      if (index === 0) {
        stream(['7', removed])(response);
        breakOff = () => void response.socket?.resetAndDestroy();
      } else if (index === 1) {
        response.writeHead(503).end();
      } else {
        stream(['8', wanted])(response);
      }
    });
    await using listener = listen(fake.url);
    // What the client has not read yet goes with the connection.
    await vi.waitFor(() => expect(listener.events).toEqual([removed]));
    breakOff();
    await vi.waitFor(() => expect(listener.events).toEqual([removed, wanted]));
    expect(listener.states).toEqual([true, false, true]);
    expect(fake.calls.map((call) => call.headers['last-event-id'])).toEqual([undefined, '7', '7']);
  });

  it('go on from an id that came without an event', async () => {
    await using fake = await startFakePool((_call, index) => (response) => {
      stream()(response);
      response.write(': connected\nid: 41\n\n');
      if (index === 0) response.end();
    });
    await using _listener = listen(fake.url);
    await vi.waitFor(() => expect(fake.calls[1]?.headers['last-event-id']).toBe('41'));
  });

  it('say that some were missed when the pool cannot go on from there', async () => {
    await using fake = await startFakePool(() => (response) => {
      stream()(response);
      response.write('event: reset\nid: 90\ndata: {}\n\n');
    });
    await using listener = listen(fake.url);
    await vi.waitFor(() => expect(listener.states).toEqual([true, false, true]));
    expect(fake.calls).toHaveLength(1);
  });

  it('start over when the stream falls silent', async () => {
    await using fake = await startFakePool(() => stream());
    await using listener = listen(fake.url, { eventSilenceMs: 50 });
    await vi.waitFor(() => expect(listener.states.slice(0, 3)).toEqual([true, false, true]));
  });

  it('survive characters that are cut in two', async () => {
    const event: PoolEvent = { ...removed, account_id: 'köln' };
    await using fake = await startFakePool(() => (response) => {
      stream()(response);
      const bytes = Buffer.from(`id: 1\ndata: ${JSON.stringify(event)}\n\n`);
      const cut = bytes.indexOf(0xc3) + 1;
      response.write(bytes.subarray(0, cut));
      setTimeout(() => response.write(bytes.subarray(cut)), 20);
    });
    await using listener = listen(fake.url);
    await vi.waitFor(() => expect(listener.events).toEqual([event]));
  });

  it('end with the signal, and the connection with them', async () => {
    let isClosed = false;
    await using fake = await startFakePool(() => (response) => {
      response.on('close', () => {
        isClosed = true;
      });
      stream(['1', removed])(response);
    });
    await using listener = listen(fake.url);
    await vi.waitFor(() => expect(listener.events).toHaveLength(1));
    listener.abort();
    await vi.waitFor(() => expect(isClosed).toBe(true));
    expect(listener.states).toEqual([true, false]);
    expect(fake.calls).toHaveLength(1);
  });
});

describe('createHttpPoolAdmin', () => {
  it('speaks every call of the owner', async () => {
    const account = createAccount();
    const details = { ...account, lendable: { now: true, reason: null }, last_skips: [] };
    await using fake = await startFakePool((call) => {
      if (call.path.startsWith('/api/accounts/status')) return { body: poolStatus };
      if (call.path.startsWith('/api/accounts?')) {
        return { body: { success: true, accounts: [account], total: 1, next_after: null } };
      }
      if (call.path.startsWith('/api/audit')) return { body: { success: true, entries: [], next_before: 7 } };
      return { body: { success: true, account: call.path.endsWith('b') ? details : account } };
    });
    const admin = createHttpPoolAdmin({ baseUrl: fake.url, apiKey: 'owner' });
    expect(await admin.addAccount({ provider: 'warp', api_key: 'wk-1' })).toEqual(account);
    expect((await admin.listAccounts({ email: 'a+b@example.com', limit: 5 })).accounts).toEqual([account]);
    expect(await admin.getAccount('a/b')).toEqual(details);
    expect(await admin.changeAccount('acc-1', { enabled: false })).toEqual(account);
    await admin.removeAccount('acc-1');
    expect(await admin.status()).toEqual(poolStatus);
    expect((await admin.audit({ limit: 3, account_id: 'acc-1' })).next_before).toBe(7);
    await admin.close();

    expect(fake.calls.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['POST', '/api/accounts', { provider: 'warp', api_key: 'wk-1' }],
      ['GET', '/api/accounts?email=a%2Bb%40example.com&limit=5', undefined],
      ['GET', '/api/accounts/a%2Fb', undefined],
      ['PATCH', '/api/accounts/acc-1', { enabled: false }],
      ['DELETE', '/api/accounts/acc-1', undefined],
      ['GET', '/api/accounts/status', undefined],
      ['GET', '/api/audit?limit=3&account_id=acc-1', undefined],
    ]);
    expect(fake.calls.every((call) => call.headers.authorization === 'Bearer owner')).toBe(true);
  });

  it('does not repeat a change that may have been made', async () => {
    await using fake = await startFakePool(() => 'reset');
    const admin = createHttpPoolAdmin({ baseUrl: fake.url });
    await expect(admin.addAccount({ provider: 'warp', api_key: 'wk-1' })).rejects.toMatchObject({
      code: 'pool_unavailable',
    });
    expect(fake.calls).toHaveLength(1);
    await admin.close();
  });

  it('passes on why the pool refused', async () => {
    await using fake = await startFakePool(() => failed(404, 'account_not_found'));
    const admin = createHttpPoolAdmin({ baseUrl: fake.url });
    await expect(admin.removeAccount('gone')).rejects.toMatchObject({ code: 'account_not_found' });
    await admin.close();
  });
});

it('a large answer of something that is no pool is judged by its first problem', async () => {
  await using pool = await startFakePool((call) => ({
    body: { ...allocated(call).body, accounts: Array(3_000_000).fill(1) },
  }));
  const client = createHttpPool({ baseUrl: pool.url });
  const seconds = await cpuSecondsOf(async () => {
    await expect(client.allocate({ provider: 'warp' })).rejects.toMatchObject({
      code: 'pool_unavailable',
      message: expect.stringContaining('check the address'),
    });
  });
  expect(seconds).toBeLessThan(4);
  await client.close();
});
