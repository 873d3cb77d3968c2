import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { KeyIssuer } from '../../core/provider.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { openMemoryStore } from '../store/open-store.ts';
import { pass, settled, startTestPool, type TestPool } from '../testing/test-pool.ts';
import { IssuedKeysSource } from './issued-keys.ts';

const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;
const minute = 60_000;

/** A vendor that tells what keys there are; the test makes its calls fail. */
function fakeVendor() {
  const keys = new Map<string, string>();
  const vendor = {
    keys,
    calls: [] as string[],
    /** What happens before, and after, a key is made. */
    before: async (): Promise<void> => {},
    after: async (): Promise<void> => {},
    revokeFailure: null as Error | null,
  };
  const issuer: KeyIssuer = {
    async issue(name) {
      vendor.calls.push('issue');
      await vendor.before();
      keys.set(`handle-${name}`, name);
      await vendor.after();
      return { apiKey: `wk-${name}`, handle: `handle-${name}` };
    },
    async revoke(handle) {
      vendor.calls.push('revoke');
      if (vendor.revokeFailure !== null) throw vendor.revokeFailure;
      keys.delete(handle);
    },
    async find(name) {
      return [...keys].find(([, one]) => one === name)?.[0] ?? null;
    },
  };
  return { vendor, issuer };
}

type Vendor = ReturnType<typeof fakeVendor>;

async function poolOver(
  { issuer }: Vendor,
  given: Parameters<typeof startTestPool>[1] = {},
): Promise<TestPool> {
  const settings = { type: 'test_keys', name: 'keys', provider: 'warp', issuer };
  return startTestPool(
    { minPoolSize: 0 },
    { ...given, sources: (tools) => [new IssuedKeysSource(settings, tools)] },
  );
}

/** A store that outlives the pools over it. */
function lastingStore() {
  const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
  store.close = async () => {};
  return store;
}

