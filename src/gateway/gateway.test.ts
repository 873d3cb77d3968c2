import { expect, it, vi } from 'vitest';
import { BodyBudget } from '../lib/http/body-budget.ts';
import { KnownSecrets } from '../lib/secrets/known-secrets.ts';
import { GatewayDatabase } from './database/gateway-database.ts';
import { createGateway, type GatewayOptions } from './gateway.ts';
import { LeaseCache } from './leases/lease-cache.ts';
import { createFakePool } from './testing/fake-pool.ts';
import { createLineProvider } from './testing/fake-upstream.ts';
import { createManualClock } from './testing/manual-clock.ts';
import { silentLogger } from './testing/turn-fixture.ts';

it('closes the rest where a part cannot be closed, and says so', async () => {
  const clock = createManualClock();
  const broken = (name: string) => ({
    ...createLineProvider(() => 'http://127.0.0.1:1', name),
    caller: { close: () => Promise.reject(new Error(`${name} hangs`)) },
  });
  const gateway = await createGateway({
    pool: createFakePool(clock),
    bodies: new BodyBudget(1_000_000),
    providers: [broken('one'), broken('two')],
    sandbox: createLineProvider(() => 'http://127.0.0.1:1', 'sandbox'),
    routing: { aliases: {}, routes: [], models: {} },
    isStrict: false,
    apiKeys: [],
    allowedHosts: null,
    keep: { url: 'memory:', maxBytes: 1_000_000 },
    databaseUrl: 'sqlite::memory:',
    usage: { keepDays: 1, maxBytes: 1_000_000 },
    responsesTtlMs: 1_000,
    slowFirstContentMs: 0,
    shutdownMs: 0,
    secrets: new KnownSecrets(),
    clock,
    logger: silentLogger,
  } as unknown as GatewayOptions);
  const closing = [vi.spyOn(LeaseCache.prototype, 'close'), vi.spyOn(GatewayDatabase.prototype, 'close')];
  const fault = await gateway.close().catch((error: unknown) => error);
  expect(fault).toMatchObject({ name: 'AggregateError', message: 'one hangs; two hangs' });
  expect(closing.map((spy) => spy.mock.calls.length)).toEqual([1, 1]);
});
