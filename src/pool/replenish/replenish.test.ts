import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { importAccount } from '../accounts/transfer.ts';
import { settingsOf } from '../base/present.ts';
import type { PoolOptions } from '../create-pool.ts';
import { openMemoryStore } from '../store/open-store.ts';
import { settled, startTestPool, type TestPool, testAccount } from '../testing/test-pool.ts';
import { type Batch, reserve } from './batch.ts';
import { type Source, SourceError } from './source.ts';

const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;
const minute = 60_000;

/** A source that has as many keys as it is given, and tells how it was used. */
function keySource(keys: string[], change: Partial<Source> = {}, brings?: () => Promise<void>) {
  const seen = { calls: 0, atOnce: 0, most: 0, failure: null as Error | null };
  const make: PoolOptions['sources'] = (tools) => [
    {
      name: 'keys',
      type: 'test',
      restsWhenEmpty: false,
      async fetch(batch: Batch) {
        seen.calls += 1;
        if (seen.failure !== null) throw seen.failure;
        const bring = async (key: string): Promise<void> => {
          await batch.admit(key, async () => {
            seen.atOnce += 1;
            seen.most = Math.max(seen.most, seen.atOnce);
            await brings?.();
            const settings = settingsOf({ provider: 'warp', api_key: key });
            const added = { provider: 'warp', source: 'keys', settings };
            const admission = await importAccount(tools, added, { kind: 'api_key', key }, batch.actor);
            seen.atOnce -= 1;
            return admission;
          });
        };
        while (batch.wanted > 0 && keys.length > 0) {
          await Promise.all(keys.splice(0, batch.wanted).map(bring));
        }
      },
      ...change,
    },
  ];
  return { make, seen };
}

const manyKeys = (count: number): string[] => Array.from({ length: count }, (_, index) => `wk-${index}`);

async function addStandby({ pool }: TestPool, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 0; number < count; number += 1) {
    const account = { provider: 'warp', api_key: `wk-standby-${number}`, standby: true };
    ids.push((await pool.add(owner, account)).account.id);
  }
  return ids;
}

describe('replenishing', () => {
  it('fills up to the minimum from the sources in order, the accounts in standby first', async () => {
    const { make, seen } = keySource(manyKeys(10));
    const parts = await startTestPool({ minPoolSize: 0 }, { sources: make });
    await addStandby(parts, 2);
    const answer = await parts.pool.replenish(owner, { count: 5 });
    expect(answer).toMatchObject({ success: true, requested: 5, added: 5, failed: 0, reasons: [] });
    const { accounts } = await parts.pool.list({});
    expect(accounts.map((one) => [one.status, one.source])).toEqual([
      ['active', 'api'],
      ['active', 'api'],
      ['active', 'keys'],
      ['active', 'keys'],
      ['active', 'keys'],
    ]);
    expect(seen.calls).toBe(1);
    await parts.pool.close();
  });

  it('runs in the rounds of housekeeping, and only while too few accounts are usable', async () => {
    const { make, seen } = keySource(manyKeys(10));
    const { pool, clock } = await startTestPool({ minPoolSize: 3 }, { sources: make });
    await vi.waitFor(async () => expect((await pool.list({})).total).toBe(3));
    const { calls } = seen;
    for (let round = 0; round < 5; round += 1) {
      await settled();
      clock.advance(5000);
    }
    expect(seen.calls).toBe(calls);
    const [first] = (await pool.list({})).accounts;
    await pool.change(owner, first?.id ?? '', { enabled: false });
    await settled();
    clock.advance(5000);
    await vi.waitFor(async () => expect((await pool.status()).pool_stats.available).toBe(3));
    await pool.close();
  });

  it('brings in no more accounts at a time than it may', async () => {
    const { make, seen } = keySource(manyKeys(20), {}, settled);
    const { pool } = await startTestPool({ minPoolSize: 0, provisionConcurrency: 3 }, { sources: make });
    const answers = await Promise.all([
      pool.replenish(owner, { count: 6 }),
      pool.replenish(owner, { count: 6 }),
    ]);
    expect(answers.map(({ added }) => added)).toEqual([6, 6]);
    expect(seen.most).toBe(3);
    await pool.close();
  });

  it('cuts a count above the room, and says so', async () => {
    const { make } = keySource(manyKeys(20));
    const { pool } = await startTestPool({ minPoolSize: 0, maxPoolSize: 4 }, { sources: make });
    const answer = await pool.replenish(owner, { count: 9 });
    expect(answer).toMatchObject({ requested: 9, added: 4, failed: 0 });
    expect(answer.reasons[0]).toMatch(/room for 4 of 9: MAX_POOL_SIZE is 4/);
    expect(await pool.replenish(owner, { count: 1 })).toMatchObject({ added: 0, failed: 0 });
    await pool.close();
  });

  it("never refuses the owner's own account for want of room", async () => {
    const { make } = keySource(manyKeys(20));
    const { pool } = await startTestPool({ minPoolSize: 0, maxPoolSize: 2 }, { sources: make });
    await pool.replenish(owner, { count: 2 });
    await pool.add(owner, { provider: 'warp', api_key: 'own' });
    expect((await pool.status()).pool_stats.available).toBe(3);
    await pool.close();
  });

  it('counts an account that the provider rejects as failed, with the reason', async () => {
    const { make } = keySource(['wk-bad', 'wk-good']);
    const { pool, warp } = await startTestPool({ minPoolSize: 0 }, { sources: make });
    warp.quotas.set('wk-bad', new AppError('upstream_unauthorized', 'the key was revoked'));
    const answer = await pool.replenish(owner, { count: 1 });
    expect(answer).toMatchObject({ requested: 1, added: 1, failed: 1 });
    expect(answer.reasons).toEqual([
      'wk-bad: the provider does not take the credential (probe_unauthorized: the key was revoked)',
    ]);
    expect((await pool.list({ status: 'reauth_required' })).total).toBe(1);
    await pool.close();
  });

  it('says that there is no source when there is none', async () => {
    const { pool } = await startTestPool();
    const answer = await pool.replenish(owner, { count: 2 });
    expect(answer).toMatchObject({ requested: 2, added: 0, failed: 0, reasons: ['no source configured'] });
    expect((await pool.status()).health).toBe('critical');
    await pool.close();
  });

  it('makes the health low only when there is a source to fill from', async () => {
    const { make } = keySource(['wk-only']);
    const withSource = await startTestPool({}, { sources: make });
    await vi.waitFor(async () => expect((await withSource.pool.status()).health).toBe('low'));
    const without = await startTestPool();
    await without.pool.add(owner, { provider: 'warp', api_key: 'one' });
    expect((await without.pool.status()).health).toBe('healthy');
    await withSource.pool.close();
    await without.pool.close();
  });
});

