import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openSqlite, type Sqlite } from '../../../db/sqlite.ts';
import { SqliteDatabase } from '../../../db/sqlite-database.ts';
import { freshStanding } from '../../standing/account-state.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import { asFlag } from '../rules/rows.ts';
import type { LeaseDemand, Short, StoreVerbs } from '../store.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';
import { migrations } from './sqlite-store.ts';

const now = 1_000_000;

function openEmpty(db: Sqlite = openSqlite(':memory:', migrations, now)): { db: Sqlite; store: StoreVerbs } {
  return { db, store: storeVerbs(new SqliteDatabase(db), { auditsLeases: false }) };
}

async function short(store: StoreVerbs, change: Partial<LeaseDemand>): Promise<Short> {
  const result = await store.ensureLeases(now, testDemand('asking', { waitUntil: now, ...change }));
  if (result.result !== 'short') throw new Error(`expected a refusal, got ${result.result}`);
  return result;
}

/** What the counters must agree with: every account looked at, one by one. */
function countedOneByOne(db: Sqlite, demand: LeaseDemand, spent: readonly string[]): Record<string, number> {
  const rows = db.all<{ reason: string; accounts: number }>(
    `SELECT reason, COUNT(*) AS accounts FROM (
       SELECT CASE
         WHEN id IN (SELECT value FROM json_each(?1)) THEN 'excluded'
         WHEN state = 'cooldown' AND state_reason = 'rate_limited' THEN 'rate_limited'
         WHEN state <> 'active' THEN state
         WHEN lend = 'gateway' AND ?2 = 0 THEN 'lend_gateway_only'
         WHEN free = 1 AND provider IN (SELECT value FROM json_each(?3)) THEN 'free_quota_spent'
         WHEN ?4 = 0 AND capacity < ?5 THEN 'too_few_slots'
         WHEN half_open = 1 AND holders > 0 THEN 'half_open'
         WHEN ?4 = 1 AND holders > 0 THEN 'leased'
         WHEN ?4 = 0 AND (exclusive_held = 1 OR shared_slots + ?5 > capacity) THEN 'leased'
         ELSE 'open' END AS reason
       FROM accounts
       WHERE (?6 IS NULL OR provider = ?6)
         AND (?7 IS NULL OR models IS NULL OR EXISTS (SELECT 1 FROM json_each(models) WHERE value = ?7))
     ) WHERE reason <> 'open' GROUP BY reason`,
    JSON.stringify(demand.exclude),
    asFlag(demand.owner.isGateway),
    JSON.stringify(spent),
    asFlag(demand.exclusive),
    demand.slots,
    demand.provider,
    demand.model,
  );
  return Object.fromEntries(rows.map((row) => [row.reason, row.accounts]));
}

const anyAccount = fc.record({
  provider: fc.constantFrom('warp', 'openai'),
  free: fc.boolean(),
  lend: fc.constantFrom('any' as const, 'gateway' as const),
  capacity: fc.integer({ min: 1, max: 3 }),
  models: fc.constantFrom(null, ['a'], ['a', 'b']),
  standing: fc.record({
    state: fc.constantFrom('active' as const, 'active' as const, 'cooldown' as const, 'exhausted' as const),
    reason: fc.constantFrom('rate_limited', 'refused', null),
    halfOpen: fc.boolean(),
    quotaSpent: fc.boolean(),
  }),
});

const anyDemand = fc.record({
  provider: fc.constantFrom(null, 'warp', 'openai'),
  model: fc.constantFrom(null, 'a', 'b'),
  exclusive: fc.boolean(),
  slots: fc.integer({ min: 1, max: 2 }),
  excluded: fc.array(fc.integer({ min: 0, max: 11 }), { maxLength: 3 }),
  isGateway: fc.boolean(),
});

