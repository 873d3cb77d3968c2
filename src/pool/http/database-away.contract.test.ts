import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type PostgresServer, startPostgresServer } from '../../db/testing/postgres-server.ts';
import { systemClock } from '../../lib/clock.ts';
import { openPostgresStore } from '../store/postgres/postgres-store.ts';
import { allocate, closeServers, startServer } from '../testing/test-server.ts';

let database: PostgresServer;
beforeAll(async () => {
  database = await startPostgresServer();
});
afterAll(async () => {
  await closeServers();
  await database.dispose();
});

it('a pool whose database is away says so in form, waits through a restart, and has forgotten nothing', async () => {
  const store = await openPostgresStore(database.url('postgres'), { auditsLeases: true });
  const clock = { ...systemClock, advance: () => {} };
  const { call, add } = await startServer({}, {}, { store, clock });
  await add('wk-1');
  const lent = await call<{ session_id: string }>('POST', allocate, {});
  expect(lent.status).toBe(200);
  const { session_id: sessionId } = lent.body;

  await database.stop();
  const waiting = call('POST', allocate, { session_id: sessionId });
  await database.start();
  expect(await waiting).toMatchObject({ status: 200, body: { created: false, session_id: sessionId } });

  await database.stop();
  const unavailable = {
    status: 503,
    headers: { 'retry-after': expect.stringMatching(/^[1-9]/) },
    body: { success: false, error: { code: 'pool_unavailable' } },
  };
  const refused = await call('POST', allocate, { session_id: sessionId });
  expect(refused).toMatchObject(unavailable);
  expect(JSON.stringify(refused.body)).not.toContain('postgres');
  expect(await call('GET', '/health')).toMatchObject({
    status: 200,
    body: { status: 'degraded', store: { reachable: false, writable: false } },
  });
  expect(await call('POST', allocate, { session_id: sessionId })).toMatchObject(unavailable);

  await database.start();
  await vi.waitFor(async () => {
    const health = await call('GET', '/health');
    expect(health.body).toMatchObject({ store: { reachable: true } });
  });
  const released = await call('POST', '/api/accounts/release', { session_id: sessionId });
  expect(released.body).toEqual({ success: true, released: 1 });
});