describe('accounts in standby', () => {
  it('are tried before they are used, and need a new login when they do not work', async () => {
    const parts = await startTestPool({ minPoolSize: 0 });
    const [bad, good] = await addStandby(parts, 2);
    parts.warp.quotas.set('wk-standby-0', new AppError('upstream_refused', 'the account is closed'));
    const answer = await parts.pool.replenish(owner, { count: 1 });
    expect(answer).toMatchObject({ added: 1, failed: 1 });
    expect(answer.reasons[0]).toMatch(/standby account acc_.*probe_refused: the account is closed/);
    expect((await parts.pool.get(bad ?? '')).account).toMatchObject({
      status: 'reauth_required',
      status_evidence: { quota_query: { code: 'upstream_refused' } },
    });
    expect((await parts.pool.get(good ?? '')).account.status).toBe('active');
    await parts.pool.close();
  });

  it('fill the pool by themselves when it gets too small', async () => {
    const parts = await startTestPool({ minPoolSize: 2 });
    await addStandby(parts, 3);
    expect((await parts.pool.status()).health).toBe('critical');
    parts.clock.advance(5000);
    await vi.waitFor(async () =>
      expect((await parts.pool.status()).pool_stats).toMatchObject({ available: 2, standby: 1 }),
    );
    await parts.pool.close();
  });
});

