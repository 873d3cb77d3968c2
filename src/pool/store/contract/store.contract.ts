import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { freshStanding } from '../../standing/account-state.ts';
import { noStreaks } from '../../standing/standing.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import type { AccountFilter, AccountSettings, LeaseDemand, ReportedTurn, Store } from '../store.ts';

/** What every store must do, whatever database is below it. */
/** `runs` is how many random runs of calls a store of its own is opened for. */
export function describeStore(name: string, openStore: () => Promise<Store>, runs = 40): void {
  const start = Date.UTC(2026, 0, 1);
  let opened: Store[] = [];
  const open = async (): Promise<Store> => {
    const store = await openStore();
    opened.push(store);
    return store;
  };
  const withAccounts = async (
    count: number,
    change: Parameters<typeof testAccount>[1] = {},
  ): Promise<Store> => {
    const store = await open();
    for (let number = 0; number < count; number += 1) {
      await store.addAccount(start, testAccount(`acc_${String(number).padStart(3, '0')}`, change), 'test');
    }
    return store;
  };
  const ensure = (store: Store, sessionId: string, change: Partial<LeaseDemand> = {}, now = start) =>
    store.ensureLeases(now, testDemand(sessionId, change));
  const granted = async (store: Store, sessionId: string, change: Partial<LeaseDemand> = {}, now = start) => {
    const result = await ensure(store, sessionId, change, now);
    if (result.result !== 'granted') throw new Error(`expected a grant, got ${JSON.stringify(result)}`);
    return result.leases;
  };
  const turn = (
    reportId: string,
    accountId: string,
    fence: number,
    outcome: ReportedTurn['signal']['outcome'],
    signal: Partial<ReportedTurn['signal']> = {},
  ): ReportedTurn => ({
    reportId,
    accountId,
    fence,
    signal: { outcome, tokenVersion: 1, ...signal },
    usage: { turns: 1, inputTokens: 10, outputTokens: 5, credits: 1, costCents: 0.25 },
  });
  const report = async (
    store: Store,
    sessionId: string,
    turns: ReportedTurn[],
    now = start,
    keyId = 'key-1',
  ) => store.report(now, { sessionId, keyId, turns });

  describe(name, () => {
    afterEach(async () => {
      for (const store of opened) await store.close();
      opened = [];
    });

    it('lists accounts by their source, their probe, and how their e-mail address or label begins', async () => {
      const store = await open();
      await store.addAccount(start, testAccount('one', { email: 'Ann@example.com', source: 'env' }), 'test');
      await store.addAccount(start, testAccount('two', { email: null, label: 'an old key' }), 'test');
      await store.addAccount(start, testAccount('three', { label: '100% An_n', probe: 'unproved' }), 'test');
      const listed = async (filter: Partial<AccountFilter>): Promise<string[]> => {
        const { accounts, total } = await store.accounts(start, { limit: 10, ...filter });
        expect(total).toBe(accounts.length);
        return accounts.map((account) => account.id);
      };
      expect(await listed({ begins: 'aN' })).toEqual(['one', 'two']);
      expect(await listed({ begins: 'ann@' })).toEqual(['one']);
      expect(await listed({ begins: '100%' })).toEqual(['three']);
      expect(await listed({ begins: '%' })).toEqual([]);
      expect(await listed({ source: 'env' })).toEqual(['one']);
      expect(await listed({ label: 'an old key' })).toEqual(['two']);
      expect(await listed({ label: 'An old key' })).toEqual([]);
      expect(await listed({ idBegins: 't' })).toEqual(['two', 'three']);
      expect(await listed({ idBegins: 'T' })).toEqual([]);
      expect(await listed({ idBegins: 'two', source: 'api' })).toEqual(['two']);
      expect(await listed({ probe: 'unproved', source: 'api' })).toEqual(['three']);
      expect(await listed({ ids: ['three', 'none', 'one'] })).toEqual(['one', 'three']);
      expect(await listed({ ids: ['three', 'one'], source: 'api' })).toEqual(['three']);
    });

    it('says how the accounts of a provider stand to a demand, and lends none', async () => {
      const store = await withAccounts(2);
      const resting = { ...freshStanding, state: 'cooldown' as const, until: start + 1000 };
      await store.addAccount(start, testAccount('resting', { standing: resting }), 'test');
      await store.addAccount(start, testAccount('narrow', { models: ['small'], label: 'team' }), 'test');
      await store.addAccount(start, testAccount('other', { provider: 'openai' }), 'test');
      await granted(store, 'mine');
      const demand = { ...testDemand('', { exclusive: false, model: 'large' }), provider: 'warp' };
      const found = await store.eligible(start, demand);
      expect(found).toMatchObject({ matching: 3, others: 1, counts: { open: 1, leased: 1, cooldown: 1 } });
      expect(Object.fromEntries(found.accounts.map(({ id, standing }) => [id, standing]))).toEqual({
        acc_000: 'leased',
        acc_001: 'open',
        narrow: 'model',
        resting: 'cooldown',
      });
      const labelled = await store.eligible(start, { ...demand, model: 'small', labels: ['team'] });
      expect(labelled).toMatchObject({ matching: 1, others: 3, counts: { open: 1 } });
      expect((await store.sessions(start, { limit: 10 })).total).toBe(1);
    });

    it('keeps the team of an account, and changes it', async () => {
      const store = await withAccounts(1, { teamUid: 'team-1' });
      const [lease] = await granted(store, 's');
      expect(lease?.account.teamUid).toBe('team-1');
      const audit = { actor: 't', action: 'c', detail: {} };
      const change = (settings: Partial<AccountSettings>) =>
        store.changeAccount(start, 'acc_000', { settings }, audit);
      expect((await change({ label: 'x' }))?.account).toMatchObject({ label: 'x', teamUid: 'team-1' });
      expect((await change({ teamUid: null }))?.account.teamUid).toBeNull();
    });

    it('counts the accounts of each provider by state', async () => {
      const store = await withAccounts(2);
      const exhausted = {
        ...freshStanding,
        state: 'exhausted' as const,
        quotaSpent: true,
        until: start + 1000,
      };
      await store.addAccount(
        start,
        testAccount('free', { provider: 'openai', free: true, standing: exhausted }),
        'test',
      );
      await granted(store, 'mine');
      const counts = async (now: number) => {
        const { byProvider, freeQuotaSpent } = await store.stats(now);
        const named = byProvider.map(({ provider, available, inUse, states }) => [
          provider,
          { available, inUse, active: states.active, exhausted: states.exhausted },
        ]);
        return { ...Object.fromEntries(named), freeQuotaSpent };
      };
      const warp = { available: 1, inUse: 1, active: 2, exhausted: 0 };
      expect(await counts(start)).toEqual({
        warp,
        openai: { available: 0, inUse: 0, active: 0, exhausted: 1 },
        freeQuotaSpent: ['openai'],
      });
      await store.removeAccount(start, 'free', 'test');
      expect(await counts(start)).toEqual({ warp, freeQuotaSpent: [] });
      expect((await store.account(start, 'acc_000'))?.isHeldExclusively).toBe(true);
      expect((await store.account(start, 'acc_001'))?.isHeldExclusively).toBe(false);
    });

    it('lends 50 accounts once each to 200 parallel callers and refuses 150', async () => {
      const store = await withAccounts(50);
      const results = await Promise.all(
        Array.from({ length: 200 }, (_, number) => ensure(store, `session-${number}`)),
      );
      const lent = results.flatMap((result) => (result.result === 'granted' ? result.leases : []));
      expect(lent).toHaveLength(50);
      expect(new Set(lent.map((lease) => lease.account.id)).size).toBe(50);
      expect(results.filter((result) => result.result === 'short')).toHaveLength(150);
    });

    it('lists the sessions that live with what they hold, page by page, also those of one account', async () => {
      const store = await withAccounts(3);
      for (const name of ['c', 'a', 'b']) {
        await granted(store, name, { exclusive: false, slots: 2, count: name === 'a' ? 2 : 1 });
      }
      await granted(store, 'dead', { exclusive: false, ttlMs: 1000 });
      const later = start + 1000;
      const first = await store.sessions(later, { limit: 2 });
      expect(first).toMatchObject({ total: 3, nextAfter: 'b' });
      expect(first.sessions.map((session) => session.id)).toEqual(['a', 'b']);
      expect(first.sessions[0]).toEqual({
        id: 'a',
        keyId: 'key-1',
        isGateway: false,
        isExclusive: false,
        provider: null,
        ttlMs: 60_000,
        createdAt: start,
        expiresAt: start + 60_000,
        leases: expect.arrayContaining([
          { accountId: expect.any(String), email: expect.stringContaining('@example.com'), slots: 2 },
        ]),
      });
      expect(first.sessions[0]?.leases).toHaveLength(2);
      const rest = await store.sessions(later, { limit: 2, after: 'b' });
      expect(rest).toMatchObject({ sessions: [{ id: 'c' }], nextAfter: null, total: 3 });
      const [lease] = rest.sessions[0]?.leases ?? [];
      const holders = await store.sessions(later, { limit: 10, accountId: lease?.accountId ?? '' });
      expect(holders.sessions.map((session) => session.id)).toContain('c');
      expect(holders.total).toBe(holders.sessions.length);
      expect(await store.sessions(later, { limit: 10, accountId: 'nobody' })).toMatchObject({
        sessions: [],
        total: 0,
      });
    });

    it('frees what a dead holder held once its session has expired, and not before', async () => {
      const store = await withAccounts(1);
      await granted(store, 'dead', { ttlMs: 1000 });
      expect((await ensure(store, 'next', {}, start + 999)).result).toBe('short');
      expect(await granted(store, 'next', {}, start + 1000)).toHaveLength(1);
      expect((await store.stats(start + 1000)).sessions).toBe(1);
    });

    it('gives every lease of an account a higher fence than the one before', async () => {
      const store = await withAccounts(1);
      const fences: number[] = [];
      for (let number = 0; number < 5; number += 1) {
        const [lease] = await granted(store, `session-${number}`);
        fences.push(lease?.fence ?? 0);
        await store.release(start, { sessionId: `session-${number}`, keyId: null, leases: null });
      }
      expect(fences).toEqual([1, 2, 3, 4, 5]);
    });

    it('never lends more shared slots than an account has', async () => {
      const store = await withAccounts(2, { capacity: 4 });
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, number) =>
          ensure(store, `s-${number}`, { exclusive: false, slots: 2 }),
        ),
      );
      expect(results.filter((result) => result.result === 'granted')).toHaveLength(4);
      const { accounts } = await store.accounts(start, { limit: 10 });
      expect(accounts.map((account) => account.slotsInUse)).toEqual([4, 4]);
    });

    it('adds all that is missing or nothing, and renews the session either way', async () => {
      const store = await withAccounts(3);
      await granted(store, 'mine', { ttlMs: 1000 });
      const short = await ensure(store, 'mine', { count: 4 }, start + 900);
      expect(short).toMatchObject({ result: 'short', missing: 3 });
      expect((await store.stats(start + 1800)).inUse).toBe(1);
      expect((await store.stats(start + 1900)).inUse).toBe(0);
    });

    it('answers the leases a session has and adds only what is missing', async () => {
      const store = await withAccounts(3);
      const [first] = await granted(store, 'mine');
      const both = await granted(store, 'mine', { count: 2 });
      expect(both.map((lease) => lease.account.id)).toContain(first?.account.id);
      expect(both.find((lease) => lease.account.id === first?.account.id)?.fence).toBe(first?.fence);
      expect(await granted(store, 'mine', { count: 1 })).toHaveLength(2);
    });

    it('grows a shared lease where there is room and takes another account where there is none', async () => {
      const store = await withAccounts(2, { capacity: 4 });
      await granted(store, 'mine', { exclusive: false, slots: 1, prefer: 'acc_000' });
      const [grown] = await granted(store, 'mine', { exclusive: false, slots: 3 });
      expect(grown).toMatchObject({ slots: 3, fence: 1, account: { id: 'acc_000', slotsInUse: 3 } });
      await granted(store, 'other', { exclusive: false, slots: 1, prefer: 'acc_000' });
      const [another] = await granted(store, 'mine', { exclusive: false, slots: 4 });
      expect(another).toMatchObject({ slots: 4, account: { id: 'acc_001' } });
    });

    it('takes the lowest tier first, then the least recently used, then the preferred if it fits', async () => {
      const store = await open();
      await store.addAccount(start, testAccount('late', { tier: 1 }), 'test');
      await store.addAccount(start, testAccount('one'), 'test');
      await store.addAccount(start, testAccount('two'), 'test');
      const pick = async (session: string, now: number, change: Partial<LeaseDemand> = {}) => {
        const [lease] = await granted(store, session, change, now);
        await store.release(now, { sessionId: session, keyId: null, leases: null });
        return lease?.account.id;
      };
      expect(await pick('a', start)).toBe('one');
      expect(await pick('b', start + 1)).toBe('two');
      expect(await pick('c', start + 2)).toBe('one');
      expect(await pick('d', start + 3, { prefer: 'late' })).toBe('late');
      expect(await pick('e', start + 4, { exclude: ['one', 'two'] })).toBe('late');
      expect(await pick('f', start + 5, { prefer: 'unheard-of' })).toBe('two');
    });

    it('lends by label, and says what keeps those with one from being lent', async () => {
      const store = await open();
      for (const label of ['a', 'b', null])
        await store.addAccount(start, testAccount(`of-${label}`, { label }), 'test');
      const [lease] = await granted(store, 'mine', { labels: ['b', 'x'] });
      expect(lease?.account).toMatchObject({ id: 'of-b', label: 'b' });
      const short = (labels: readonly string[]) => ensure(store, 'other', { labels, prefer: 'of-a' });
      expect(await short(['b'])).toMatchObject({
        result: 'short',
        shortage: { matching: 1, reasons: { leased: 1 } },
      });
      expect(await short(['x'])).toMatchObject({ result: 'short', shortage: { matching: 0, reasons: {} } });
      expect(await short(['b', 'a'])).toMatchObject({
        result: 'granted',
        leases: [{ account: { id: 'of-a' } }],
      });
    });

    it('lends by provider, model and who may have the account', async () => {
      const store = await open();
      await store.addAccount(start, testAccount('limited', { models: ['small'] }), 'test');
      await store.addAccount(start, testAccount('private', { provider: 'openai', lend: 'gateway' }), 'test');
      expect((await ensure(store, 'a', { model: 'large', provider: 'warp' })).result).toBe('short');
      expect(await granted(store, 'b', { model: 'small', provider: 'warp' })).toHaveLength(1);
      const refused = await ensure(store, 'c', { provider: 'openai' });
      expect(refused).toMatchObject({ shortage: { matching: 1, reasons: { lend_gateway_only: 1 } } });
      const gateway = { keyId: 'key-1', isGateway: true };
      expect(await granted(store, 'd', { provider: 'openai', owner: gateway })).toHaveLength(1);
    });

    it('refuses a session to another key, another provider or another exclusiveness', async () => {
      const store = await withAccounts(3);
      await granted(store, 'mine', { provider: 'warp' });
      const other = { keyId: 'key-2', isGateway: false };
      expect((await ensure(store, 'mine', { owner: other })).result).toBe('mismatch');
      expect((await ensure(store, 'mine', { provider: 'openai' })).result).toBe('mismatch');
      expect((await ensure(store, 'mine', { exclusive: false })).result).toBe('mismatch');
      expect((await ensure(store, 'mine')).result).toBe('granted');
      expect(await store.release(start, { sessionId: 'mine', keyId: 'key-2', leases: null })).toBeNull();
      expect(await report(store, 'mine', [], start, 'key-2')).toBeNull();
    });

    it('releases named leases by their fence and keeps the session', async () => {
      const store = await withAccounts(2);
      const leases = await granted(store, 'mine', { count: 2 });
      const named = leases.map((lease, index) => ({ id: lease.account.id, fence: lease.fence + index }));
      const released = await store.release(start, { sessionId: 'mine', keyId: 'key-1', leases: named });
      expect(released?.released).toBe(1);
      expect((await store.stats(start)).sessions).toBe(1);
      const rest = await store.release(start, { sessionId: 'mine', keyId: 'key-1', leases: null });
      expect(rest?.released).toBe(1);
      expect(await store.release(start, { sessionId: 'mine', keyId: 'key-1', leases: null })).toBeNull();
    });

    it('applies a report of a live lease once, counts a stale one, and knows no removed account', async () => {
      const store = await withAccounts(2);
      const [lease] = await granted(store, 'mine');
      const id = lease?.account.id ?? '';
      const results = await report(store, 'mine', [
        turn('r1', id, 1, 'rate_limited', { retryAfterMs: 30_000 }),
        turn('r1', id, 1, 'rate_limited'),
        turn('r2', id, 99, 'refused'),
        turn('r3', 'gone', 1, 'success'),
      ]);
      expect(results?.results.map((item) => item.result)).toEqual([
        'applied',
        'duplicate',
        'stale',
        'unknown',
      ]);
      const account = await store.account(start, id);
      expect(account?.standing).toMatchObject({
        state: 'cooldown',
        until: start + 30_000,
        reason: 'rate_limited',
      });
      expect(account?.usage).toMatchObject({ turns: 2, inputTokens: 20, costCents: 0.5 });
      const late = await report(store, 'never-was', [turn('r4', id, 1, 'unauthorized')]);
      expect(late?.results[0]?.result).toBe('stale');
      expect((await store.account(start + 30_000, id))?.standing.state).toBe('active');
    });

    it('lets a rest and the next check wait no longer than their rules say once the clock was set back', async () => {
      const store = await withAccounts(1, { nextCheckAt: start });
      const [lease] = await granted(store, 'mine');
      const limit = turn('r1', 'acc_000', lease?.fence ?? 0, 'rate_limited', { retryAfterMs: 30_000 });
      await report(store, 'mine', [limit]);
      await store.housekeep(start);
      expect((await store.account(start, 'acc_000'))?.standing.until).toBe(start + 30_000);
      expect(await store.claimQuotaChecks(start, 10)).toHaveLength(1);
      const hour = 60 * 60_000;
      const back = start - 48 * hour;
      await store.housekeep(back);
      expect((await store.account(back, 'acc_000'))?.standing).toMatchObject({
        state: 'cooldown',
        until: back + hour,
      });
      expect((await store.account(back + hour, 'acc_000'))?.standing.state).toBe('active');
      expect(await store.claimQuotaChecks(back, 10)).toHaveLength(1);
    });

    it('knows a report again for as long as its lease lives, and forgets it later', async () => {
      const store = await withAccounts(1);
      const hour = 60 * 60_000;
      const [lease] = await granted(store, 'long', { ttlMs: 3 * hour });
      const again = async (now: number): Promise<string | undefined> => {
        await store.housekeep(now);
        const item = turn('r1', 'acc_000', lease?.fence ?? 0, 'success');
        return (await report(store, 'long', [item], now))?.results[0]?.result;
      };
      expect(await again(start)).toBe('applied');
      expect(await again(start + 2 * hour)).toBe('duplicate');
      const released = start + 4 * hour;
      await store.release(released, { sessionId: 'long', keyId: 'key-1', leases: null });
      expect(await again(released)).toBe('stale');
      expect((await store.account(released, 'acc_000'))?.usage.turns).toBe(2);
    });

    it('takes the same report id of two sessions for two reports', async () => {
      const store = await withAccounts(2);
      const [one] = await granted(store, 'one');
      const [other] = await granted(store, 'other');
      await report(store, 'one', [turn('1', one?.account.id ?? '', 1, 'success')]);
      const results = await report(store, 'other', [turn('1', other?.account.id ?? '', 1, 'success')]);
      expect(results?.results.map((item) => item.result)).toEqual(['applied']);
    });

    it('counts nothing that a program claims about a lease there never was', async () => {
      const store = await withAccounts(1);
      await granted(store, 'mine');
      await store.release(start, { sessionId: 'mine', keyId: 'key-1', leases: null });
      const claim = { isClaim: true };
      const usage = async () => (await store.account(start, 'acc_000'))?.usage.turns;
      await report(store, 'mine', [turn('r1', 'acc_000', 2, 'success', claim)]);
      expect(await usage()).toBe(0);
      await report(store, 'mine', [turn('r2', 'acc_000', 1, 'success', claim)]);
      expect(await usage()).toBe(1);
    });

    it('counts so far that figures stay readable, however much is reported', async () => {
      const store = await withAccounts(1);
      await granted(store, 'mine');
      for (let time = 0; time < 3; time += 1) {
        const item = turn(`r${time}`, 'acc_000', 1, 'success');
        const inputTokens = Number.MAX_SAFE_INTEGER - 1;
        await report(
          store,
          'mine',
          [{ ...item, usage: { ...item.usage, inputTokens } }],
          start + time * 60_000,
        );
      }
      const account = await store.account(start, 'acc_000');
      expect(account?.usage.inputTokens).toBe(Number.MAX_SAFE_INTEGER);
      expect((await store.stats(start + 180_000)).lastHour.inputTokens).toBeGreaterThan(0);
    });

    it('knows when the next account that rests is back', async () => {
      const store = await withAccounts(2);
      expect(await store.nextBack(start)).toBeNull();
      await granted(store, 'mine');
      await report(store, 'mine', [turn('r1', 'acc_000', 1, 'rate_limited')], start);
      const rested = await store.account(start, 'acc_000');
      expect(rested?.standing.until).toBeGreaterThan(start);
      expect(await store.nextBack(start)).toBe(rested?.standing.until);
    });

    it('knows when the next quota of a usable account resets', async () => {
      const store = await withAccounts(4);
      expect(await store.nextReset(start)).toBeNull();
      const answers = { acc_000: 2, acc_001: 3, acc_002: 5 };
      for (const [id, hours] of Object.entries(answers)) {
        const resetAt = new Date(start + hours * 3_600_000);
        const denialReason = 'a\u0000 "resetAt":1';
        const isUnlimited = id === 'acc_000';
        const answer = { isUnlimited, limit: 9, used: 1, remaining: 8, resetAt, denialReason };
        await store.recordQuota(start, id, { type: 'answer', answer }, 'recheck');
      }
      // The first has no limit.
      expect(await store.nextReset(start)).toBe(start + 3 * 3_600_000);
      expect(await store.nextReset(start + 3 * 3_600_000)).toBe(start + 5 * 3_600_000);
      await store.removeAccount(start, 'acc_001', 'test');
      expect(await store.nextReset(start)).toBe(start + 5 * 3_600_000);
    });

    it('renews a session with any report, even an empty one', async () => {
      const store = await withAccounts(1);
      await granted(store, 'mine', { ttlMs: 1000 });
      await report(store, 'mine', [], start + 900);
      expect((await store.stats(start + 1899)).sessions).toBe(1);
      expect((await store.stats(start + 1900)).sessions).toBe(0);
    });

    it('ends the leases of an account that is disabled, rejected or removed', async () => {
      const store = await withAccounts(3);
      await granted(store, 'mine', { count: 3 });
      const disabled = { ...freshStanding, state: 'disabled' as const, reason: 'owner' };
      await store.changeAccount(
        start,
        'acc_000',
        { standing: { standing: disabled, probe: 'proved', quota: null, nextCheckAt: null } },
        { actor: 'test', action: 'disable', detail: {} },
      );
      await report(store, 'mine', [turn('r1', 'acc_001', 1, 'unauthorized')]);
      await store.removeAccount(start, 'acc_002', 'test');
      const stats = await store.stats(start);
      expect(stats).toMatchObject({ total: 2, inUse: 0, disabled: 1, reauthRequired: 1, sessions: 1 });
      const late = await report(store, 'mine', [turn('r2', 'acc_001', 1, 'success')]);
      expect(late?.results[0]).toMatchObject({
        result: 'stale',
        account: { standing: { state: 'reauth_required' } },
      });
    });

    it('keeps a 401 on an old token from ending a fresh one', async () => {
      const store = await withAccounts(1);
      const credential = { sealed: 's2', fingerprint: 'f2', hint: '****' };
      await store.changeAccount(start, 'acc_000', { credential }, { actor: 't', action: 'c', detail: {} });
      const [lease] = await granted(store, 'mine');
      expect(lease?.account.tokenVersion).toBe(2);
      const results = await report(store, 'mine', [turn('r1', 'acc_000', 1, 'unauthorized')]);
      expect(results?.results[0]).toMatchObject({
        account: { tokenVersion: 2, standing: { state: 'active' } },
      });
    });

    it('lends no free account in place of another of its provider whose quota is spent', async () => {
      const store = await open();
      const spent = { ...freshStanding, state: 'exhausted' as const, until: start + 5000, quotaSpent: true };
      await store.addAccount(start, testAccount('spent', { free: true, standing: spent }), 'test');
      await store.addAccount(start, testAccount('fresh', { free: true }), 'test');
      expect(await ensure(store, 'a')).toMatchObject({
        shortage: { matching: 2, reasons: { exhausted: 1, free_quota_spent: 1 } },
      });
      await store.addAccount(start, testAccount('paid'), 'test');
      expect((await granted(store, 'a'))[0]?.account.id).toBe('paid');
      expect(await granted(store, 'b', { count: 2 }, start + 5000)).toHaveLength(2);
    });

    it('sees that waiting is no use while the only other account is one the caller excludes', async () => {
      const store = await open();
      const resting = { ...freshStanding, state: 'cooldown' as const, until: start + 2000 };
      await store.addAccount(start, testAccount('excluded', { standing: resting }), 'test');
      const demand = { exclude: ['excluded'], waitUntil: start + 10_000 };
      expect(await ensure(store, 'a', demand)).toMatchObject({ result: 'short', couldServe: false });
      expect(await ensure(store, 'a', { waitUntil: start + 10_000 })).toMatchObject({ couldServe: true });
    });

    it('lends an account on trial to one holder at a time', async () => {
      const store = await withAccounts(1, { standing: { ...freshStanding, halfOpen: true } });
      const [lease] = await granted(store, 'a', { exclusive: false });
      const second = await ensure(store, 'b', { exclusive: false });
      expect(second).toMatchObject({ shortage: { reasons: { half_open: 1 } } });
      await report(store, 'a', [turn('r1', 'acc_000', lease?.fence ?? 0, 'success')]);
      expect(await granted(store, 'b', { exclusive: false })).toHaveLength(1);
    });

    it('recognises a credential it has already', async () => {
      const store = await withAccounts(1);
      const again = testAccount('again', { credential: testAccount('acc_000').credential });
      expect(await store.addAccount(start, again, 'test')).toMatchObject({
        result: 'duplicate',
        id: 'acc_000',
      });
    });

    it('hands out each due quota check once', async () => {
      const store = await withAccounts(3, { probe: 'unproved', nextCheckAt: start + 60_000 });
      expect(await store.claimQuotaChecks(start, 10)).toHaveLength(0);
      expect(await store.claimQuotaChecks(start + 60_000, 2)).toHaveLength(2);
      expect(await store.claimQuotaChecks(start + 60_000, 2)).toHaveLength(1);
      expect(await store.claimQuotaChecks(start + 60_000, 2)).toHaveLength(0);
    });

    it('asks again about an account in use within 15 min, however long it lay idle', async () => {
      const minute = 60_000;
      const store = await withAccounts(1, { nextCheckAt: start });
      const answer = { isUnlimited: false, limit: 10, used: 1, remaining: 9 };
      const ask = (now: number) => store.recordQuota(now, 'acc_000', { type: 'answer', answer }, 'recheck');
      let now = start;
      for (let time = 0; time < 6; time += 1) {
        expect(await store.claimQuotaChecks(now, 1)).toHaveLength(1);
        await ask(now);
        expect(await store.claimQuotaChecks(now + 14 * minute, 1)).toHaveLength(0);
        now += 300 * minute;
      }
      expect(await store.claimQuotaChecks(now, 1)).toHaveLength(1);
      await ask(now);
      // Hours away now; a turn brings it nearer.
      expect(await store.claimQuotaChecks(now + 60 * minute, 1)).toHaveLength(0);
      const [lease] = await granted(store, 'a', {}, now);
      await report(store, 'a', [turn('r1', 'acc_000', lease?.fence ?? 0, 'success')], now);
      expect(await store.claimQuotaChecks(now + 14 * minute, 1)).toHaveLength(0);
      expect(await store.claimQuotaChecks(now + 15 * minute, 1)).toHaveLength(1);
    });

    it('writes who leased an API key, and nothing secret', async () => {
      const store = await withAccounts(1);
      await granted(store, 'mine');
      const trail = await store.auditTrail({ limit: 10 });
      expect(trail.map((entry) => entry.action)).toEqual(['lease', 'account-added']);
      expect(JSON.stringify(trail)).not.toContain('sealed');
    });

    it('keeps its counters and its promises through any run of calls', async () => {
      const session = fc.constantFrom('a', 'b', 'c', 'd');
      const accountId = fc.constantFrom('acc_000', 'acc_001', 'acc_002', 'acc_003');
      const step = fc.oneof(
        fc.record({
          type: fc.constant('allocate' as const),
          session,
          exclusive: fc.boolean(),
          slots: fc.integer({ min: 1, max: 3 }),
          count: fc.integer({ min: 1, max: 3 }),
        }),
        fc.record({ type: fc.constant('release' as const), session }),
        fc.record({
          type: fc.constant('report' as const),
          session,
          accountId,
          fence: fc.integer({ min: 1, max: 6 }),
          outcome: fc.constantFrom(
            'success' as const,
            'rate_limited' as const,
            'refused' as const,
            'unavailable' as const,
          ),
        }),
        fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
        fc.record({ type: fc.constant('enable' as const), accountId, enabled: fc.boolean() }),
        fc.record({ type: fc.constant('remove' as const), accountId }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const store = await withAccounts(4, { capacity: 4 });
          const fences = new Map<string, number>();
          let now = start;
          let reports = 0;
          for (const action of steps) {
            if (action.type === 'allocate') {
              const slots = action.exclusive ? 1 : action.slots;
              const change = { exclusive: action.exclusive, slots, count: action.count, ttlMs: 15_000 };
              const result = await ensure(store, action.session, change, now);
              if (result.result === 'granted') {
                expect(result.leases.length).toBeGreaterThanOrEqual(action.count);
                for (const { id, fence } of result.added) {
                  expect(fence).toBeGreaterThan(fences.get(id) ?? 0);
                  fences.set(id, fence);
                }
              }
            } else if (action.type === 'release') {
              await store.release(now, { sessionId: action.session, keyId: 'key-1', leases: null });
            } else if (action.type === 'report') {
              reports += 1;
              const item = turn(`r${reports}`, action.accountId, action.fence, action.outcome);
              const before = await store.account(now, action.accountId);
              const result = await report(store, action.session, [item], now);
              const applied = result?.results[0];
              if (applied?.result === 'stale') expect(applied.account?.standing).toEqual(before?.standing);
            } else if (action.type === 'pass') {
              now += action.ms;
            } else if (action.type === 'enable') {
              const standing = action.enabled
                ? freshStanding
                : { ...freshStanding, state: 'disabled' as const, streaks: noStreaks };
              await store.changeAccount(
                now,
                action.accountId,
                { standing: { standing, probe: 'proved', quota: null, nextCheckAt: null } },
                { actor: 'test', action: 'enable', detail: {} },
              );
            } else {
              await store.removeAccount(now, action.accountId, 'test');
            }
            await expectExact(store, now);
          }
          opened = opened.filter((other) => other !== store);
          await store.close();
        }),
        { numRuns: runs },
      );
    });

    it('keeps what it was told to remember', async () => {
      const store = await open();
      expect(await store.remembered('thing')).toBeNull();
      await store.remember('thing', 'one');
      await store.remember('thing', 'two');
      expect(await store.remembered('thing')).toBe('two');
    });
  });

  async function expectExact(store: Store, now: number): Promise<void> {
    const { accounts } = await store.accounts(now, { limit: 100 });
    const inState = (state: string): number => accounts.filter((one) => one.standing.state === state).length;
    const stats = await store.stats(now);
    expect(stats).toMatchObject({
      total: accounts.length,
      inUse: accounts.filter((one) => one.holders > 0).length,
      active: inState('active'),
      cooldown: inState('cooldown'),
      disabled: inState('disabled'),
    });
    for (const one of accounts) {
      expect(one.slotsInUse).toBeLessThanOrEqual(one.capacity);
      expect(one.slotsInUse).toBeGreaterThanOrEqual(one.holders);
      if (one.standing.state === 'disabled') expect(one.holders).toBe(0);
    }
  }
}
