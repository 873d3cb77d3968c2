import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { outcomes } from '../../../core/outcome.ts';
import { openPostgres, type Postgres } from '../../../db/postgres.ts';
import { freshStanding } from '../../standing/account-state.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import type { Store } from '../store.ts';
import { emptyDatabase, freshDatabase } from '../testing/postgres-database.ts';
import { openPostgresStore } from './postgres-store.ts';

const start = Date.UTC(2026, 0, 1);
const hour = 3_600_000;
const instances = 3;
const callers = 8;
const accountIds = ['key-a', 'key-b', 'key-c', 'token-a', 'token-b'];
const url = await freshDatabase();
const open: Postgres[] = [];
afterAll(async () => {
  for (const db of open) await db.close();
});

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('allocate' as const),
      session: fc.integer({ min: 0, max: 3 }),
      exclusive: fc.boolean(),
      slots: fc.integer({ min: 1, max: 3 }),
      count: fc.integer({ min: 1, max: 3 }),
      ttlMs: fc.constantFrom(50, 1_000, hour),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('release' as const), session: fc.integer({ min: 0, max: 3 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('report' as const),
      session: fc.integer({ min: 0, max: 3 }),
      outcome: fc.constantFrom(...outcomes),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('refresh' as const),
      account: fc.constantFrom('token-a', 'token-b'),
      ends: fc.constantFrom('committed' as const, 'unknown' as const, 'never' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.constantFrom(20, 500, 30_000, hour) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('enable' as const),
      account: fc.constantFrom(...accountIds),
      enabled: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'remove' as const, account: 'key-c' }) },
  { weight: 1, arbitrary: fc.constant({ type: 'add' as const, account: 'key-c' }) },
  { weight: 1, arbitrary: fc.constant({ type: 'housekeep' as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never;

/** What every moment must look like, in one statement and so at one moment. */
const wrongRows = `
  WITH held AS (
    SELECT accounts.id, COUNT(leases.account_id) AS holders,
      COALESCE(SUM(leases.exclusive), 0) AS exclusive,
      COALESCE(SUM(CASE leases.exclusive WHEN 0 THEN leases.slots END), 0) AS slots
    FROM accounts LEFT JOIN leases ON leases.account_id = accounts.id GROUP BY accounts.id
  ), wrong AS (
    SELECT 'leases and account differ: ' || accounts.id AS what FROM accounts JOIN held USING (id)
      WHERE accounts.holders <> held.holders OR exclusive_held <> held.exclusive OR shared_slots <> held.slots
    UNION ALL SELECT 'two exclusive holders: ' || id FROM held WHERE exclusive > 1 OR (exclusive = 1 AND holders > 1)
    UNION ALL SELECT 'above its capacity: ' || id FROM accounts WHERE shared_slots > capacity
    UNION ALL SELECT 'held though out of service: ' || id FROM accounts
      WHERE holders > 0 AND state IN ('disabled', 'reauth_required')
    UNION ALL SELECT 'a fence of nobody: ' || account_id FROM leases JOIN accounts ON accounts.id = account_id
      WHERE fence > fence_counter
    UNION ALL SELECT 'miscounted: ' || provider || ' ' || kind FROM (
      SELECT provider, kind, SUM(n) AS n FROM (
        SELECT provider, kind, accounts AS n FROM standings
        UNION ALL SELECT provider, kind, -1 FROM accounts) AS each GROUP BY provider, kind) AS counted WHERE n <> 0
    UNION ALL SELECT 'sessions miscounted' WHERE
      (SELECT COALESCE(SUM(sessions), 0) FROM counters) <> (SELECT COUNT(*) FROM sessions)
    UNION ALL SELECT 'intents too close: ' || one.account_id FROM refreshes AS one JOIN refreshes AS other
      ON one.account_id = other.account_id AND one.seq < other.seq
      WHERE abs(other.intent_at - one.intent_at) < ${hour}
    UNION ALL SELECT 'two refreshes under way: ' || account_id FROM refreshes WHERE state = 'intent'
      GROUP BY account_id HAVING COUNT(*) > 1
  ) SELECT what FROM wrong`;

interface Storm {
  now: number;
  reports: number;
  tokens: number;
  readonly held: Map<number, { readonly id: string; readonly fence: number }>;
  readonly fences: Map<string, Set<number>>;
  readonly versions: Map<string, number>;
}

async function take(storm: Storm, store: Store, action: Step): Promise<void> {
  switch (action.type) {
    case 'allocate': {
      const { exclusive, count, ttlMs } = action;
      const slots = exclusive ? 1 : action.slots;
      const demand = testDemand(`s${action.session}-${exclusive}`, { exclusive, slots, count, ttlMs });
      const result = await store.ensureLeases(storm.now, demand);
      if (result.result !== 'granted') return;
      for (const { id, fence } of result.added) {
        // An account that was removed and added again begins anew.
        if (id === 'key-c') continue;
        const known = storm.fences.get(id) ?? new Set();
        expect([id, fence, known.has(fence)]).toEqual([id, fence, false]);
        storm.fences.set(id, known.add(fence));
      }
      const [lease] = result.leases;
      if (lease) storm.held.set(action.session, { id: lease.account.id, fence: lease.fence });
      return;
    }
    case 'release':
      for (const exclusive of [true, false]) {
        const sessionId = `s${action.session}-${exclusive}`;
        await store.release(storm.now, { sessionId, keyId: 'key-1', leases: null });
      }
      return;
    case 'report': {
      const held = storm.held.get(action.session);
      if (held === undefined) return;
      storm.reports += 1;
      const signal = { outcome: action.outcome, tokenVersion: storm.versions.get(held.id) ?? 1 };
      const usage = { turns: 1, inputTokens: 1, outputTokens: 1, credits: 1, costCents: 0.5 };
      const turn = { reportId: `r${storm.reports}`, accountId: held.id, fence: held.fence, signal, usage };
      const demand = { sessionId: `s${action.session}-true`, keyId: 'key-1', turns: [turn] };
      await store.report(storm.now, demand);
      return;
    }
    case 'refresh': {
      const { account: accountId, ends } = action;
      const demand = { accountId, minIntervalMs: hour, limitMs: 1_000, force: false };
      const claim = await store.claimRefresh(storm.now, { ...demand, instance: 'x', actor: 'test' });
      if (claim.result !== 'claimed' || ends === 'never') return;
      storm.tokens += 1;
      if (ends === 'unknown') {
        const failed = { failure: 'unknown' as const, message: 'no', retryAt: storm.now, givenUp: null };
        await store.failRefresh(storm.now, claim.refreshId, failed);
        return;
      }
      const done = await store.commitRefresh(storm.now, claim.refreshId, {
        bearer: { sealed: `b${storm.tokens}`, expiresAt: storm.now + 2 * hour },
        nextRefreshAt: storm.now + hour,
      });
      if (done === null) return;
      expect(done.account.tokenVersion).toBeGreaterThan(storm.versions.get(accountId) ?? 1);
      storm.versions.set(accountId, done.account.tokenVersion);
      return;
    }
    case 'pass':
      storm.now += action.ms;
      return;
    case 'enable': {
      const standing = action.enabled ? freshStanding : { ...freshStanding, state: 'disabled' as const };
      const change = { standing: { standing, probe: 'proved' as const, quota: null, nextCheckAt: null } };
      await store.changeAccount(storm.now, action.account, change, { actor: 't', action: 't', detail: {} });
      return;
    }
    case 'remove':
      await store.removeAccount(storm.now, action.account, 'test');
      return;
    case 'add':
      await store.addAccount(storm.now, testAccount(action.account, { capacity: 4 }), 'test');
      return;
    case 'housekeep':
      await store.housekeep(storm.now);
      await store.findInterruptedRefreshes(storm.now, null);
  }
}

describe(`${instances} instances with ${callers} callers each on one PostgreSQL database`, () => {
  it('keep every promise at every moment, whatever they do at once', async () => {
    await fc.assert(
      // A storm is told by its seed: no shorter one would go wrong in the same way.
      fc.asyncProperty(fc.integer(), async (seed) => {
        const runs = fc.sample(fc.array(step, { minLength: 10, maxLength: 25 }), {
          seed,
          numRuns: instances * callers,
        });
        await emptyDatabase(url);
        const storm: Storm = {
          now: start,
          reports: 0,
          tokens: 0,
          held: new Map(),
          fences: new Map(),
          versions: new Map(),
        };
        const auditor = open[0] ?? (await openPostgres(url, { connections: 1 }));
        open[0] = auditor;
        const stores = await Promise.all(
          Array.from({ length: instances }, () => openPostgresStore(url, { auditsLeases: true })),
        );
        try {
          for (const id of accountIds) {
            const change = id.startsWith('token')
              ? {
                  credentialKind: 'refresh_token' as const,
                  bearer: { sealed: 'b', expiresAt: start + hour },
                  nextRefreshAt: start,
                }
              : {};
            await stores[0]?.addAccount(start, testAccount(id, { capacity: 4, ...change }), 'test');
          }
          let isOver = false;
          let looks = 0;
          const watch = (async () => {
            while (!isOver) {
              expect(await auditor.reading.all(wrongRows)).toEqual([]);
              looks += 1;
            }
          })();
          const storming = runs.map(async (steps, number) => {
            const store = stores[number % instances] as Store;
            for (const action of steps) await take(storm, store, action);
          });
          await Promise.all([...storming.map((one) => one.finally(() => {})), Promise.resolve()]).finally(
            () => {
              isOver = true;
            },
          );
          await watch;
          expect(looks).toBeGreaterThan(0);
          expect(await auditor.reading.all(wrongRows)).toEqual([]);
          const ids = (await stores[1]?.accounts(storm.now, { limit: 100 }))?.accounts.map(({ id }) => id);
          for (const id of accountIds) if (id !== 'key-c') expect(ids).toContain(id);
          // All sessions end by themselves, and nothing stays lent.
          const later = storm.now + 2 * hour;
          const stats = await stores[2]?.stats(later);
          expect(stats).toMatchObject({ sessions: 0, inUse: 0 });
        } finally {
          for (const store of stores) await store.close();
        }
      }),
      { numRuns: 5, endOnFailure: true },
    );
  }, 120_000);

  it('lend each of 40 accounts to one of 120 callers, and refuse the rest', async () => {
    await emptyDatabase(url);
    const stores = await Promise.all(
      Array.from({ length: instances }, () => openPostgresStore(url, { auditsLeases: true })),
    );
    try {
      for (let number = 0; number < 40; number += 1) {
        await stores[0]?.addAccount(start, testAccount(`acc_${number}`), 'test');
      }
      const results = await Promise.all(
        Array.from({ length: 120 }, (_, number) =>
          (stores[number % instances] as Store).ensureLeases(start, testDemand(`s-${number}`)),
        ),
      );
      const lent = results.flatMap((result) => (result.result === 'granted' ? result.leases : []));
      expect(new Set(lent.map(({ account }) => account.id)).size).toBe(40);
      expect(lent).toHaveLength(40);
    } finally {
      for (const store of stores) await store.close();
    }
  });

  it('make a session anew that another made and let lapse at the same moment, with none of its leases', async () => {
    await emptyDatabase(url);
    const [one, other] = (await Promise.all(
      Array.from({ length: 2 }, () => openPostgresStore(url, { auditsLeases: true })),
    )) as [Store, Store];
    const db = await openPostgres(url, { connections: 1 });
    try {
      for (const id of accountIds) await one.addAccount(start, testAccount(id), 'test');
      for (let round = 0; round < 150; round += 1) {
        // A preferred account and a count above one: not the one statement that makes a session in the usual case.
        const demand = { exclusive: false, count: 2, prefer: 'key-a', ttlMs: 1 };
        const late = start + 10 * (round + 1);
        await Promise.all([
          one.ensureLeases(late - 5, testDemand(`s${round}`, demand)),
          other.ensureLeases(late, testDemand(`s${round}`, demand)),
        ]);
        const left =
          'SELECT session_id FROM leases JOIN sessions ON sessions.id = session_id WHERE leases.created_at < sessions.created_at';
        expect(await db.reading.all(left)).toEqual([]);
      }
    } finally {
      await db.close();
      await one.close();
      await other.close();
    }
  });

  it('hand out each due quota check, and find each interrupted refresh, once among them', async () => {
    await emptyDatabase(url);
    const stores = await Promise.all(
      Array.from({ length: instances }, () => openPostgresStore(url, { auditsLeases: true })),
    );
    const [first] = stores as [Store];
    try {
      for (let number = 0; number < 20; number += 1) {
        const id = `acc_${number}`;
        const token = { credentialKind: 'refresh_token' as const, nextRefreshAt: start };
        await first.addAccount(start, testAccount(id, { ...token, nextCheckAt: start }), 'test');
        const demand = { accountId: id, minIntervalMs: hour, limitMs: 10, force: false };
        await first.claimRefresh(start, { ...demand, instance: 'gone', actor: 'test' });
      }
      const claimed = await Promise.all(stores.map((store) => store.claimQuotaChecks(start + 1, 20)));
      const ids = claimed.flat().map(({ id }) => id);
      expect(ids).toHaveLength(20);
      expect(new Set(ids).size).toBe(20);
      const found = await Promise.all(
        stores.map((store) => store.findInterruptedRefreshes(start + 20, null)),
      );
      const interrupted = found.flatMap((one) => one.interrupted.map(({ accountId }) => accountId));
      expect(interrupted).toHaveLength(20);
      expect(new Set(interrupted).size).toBe(20);
    } finally {
      for (const store of stores) await store.close();
    }
  });
});