describe('a source that fails', () => {
  it('is left alone for a minute, doubling to an hour, also after a restart, and says so', async () => {
    const { make, seen } = keySource([]);
    seen.failure = new SourceError('the command ended with code 3');
    const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
    store.close = async () => {};
    let parts = await startTestPool({ minPoolSize: 1 }, { sources: make, store });
    await vi.waitFor(() => expect(seen.calls).toBe(1));
    await settled();
    const state = async () => (await parts.pool.status()).sources[1];
    expect(await state()).toMatchObject({
      name: 'keys',
      state: 'backing_off',
      last_error: 'keys: the command ended with code 3',
    });
    const answer = await parts.pool.replenish(owner, { count: 1 });
    expect(answer).toMatchObject({ added: 0, failed: 0 });
    expect(answer.reasons[0]).toMatch(/^keys is left alone until 2026-01-01T00:01:/);
    await parts.pool.close();

    parts = await startTestPool({ minPoolSize: 1 }, { sources: make, store, clock: parts.clock });
    await settled();
    expect(seen.calls).toBe(1);
    const waits: number[] = [];
    for (let failures = 2; failures < 10; failures += 1) {
      const before = parts.clock.now();
      while (seen.calls < failures) {
        parts.clock.advance(minute / 2);
        await settled();
      }
      waits.push((parts.clock.now() - before) / minute);
    }
    for (const [index, wait] of waits.entries()) {
      const least = Math.min(60, 2 ** index);
      expect(wait).toBeGreaterThanOrEqual(least);
      expect(wait).toBeLessThan(Math.min(60, least * 1.25) + 1);
    }
    seen.failure = null;
    parts.clock.advance(60 * minute);
    await settled();
    await parts.pool.replenish(owner, { count: 1 });
    expect(await state()).toMatchObject({ state: 'empty', retry_at: null });
    await parts.pool.close();
  });

  it('does not keep the next source from filling the pool', async () => {
    const failing: Source = {
      name: 'broken',
      type: 'test',
      restsWhenEmpty: true,
      fetch: () => Promise.reject(new SourceError('it is broken')),
    };
    const { make } = keySource(manyKeys(3));
    const { pool } = await startTestPool(
      { minPoolSize: 0 },
      { sources: (tools) => [failing, ...(make?.(tools) ?? [])] },
    );
    const answer = await pool.replenish(owner, { count: 2 });
    expect(answer).toMatchObject({ added: 2, failed: 1, reasons: ['broken: it is broken'] });
    await pool.close();
  });

  it('shows an unforeseen error without its details', async () => {
    const { make, seen } = keySource([]);
    seen.failure = new Error('wk-secret in a stack');
    const { pool } = await startTestPool({ minPoolSize: 0 }, { sources: make });
    const answer = await pool.replenish(owner, { count: 1 });
    expect(JSON.stringify([answer, await pool.status()])).not.toContain('wk-secret');
    await pool.close();
  });
});

describe('a reserved place', () => {
  it('that was promised to a process that died comes free by itself', async () => {
    const store = openMemoryStore(0, { auditsLeases: true });
    let now = 1000;
    const clock = { now: () => now, monotonic: () => now, elapsed: () => now, after: () => () => {} };
    const dead = await reserve(store, clock, 5, 5);
    expect(dead.granted).toBe(5);
    expect((await reserve(store, clock, 1, 5)).granted).toBe(0);
    now += 120_001;
    expect((await reserve(store, clock, 5, 5)).granted).toBe(5);
    expect(await dead.confirm()).toBe(false);
    await store.close();
  });

  it('is not there any more when the owner has filled it meanwhile', async () => {
    const store = openMemoryStore(0, { auditsLeases: true });
    const clock = { now: () => 1000, monotonic: () => 1000, elapsed: () => 1000, after: () => () => {} };
    const mine = await reserve(store, clock, 2, 2);
    await store.addAccount(1000, testAccount('one'), 'owner');
    expect(await mine.confirm()).toBe(true);
    await store.addAccount(1000, testAccount('two'), 'owner');
    expect(await mine.confirm()).toBe(false);
    await store.close();
  });

  it('never lets parallel calls of several instances bring in more than the maximum', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 6 }),
        fc.array(fc.constantFrom('good', 'bad', 'known'), { minLength: 0, maxLength: 30 }),
        async (maxPoolSize, counts, kinds) => {
          const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
          const close = store.close.bind(store);
          store.close = async () => {};
          // Answers come in any order, as those of a database do.
          const stats = store.stats.bind(store);
          let most = 0;
          store.stats = async (now) => {
            await new Promise((resolve) => setImmediate(resolve));
            const answer = await stats(now);
            most = Math.max(most, answer.active);
            return answer;
          };
          const keys = kinds.map((kind, index) => (kind === 'known' ? 'wk-same' : `wk-${kind}-${index}`));
          // An account takes longer to come in than a look at the store.
          const slowly = async (): Promise<void> => {
            for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
          };
          const { make } = keySource([...keys, ...manyKeys(40)], {}, slowly);
          const instances = await Promise.all(
            [1, 2].map(() => startTestPool({ minPoolSize: 0, maxPoolSize }, { sources: make, store })),
          );
          for (const { warp } of instances) {
            for (const key of keys.filter((one) => one.startsWith('wk-bad'))) {
              warp.quotas.set(key, new AppError('upstream_unauthorized', 'no'));
            }
          }
          const answers = await Promise.all(
            counts.map((count, index) => instances[index % 2]?.pool.replenish(owner, { count })),
          );
          const added = answers.reduce((sum, answer) => sum + (answer?.added ?? 0), 0);
          const { active } = await stats(Date.UTC(2026, 0, 1));
          expect(active).toBe(added);
          expect(Math.max(most, active)).toBeLessThanOrEqual(maxPoolSize);
          // No room is lost either: what was promised and not used is there again.
          expect(await store.remembered('replenish')).toBeNull();
          const rest = await instances[0]?.pool.replenish(owner, { count: maxPoolSize });
          expect(added + (rest?.added ?? 0)).toBe(maxPoolSize);
          await Promise.all(instances.map(({ pool }) => pool.close()));
          await close();
        },
      ),
      { numRuns: 40 },
    );
  });
});