describe('keys that a vendor makes', () => {
  it('become accounts that know by what the vendor deletes them', async () => {
    const given = fakeVendor();
    const parts = await poolOver(given);
    expect(await parts.pool.replenish(owner, { count: 5 })).toMatchObject({ added: 5, failed: 0 });
    expect(given.vendor.keys.size).toBe(5);
    const { accounts } = await parts.pool.list({});
    const stored = await parts.store.account(parts.clock.now(), accounts[0]?.id ?? '');
    expect(stored).toMatchObject({ source: 'keys', sourceHandle: `handle-${accounts[0]?.label}` });
    await parts.pool.close();
  });

  it('are in the journal before the vendor is asked, and never readable there', async () => {
    const given = fakeVendor();
    const parts = await poolOver(given);
    let seen = '';
    given.vendor.after = async () => {
      seen = JSON.stringify(await parts.store.rememberedUnder('sealed:'));
    };
    await parts.pool.replenish(owner, { count: 1 });
    expect(seen).toContain('sealed:issued:keys:');
    expect(seen + JSON.stringify(await parts.store.rememberedUnder('sealed:'))).not.toContain('wk-warp2api');
    await parts.pool.close();
  });

  it('are deleted with their account, however it goes, and again until that works', async () => {
    const given = fakeVendor();
    const store = lastingStore();
    let parts = await poolOver(given, { store });
    await parts.pool.replenish(owner, { count: 2 });
    const { accounts } = await parts.pool.list({});
    await parts.pool.remove(owner, accounts[0]?.id ?? '');
    expect(given.vendor.keys.size).toBe(1);

    given.vendor.revokeFailure = new AppError('upstream_unavailable', 'the vendor is away');
    await parts.pool.remove(owner, accounts[1]?.id ?? '');
    expect((await parts.pool.list({})).total).toBe(0);
    await parts.pool.close();
    // A restart neither forgets it nor hammers the vendor.
    parts = await poolOver(given, { store, clock: parts.clock });
    const tries = () => given.vendor.calls.filter((call) => call === 'revoke').length;
    await settled();
    expect(tries()).toBe(2);
    await pass(parts.clock, 7.5 * minute);
    expect(tries()).toBe(5);
    given.vendor.revokeFailure = null;
    await pass(parts.clock, 10 * minute);
    expect(given.vendor.keys.size).toBe(0);
    expect(await store.rememberedUnder('sealed:')).toEqual([]);
    expect((await parts.pool.trail({})).entries.map(({ action }) => action)).toContain('key-revoked');
    await parts.pool.close();
  });

  it('whose answer never came are found by their name and deleted', async () => {
    const given = fakeVendor();
    const parts = await poolOver(given);
    given.vendor.after = () => Promise.reject(new AppError('upstream_timeout', 'no answer in time'));
    const answer = await parts.pool.replenish(owner, { count: 1 });
    expect(answer).toMatchObject({ added: 0, failed: 1, reasons: ['keys: no answer in time'] });
    expect(given.vendor.keys.size).toBe(1);
    await pass(parts.clock, 3 * minute);
    expect(given.vendor.keys.size).toBe(0);
    expect(await parts.store.rememberedUnder('sealed:')).toEqual([]);
    await parts.pool.close();
  });

  it('that were surely not made leave nothing behind', async () => {
    const given = fakeVendor();
    const parts = await poolOver(given);
    given.vendor.before = () =>
      Promise.reject(new AppError('upstream_unauthorized', 'the admin key is wrong'));
    const answer = await parts.pool.replenish(owner, { count: 2 });
    expect(answer.reasons).toEqual(['keys: the admin key is wrong']);
    expect(await parts.store.rememberedUnder('sealed:')).toEqual([]);
    expect((await parts.pool.status()).sources[1]).toMatchObject({ state: 'backing_off' });
    await parts.pool.close();
  });

  it('are in standby after a crash between the vendor and the pool', async () => {
    const given = fakeVendor();
    const store = lastingStore();
    const first = await poolOver(given, { store });
    const addAccount = store.addAccount.bind(store);
    store.addAccount = () => Promise.reject(new Error('the process is gone'));
    await first.pool.replenish(owner, { count: 1 });
    store.addAccount = addAccount;
    await first.pool.close();
    const second = await poolOver(given, { store, clock: first.clock });
    await settled();
    const { accounts } = await second.pool.list({});
    expect(accounts.map(({ status, source }) => [status, source])).toEqual([['standby', 'keys']]);
    await second.pool.remove(owner, accounts[0]?.id ?? '');
    expect(given.vendor.keys.size).toBe(0);
    await second.pool.close();
  });

  it('of a source that is not configured any more are named in the log', async () => {
    const given = fakeVendor();
    const store = lastingStore();
    const first = await poolOver(given, { store });
    await first.pool.replenish(owner, { count: 2 });
    await first.pool.close();
    let text = '';
    const destination = new Writable({
      write(chunk, _encoding, done) {
        text += String(chunk);
        done();
      },
    });
    const second = await startTestPool(
      {},
      { store, clock: first.clock, logger: createLogger('WARNING', destination) },
    );
    await settled();
    expect(text).toMatch(/"source":"keys","keys":2,.*cannot delete them at their vendor/);
    await second.pool.close();
  });

  it('that do not work are kept out of service, and no more are made for now', async () => {
    const given = fakeVendor();
    const parts = await poolOver(given);
    parts.warp.getQuota = () => Promise.reject(new AppError('upstream_unauthorized', 'unknown key'));
    const answer = await parts.pool.replenish(owner, { count: 9 });
    expect(answer.added).toBe(0);
    expect(given.vendor.calls).toHaveLength(3);
    expect((await parts.pool.status()).sources[1]).toMatchObject({
      state: 'backing_off',
      last_error: 'keys: none of the keys it made can be used',
    });
    expect((await parts.pool.list({ status: 'reauth_required' })).total).toBe(3);
    await parts.pool.close();
  });
});