describe('a refusal', () => {
  it('counts from the counters what a look at every account would count', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyAccount, { maxLength: 12 }),
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 2 })), { maxLength: 5 }),
        anyDemand,
        async (accounts, holders, asked) => {
          const { db, store } = openEmpty();
          for (const [number, { standing, ...settings }] of accounts.entries()) {
            const until = standing.state === 'active' ? null : now + 1000 + number;
            const whole = { ...freshStanding, ...standing, until };
            await store.addAccount(
              now,
              testAccount(`acc_${number}`, { ...settings, standing: whole }),
              'test',
            );
          }
          for (const [number, [exclusive, slots]] of holders.entries()) {
            const demand = { exclusive, slots: exclusive ? 1 : slots };
            await store.ensureLeases(now, testDemand(`holder-${number}`, demand));
          }
          const { excluded, isGateway, ...fields } = asked;
          const demand = testDemand('asking', {
            ...fields,
            slots: asked.exclusive ? 1 : asked.slots,
            count: 40,
            exclude: excluded.map((number) => `acc_${number}`),
            owner: { keyId: 'key-1', isGateway },
            waitUntil: now,
          });
          const result = await short(store, demand);
          const spent = (await store.stats(now)).freeQuotaSpent;
          expect(result.shortage.reasons).toEqual(countedOneByOne(db, demand, spent));
          for (const { accountId, reason } of result.skipped) {
            expect([accountId, reason === 'model' ? 1 : result.shortage.reasons[reason]]).not.toContain(
              undefined,
            );
          }
          await store.close();
        },
      ),
      { numRuns: 150 },
    );
  });

  it.each([
    ['whatever account it could be', {}],
    ['of one provider', { provider: 'warp' }],
    ['of one model, without some accounts', { provider: 'warp', model: 'm', exclude: ['acc_1', 'acc_2'] }],
    ['of one shared slot', { provider: 'warp', exclusive: false }],
  ])('reads as many rows in a pool of 4,000 as in one of 400, for a demand %s', async (_what, change) => {
    const rowsRead = async (size: number): Promise<number> => {
      let read = 0;
      const plain = openSqlite(':memory:', migrations, now);
      const db: Sqlite = {
        ...plain,
        all<Row>(sql: string, ...values: Parameters<Sqlite['all']>[1][]) {
          const rows = plain.all<Row>(sql, ...values);
          read += rows.length;
          return rows;
        },
      };
      const { store } = openEmpty(db);
      const resting = {
        ...freshStanding,
        state: 'cooldown' as const,
        until: now + 60_000,
        reason: 'refused',
      };
      for (let number = 0; number < size; number += 1) {
        await store.addAccount(now, testAccount(`acc_${number}`, { standing: resting }), 'test');
      }
      read = 0;
      const { shortage } = await short(store, change);
      expect(shortage.matching).toBe(size);
      await store.close();
      return read;
    };
    expect(await rowsRead(4_000)).toBe(await rowsRead(400));
  });

  it('names the first to come free, and whether that is within the wait', async () => {
    const { store } = openEmpty();
    const resting = (until: number) => ({ ...freshStanding, state: 'cooldown' as const, until, reason: 'x' });
    for (const [id, until] of [
      ['late', now + 9000],
      ['soon', now + 5000],
      ['left-out', now + 1000],
    ] as const) {
      await store.addAccount(now, testAccount(id, { standing: resting(until) }), 'test');
    }
    const exclude = ['left-out'];
    expect(await short(store, { exclude })).toMatchObject({ nextAt: now + 5000, couldServe: false });
    expect((await short(store, { exclude, waitUntil: now + 5000 })).couldServe).toBe(true);
    expect((await short(store, { exclude, count: 2, waitUntil: now + 5000 })).couldServe).toBe(false);
    expect((await short(store, { exclude, count: 2, waitUntil: now + 9000 })).couldServe).toBe(true);
  });
});

describe('skipped accounts', () => {
  it('are named with the reason when better placed ones were passed over', async () => {
    const { store } = openEmpty();
    await store.addAccount(now, testAccount('limited', { models: ['other'] }), 'test');
    await store.addAccount(now, testAccount('kept', { lend: 'gateway' }), 'test');
    await store.addAccount(now, testAccount('cooling', { tier: 9 }), 'test');
    await store.addAccount(now, testAccount('taken', { tier: 5 }), 'test');
    const cooling = { ...freshStanding, state: 'cooldown' as const, until: now + 1, reason: 'rate_limited' };
    const standing = { standing: cooling, probe: 'proved' as const, quota: null, nextCheckAt: null };
    await store.changeAccount(now, 'cooling', { standing }, { actor: 't', action: 't', detail: {} });
    const result = await store.ensureLeases(now, testDemand('s', { model: 'm', prefer: 'cooling' }));
    expect(result).toMatchObject({
      result: 'granted',
      skipped: [
        { accountId: 'cooling', reason: 'rate_limited' },
        { accountId: 'kept', reason: 'lend_gateway_only' },
        { accountId: 'limited', reason: 'model' },
      ],
    });
  });

  it('are at most 20 of a grant and 100 of a refusal', async () => {
    const { store } = openEmpty();
    for (let number = 0; number < 150; number += 1) {
      await store.addAccount(now, testAccount(`acc_${number}`, { lend: 'gateway' }), 'test');
    }
    expect((await short(store, {})).skipped).toHaveLength(100);
    await store.addAccount(now, testAccount('zzz', { tier: 1 }), 'test');
    expect(await store.ensureLeases(now, testDemand('s'))).toMatchObject({ skipped: { length: 20 } });
  });
});
