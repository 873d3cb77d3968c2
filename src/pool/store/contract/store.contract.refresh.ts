import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { freshStanding } from '../../standing/account-state.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import type {
  NewStoredAccount,
  RefreshClaimResult,
  RefreshDemand,
  RefreshedCredential,
  RefreshFailed,
  Store,
  StoredAccount,
} from '../store.ts';

const start = Date.UTC(2026, 0, 1);
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const audit = { actor: 'owner', action: 'account-changed', detail: {} };

/** What every store must do about tokens, whatever database is below it. */
export function describeRefreshes(name: string, openStore: () => Promise<Store>, runs = 60): void {
  let opened: Store[] = [];
  const withAccount = async (change: Partial<NewStoredAccount> = {}): Promise<Store> => {
    const store = await openStore();
    opened.push(store);
    await store.addAccount(start, tokenAccount('acc', change), 'test');
    return store;
  };

  describe(`the refresh journal of ${name}`, () => {
    afterEach(async () => {
      for (const store of opened) await store.close();
      opened = [];
    });

    it('lets one of many parallel callers write an intent', async () => {
      const store = await withAccount();
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, caller) => claim(store, start, { instance: `i${caller}` })),
      );
      expect(results.filter((result) => result.result === 'claimed')).toHaveLength(1);
      expect(results.filter((result) => result.result === 'under_way')).toHaveLength(19);
    });

    it('commits a token: a newer version, its bearer, no failure, the next refresh', async () => {
      const store = await withAccount();
      const { refreshId } = await claimed(store, start);
      const done = await store.commitRefresh(start + 1, refreshId, token({ email: 'late@example.com' }));
      expect(done?.account).toMatchObject({
        tokenVersion: 2,
        bearer: { sealed: 'bearer', expiresAt: start + 2 * hour },
        sealedCredential: 'sealed-acc',
        email: 'acc@example.com',
        lastRefreshTime: start + 1,
        refreshFailure: null,
        nextRefreshAt: start + 90 * minute,
        standing: { state: 'active' },
      });
      expect(done?.changes.hasFreed).toBe(true);
    });

    it('answers the same when a commit is repeated because its answer was lost', async () => {
      const store = await withAccount();
      const { refreshId } = await claimed(store, start);
      const first = await store.commitRefresh(start, refreshId, token());
      const second = await store.commitRefresh(start, refreshId, token());
      expect(second?.account).toEqual(first?.account);
    });

    it('keeps attempts that count an interval apart, from the answer to the next intent', async () => {
      const store = await withAccount();
      const { refreshId } = await claimed(store, start);
      await store.commitRefresh(start + 5 * second, refreshId, token());
      const opensAt = start + 5 * second + hour;
      expect((await store.account(start + minute, 'acc'))?.nextRefreshAt).toBeGreaterThanOrEqual(opensAt);
      expect(await claim(store, opensAt - 1)).toMatchObject({
        result: 'too_early',
        reason: 'ceiling',
        nextAt: opensAt,
      });
      expect((await claim(store, opensAt)).result).toBe('claimed');
    });

    it.each([
      ['unsent', false],
      ['refused', false],
      ['unknown', true],
    ] as const)('after an attempt that ended %s the ceiling is closed: %s', async (failure, isClosed) => {
      const store = await withAccount();
      await fail(store, start, { failure, retryAt: start + minute });
      expect(await claim(store, start + minute - 1)).toMatchObject({ result: 'too_early' });
      const next = await claim(store, start + minute);
      expect(next).toMatchObject(
        isClosed
          ? { result: 'too_early', reason: 'ceiling', nextAt: start + hour }
          : { result: 'claimed', followsInterruption: false },
      );
    });

    it('counts failures in a row, waits after each, and forgets them with the next token', async () => {
      const store = await withAccount();
      await fail(store, start, { retryAt: start + 5 * minute });
      expect(await claim(store, start + minute)).toMatchObject({
        result: 'too_early',
        reason: 'backoff',
        nextAt: start + 5 * minute,
      });
      const again = await fail(store, start + 5 * minute, { retryAt: start + 15 * minute });
      expect(again?.account).toMatchObject({
        nextRefreshAt: start + 15 * minute,
        refreshFailure: { failure: 'refused', message: 'said no', inARow: 2, retryAt: start + 15 * minute },
        standing: { state: 'cooldown', reason: 'token_pending', until: start + 15 * minute },
      });
      const { refreshId } = await claimed(store, start + 15 * minute);
      const done = await store.commitRefresh(start + 15 * minute, refreshId, token());
      expect(done?.account.refreshFailure).toBeNull();
    });

    it('counts attempts that were never sent apart from those that were answered', async () => {
      const store = await withAccount();
      const failed = async (at: number, failure: 'unsent' | 'refused') =>
        (await fail(store, at, { failure, retryAt: at + second }))?.account.refreshFailure?.inARow;
      expect(await failed(start, 'unsent')).toBe(1);
      expect(await failed(start + minute, 'unsent')).toBe(2);
      expect(await failed(start + 2 * minute, 'refused')).toBe(1);
      expect(await failed(start + 8 * minute, 'refused')).toBe(2);
      expect(await failed(start + 30 * minute, 'unsent')).toBe(1);
    });

    it('lets force pass the ceiling and the wait after a failure, never a refresh under way, and audits it', async () => {
      const store = await withAccount();
      await fail(store, start, { failure: 'unknown', retryAt: start + 5 * minute });
      const forced = await claimed(store, start + second, { force: true, actor: 'owner' });
      expect((await claim(store, start + second, { force: true })).result).toBe('under_way');
      await store.commitRefresh(start + second, forced.refreshId, token());
      expect(await claim(store, start + hour)).toMatchObject({ nextAt: start + hour + second });
      const [line] = await store.auditTrail({ limit: 1 });
      expect(line).toMatchObject({ actor: 'owner', action: 'ceiling-passed', accountId: 'acc' });
    });

    it('has nothing to refresh on an API key, an account out of service, and one that is not there', async () => {
      const store = await withAccount();
      await store.addAccount(start, testAccount('key'), 'test');
      await setState(store, start, 'disabled');
      for (const accountId of ['acc', 'key', 'gone']) {
        expect((await claim(store, start, { accountId, force: true })).result).toBe('not_refreshable');
      }
      expect(await store.dueForRefresh(start + 9 * hour, 10)).toEqual([]);
      await setState(store, start, 'active');
      expect((await claim(store, start)).result).toBe('claimed');
    });

    it('finds what a process left behind, once, and lets nobody refresh again within the interval', async () => {
      const store = await withAccount();
      const { refreshId } = await claimed(store, start, { instance: 'dead' });
      expect((await store.findInterruptedRefreshes(start + second, null)).interrupted).toEqual([]);
      expect((await store.findInterruptedRefreshes(start + second, 'other')).interrupted).toEqual([]);
      const found = await store.findInterruptedRefreshes(start + second, 'dead');
      expect(found.interrupted).toEqual([{ refreshId, accountId: 'acc', intentAt: start }]);
      expect((await store.findInterruptedRefreshes(start + second, 'dead')).interrupted).toEqual([]);
      const [line] = await store.auditTrail({ limit: 1, accountId: 'acc' });
      expect(line?.action).toBe('refresh-interrupted');
      // Its request may have reached the issuer as late as this.
      const opensAt = start + second + hour;
      expect(await store.account(start + second, 'acc')).toMatchObject({
        nextRefreshAt: opensAt,
        refreshFailure: { failure: 'interrupted', inARow: 1, retryAt: opensAt },
        standing: { state: 'cooldown', reason: 'token_pending', until: opensAt },
      });
      expect((await claim(store, opensAt - 1)).result).toBe('too_early');
      expect(await claim(store, opensAt)).toMatchObject({
        result: 'claimed',
        followsInterruption: true,
      });
    });

    it('takes an attempt past its limit for interrupted, with or without anybody looking for it', async () => {
      const store = await withAccount();
      await claimed(store, start, { limitMs: minute });
      expect((await claim(store, start + minute - 1)).result).toBe('under_way');
      expect(await claim(store, start + 9 * minute)).toMatchObject({
        result: 'too_early',
        nextAt: start + minute + hour,
      });
      const other = await withAccount();
      await claimed(other, start, { limitMs: minute });
      expect(await other.nextRefreshDue(start)).toBe(start + minute);
      expect((await other.findInterruptedRefreshes(start + minute, null)).interrupted).toHaveLength(1);
    });

    it('closes the ceiling for no longer than the interval after the clock was set back', async () => {
      const store = await withAccount();
      const back = start - 3 * hour;
      const failed = await fail(store, start, { failure: 'unknown', retryAt: start + 2 * hour });
      expect(failed?.account.refreshFailure?.retryAt).toBe(start + 2 * hour);
      expect(await claim(store, back)).toMatchObject({ result: 'too_early', nextAt: back + 2 * hour });
      expect(await claim(store, back + minute)).toMatchObject({ nextAt: back + 2 * hour });
      const { refreshId } = await claimed(store, back + 2 * hour);
      const done = await store.commitRefresh(back - minute, refreshId, token({ nextRefreshAt: back }));
      expect(done?.account.nextRefreshAt).toBe(back - minute + hour);

      const other = await withAccount();
      await claimed(other, start, { limitMs: minute });
      expect((await claim(other, back)).result).toBe('under_way');
      expect(await claim(other, back + minute)).toMatchObject({ nextAt: back + minute + hour });
    });

    it('takes a late token of an attempt that was given up for lost, while no later one was begun', async () => {
      const store = await withAccount();
      const first = await claimed(store, start);
      await store.findInterruptedRefreshes(start + 2 * minute, null);
      const late = await store.commitRefresh(start + 3 * minute, first.refreshId, token());
      expect(late?.account).toMatchObject({ tokenVersion: 2, standing: { state: 'active' } });

      const other = await withAccount();
      const before = await claimed(other, start);
      await other.findInterruptedRefreshes(start + 2 * minute, null);
      const laterAt = start + minute + hour;
      const later = await claimed(other, laterAt);
      expect(await other.commitRefresh(laterAt, before.refreshId, token())).toBeNull();
      expect(await other.commitRefresh(laterAt, later.refreshId, token())).not.toBeNull();
    });

    it('says that an attempt follows one that may have issued a token, until there is a new one', async () => {
      const store = await withAccount();
      await fail(store, start, { failure: 'unknown', retryAt: start });
      const next = await claimed(store, start + hour);
      expect(next.followsInterruption).toBe(true);
      await failWith(store, start + hour, next.refreshId, { failure: 'refused', retryAt: start + hour });
      const third = await claimed(store, start + hour);
      expect(third.followsInterruption).toBe(true);
      await store.commitRefresh(start + hour, third.refreshId, token());
      expect((await claimed(store, start + 2 * hour)).followsInterruption).toBe(false);
    });

    it('says that an account is the last usable one of its provider, which others that rest disprove', async () => {
      const store = await withAccount();
      await store.addAccount(start, testAccount('other', { provider: 'openai' }), 'test');
      const dead = { ...freshStanding, state: 'reauth_required' as const };
      await store.addAccount(start, testAccount('dead', { standing: dead }), 'test');
      const last = await claimed(store, start);
      expect(last.isLastUsable).toBe(true);
      const resting = { ...freshStanding, state: 'cooldown' as const, until: start + 3 * hour };
      await store.addAccount(start, testAccount('resting', { standing: resting }), 'test');
      await store.commitRefresh(start, last.refreshId, token());
      expect((await claimed(store, start + hour)).isLastUsable).toBe(false);
    });

    it('gives an account up with its reason, ends its leases and refreshes it no more', async () => {
      const store = await withAccount({ bearer: bearer(start + hour) });
      await store.ensureLeases(start, testDemand('mine'));
      const done = await fail(store, start, { failure: 'invalid_grant', givenUp: 'invalid_grant' });
      expect(done).toMatchObject({
        isCurrent: true,
        account: {
          standing: { state: 'reauth_required', reason: 'invalid_grant', until: null },
          refreshFailure: { failure: 'invalid_grant', retryAt: null },
          nextRefreshAt: null,
          holders: 0,
        },
      });
      expect(done?.changes.accounts).toMatchObject([{ id: 'acc', state: 'reauth_required' }]);
      const [line] = await store.auditTrail({ limit: 1 });
      expect(line).toMatchObject({ action: 'account-given-up', detail: { reason: 'invalid_grant' } });
    });

    it('gives nothing up, and keeps what the owner gave, when the credential was replaced meanwhile', async () => {
      const replace = (store: Store) =>
        store.changeAccount(start, 'acc', { credential: credential('new', 'f-new') }, audit);
      const dying = await withAccount();
      const one = await claimed(dying, start);
      await replace(dying);
      const failed = await failWith(dying, start, one.refreshId, {
        failure: 'invalid_grant',
        givenUp: 'invalid_grant',
      });
      expect(failed).toMatchObject({
        isCurrent: false,
        account: { standing: { state: 'cooldown' }, refreshFailure: null, sealedCredential: 'new' },
      });
      const rotating = await withAccount();
      const two = await claimed(rotating, start);
      await replace(rotating);
      const lost = token({ credential: credential('rotated', 'f-rotated') });
      expect(await rotating.commitRefresh(start, two.refreshId, lost)).toBeNull();
      expect((await rotating.account(start, 'acc'))?.sealedCredential).toBe('new');
      expect((await claim(rotating, start)).result).toBe('too_early');
    });

    it('knows the token an account came with and the present one, whatever rotates between', async () => {
      const store = await withAccount();
      for (let round = 0; round < 4; round += 1) {
        const { refreshId } = await claimed(store, start + round * hour);
        const rotated = token({ credential: credential(`sealed-${round}`, `f-${round}`) });
        await store.commitRefresh(start + round * hour, refreshId, rotated);
      }
      const known = async (fingerprint: string) =>
        (await store.accountOfCredential(start, 'warp', fingerprint))?.id ?? null;
      expect(await known('fingerprint-acc')).toBe('acc');
      expect(await known('f-3')).toBe('acc');
      expect(await known('f-2')).toBe('acc');
      expect(await known('f-0')).toBeNull();
      expect((await store.account(start, 'acc'))?.sealedCredential).toBe('sealed-3');
    });

    it('stores a rotated token even when another account has the very same one', async () => {
      const store = await withAccount();
      await store.addAccount(start, tokenAccount('twin'), 'test');
      const { refreshId } = await claimed(store, start);
      const same = credential('rotated', 'fingerprint-twin');
      const done = await store.commitRefresh(start, refreshId, token({ credential: same }));
      expect(done?.account).toMatchObject({ tokenVersion: 2, sealedCredential: 'rotated' });
      const known = await store.accountOfCredential(start, 'warp', 'fingerprint-twin');
      expect(known?.id).toBe('twin');
    });

    it('keeps the ceiling for an account that is removed and added again', async () => {
      const store = await withAccount();
      await fail(store, start, { failure: 'unknown', retryAt: start });
      await store.removeAccount(start + second, 'acc', 'owner');
      const again = tokenAccount('again', { credential: tokenAccount('acc').credential });
      await store.addAccount(start + 2 * second, again, 'owner');
      const demand = { accountId: 'again' };
      expect(await claim(store, start + 2 * second, demand)).toMatchObject({ nextAt: start + hour });
      expect((await claim(store, start + hour, demand)).result).toBe('claimed');
    });

    it('answers who is due, the longest due first, but nobody with an attempt under way', async () => {
      const store = await withAccount({ nextRefreshAt: start + 3 * second });
      const add = (id: string, at: number) =>
        store.addAccount(start, tokenAccount(id, { nextRefreshAt: at }), 'test');
      await add('later', start + minute);
      await add('sooner', start + second);
      expect(await store.nextRefreshDue(start)).toBe(start + second);
      expect(await ids(store.dueForRefresh(start + 3 * second, 10))).toEqual(['sooner', 'acc']);
      expect(await ids(store.dueForRefresh(start + 3 * second, 1))).toEqual(['sooner']);
      await claimed(store, start + 3 * second, { accountId: 'sooner', limitMs: hour });
      expect(await ids(store.dueForRefresh(start + 3 * second, 10))).toEqual(['acc']);
      expect(await store.nextRefreshDue(start + 3 * second)).toBe(start + 3 * second);
    });

    it('moves a refresh, and earlier only where that is asked for', async () => {
      const store = await withAccount({ nextRefreshAt: start + minute });
      const at = async () => (await store.account(start, 'acc'))?.nextRefreshAt;
      await store.scheduleRefresh(start, 'acc', start + hour, true);
      expect(await at()).toBe(start + minute);
      await store.scheduleRefresh(start, 'acc', start + hour, false);
      expect(await at()).toBe(start + hour);
      await store.scheduleRefresh(start, 'acc', start + second, true);
      expect(await at()).toBe(start + second);
      expect((await store.account(start, 'acc'))?.standing.until).toBe(start + second);
    });

    it('moves an account that was due too early to the time the ceiling opens', async () => {
      const store = await withAccount();
      await fail(store, start, { failure: 'unknown', retryAt: start });
      await store.scheduleRefresh(start, 'acc', start + minute, false);
      await claim(store, start + minute);
      expect(await store.nextRefreshDue(start + minute)).toBe(start + hour);
    });

    it('never has two intents that count within the interval, nor two at a time', async () => {
      const step = fc.oneof(
        fc.record({ type: fc.constant('claim' as const), callers: fc.integer({ min: 1, max: 5 }) }),
        fc.record({
          type: fc.constant('end' as const),
          how: fc.constantFrom('commit' as const, 'unsent' as const, 'refused' as const, 'unknown' as const),
        }),
        fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 50 * minute }) }),
        fc.record({ type: fc.constant('crash' as const) }),
        fc.record({ type: fc.constant('readd' as const) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const store = await withAccount();
          let now = start;
          let accountId = 'acc';
          let running: string | null = null;
          let counted = Number.NEGATIVE_INFINITY;
          let before = counted;
          for (const action of steps) {
            if (action.type === 'pass') now += action.ms;
            else if (action.type === 'claim') {
              const results = await Promise.all(
                Array.from({ length: action.callers }, () => claim(store, now, { accountId })),
              );
              const won = results.filter((result) => result.result === 'claimed');
              expect(won.length).toBeLessThanOrEqual(1);
              for (const { refreshId } of won) {
                expect(now - counted).toBeGreaterThanOrEqual(hour);
                before = counted;
                counted = now;
                running = refreshId;
              }
            } else if (action.type === 'crash') {
              await store.findInterruptedRefreshes(now, 'here');
              running = null;
            } else if (action.type === 'readd') {
              await store.removeAccount(now, accountId, 'owner');
              accountId = accountId === 'acc' ? 'acc2' : 'acc';
              const { credential: same } = tokenAccount('acc');
              await store.addAccount(now, tokenAccount(accountId, { credential: same }), 'owner');
              running = null;
            } else if (running !== null) {
              if (action.how === 'commit') await store.commitRefresh(now, running, token());
              else {
                const failure = action.how;
                const failed = await failWith(store, now, running, { failure, retryAt: now });
                if (failed !== null && failure !== 'unknown') counted = before;
              }
              running = null;
            }
          }
          opened = opened.filter((other) => other !== store);
          await store.close();
        }),
        { numRuns: runs },
      );
    });
  });

  describe(`bearers in ${name}`, () => {
    afterEach(async () => {
      for (const store of opened) await store.close();
      opened = [];
    });

    it('are lent until ten seconds before they expire', async () => {
      const store = await withAccount({ bearer: bearer(start + hour), nextRefreshAt: start + 2 * hour });
      const lapse = start + hour - 10 * second;
      expect((await store.ensureLeases(lapse - 1, testDemand('a'))).result).toBe('granted');
      await store.release(lapse - 1, { sessionId: 'a', keyId: null, leases: null });
      const short = await store.ensureLeases(lapse, testDemand('b'));
      expect(short).toMatchObject({ result: 'short', refreshBy: null, nextAt: start + 2 * hour });
      expect(short.changes.accounts).toMatchObject([{ id: 'acc', state: 'cooldown' }]);
      expect((await store.account(lapse, 'acc'))?.standing).toMatchObject({
        reason: 'token_expired',
        until: start + 2 * hour,
      });
    });

    it('that have lapsed bring no account back when its time has come, only a refresh does', async () => {
      const store = await withAccount({ nextRefreshAt: start + minute });
      expect((await store.account(start, 'acc'))?.standing).toMatchObject({
        state: 'cooldown',
        reason: 'token_pending',
        until: start + minute,
      });
      for (let at = start + minute; at < start + 5 * minute; at += 7 * second) {
        expect((await store.ensureLeases(at, testDemand('a', { waitUntil: at }))).result).toBe('short');
        expect((await store.account(at, 'acc'))?.standing.until).toBeGreaterThan(at);
      }
      const { refreshId } = await claimed(store, start + 5 * minute);
      const done = await store.commitRefresh(start + 5 * minute, refreshId, token());
      expect(done?.changes.accounts).toMatchObject([{ id: 'acc', state: 'active' }]);
      expect((await store.ensureLeases(start + 5 * minute, testDemand('a'))).result).toBe('granted');
    });

    it.each(['exhausted', 'cooldown'] as const)(
      'that lapse while the account is %s keep it out after it',
      async (state) => {
        const standing = { ...freshStanding, state, until: start + hour, reason: 'test' };
        const store = await withAccount({ standing, bearer: bearer(start + minute) });
        expect((await store.account(start + minute, 'acc'))?.standing).toMatchObject({
          state,
          reason: 'test',
        });
        expect((await store.account(start + hour, 'acc'))?.standing).toMatchObject({
          state: 'cooldown',
          reason: 'token_expired',
        });
      },
    );

    it('come while the account is exhausted, resting or in standby, and leave it so', async () => {
      for (const state of ['exhausted', 'cooldown', 'standby'] as const) {
        const standing = { ...freshStanding, state, until: start + 9 * hour, reason: 'test' };
        const store = await withAccount({ standing });
        expect(await ids(store.dueForRefresh(start, 1))).toEqual(['acc']);
        const { refreshId } = await claimed(store, start);
        const done = await store.commitRefresh(start, refreshId, token());
        expect(done?.account).toMatchObject({ standing: { state, reason: 'test' }, tokenVersion: 2 });
      }
    });

    it('that are rejected early rest the account until a refresh, which is due at once', async () => {
      const store = await withAccount({ bearer: bearer(start + hour), nextRefreshAt: start + 50 * minute });
      expect(await rejected(store, start)).toMatchObject({
        result: 'applied',
        shouldRefresh: true,
        account: {
          standing: { state: 'cooldown', reason: 'token_rejected' },
          holders: 1,
          nextRefreshAt: start,
        },
      });
      const until = (await store.account(start, 'acc'))?.standing.until ?? 0;
      expect((await store.account(until + second, 'acc'))?.standing).toMatchObject({
        state: 'cooldown',
        reason: 'token_rejected',
      });
      const { refreshId } = await claimed(store, until + 2 * second);
      await store.commitRefresh(until + 2 * second, refreshId, token());
      expect((await store.account(until + 2 * second, 'acc'))?.standing.state).toBe('active');
    });

    it('that are rejected while the ceiling is closed rest the account until it opens', async () => {
      const store = await withAccount();
      const { refreshId } = await claimed(store, start);
      await store.commitRefresh(start, refreshId, token());
      await rejected(store, start + minute, 2);
      await claim(store, start + minute);
      expect((await store.account(start + minute, 'acc'))?.standing).toMatchObject({
        state: 'cooldown',
        reason: 'token_rejected',
        until: start + hour,
      });
    });

    it('are not rejected by a 401 on one that was replaced', async () => {
      const store = await withAccount();
      const { refreshId } = await claimed(store, start);
      await store.commitRefresh(start, refreshId, token());
      expect(await rejected(store, start + minute, 1)).toMatchObject({
        result: 'stale',
        shouldRefresh: false,
        account: { standing: { state: 'active' } },
      });
    });

    it('tell a caller who is short when refreshes alone would serve it within 15 s', async () => {
      const store = await withAccount({ nextRefreshAt: start + 20 * second });
      const refreshBy = async (now: number, change = {}) => {
        const result = await store.ensureLeases(now, testDemand('a', change));
        return result.result === 'short' ? result.refreshBy : 'granted';
      };
      expect(await refreshBy(start)).toBeNull();
      expect(await refreshBy(start + 5 * second)).toBe(start + 20 * second);
      expect(await refreshBy(start + 5 * second, { count: 2 })).toBeNull();
      expect(await refreshBy(start + 5 * second, { exclude: ['acc'] })).toBeNull();
    });

    it('go with the credential an owner replaces, and so do the leases', async () => {
      const store = await withAccount({ bearer: bearer(start + hour) });
      await store.ensureLeases(start, testDemand('mine'));
      const changed = await store.changeAccount(
        start,
        'acc',
        { credential: credential('new', 'f-new') },
        audit,
      );
      expect(changed?.account).toMatchObject({
        bearer: null,
        tokenVersion: 2,
        holders: 0,
        nextRefreshAt: start,
        standing: { state: 'cooldown', reason: 'token_pending' },
      });
    });

    it('bring a dead account back with the credential they come with', async () => {
      const store = await withAccount();
      await fail(store, start, { failure: 'invalid_grant', givenUp: 'invalid_grant' });
      const given = {
        ...credential('new', 'f-new'),
        bearer: bearer(start + 2 * hour),
        nextRefreshAt: start + hour,
      };
      const standing = {
        standing: freshStanding,
        probe: 'unproved' as const,
        quota: null,
        nextCheckAt: null,
      };
      const changed = await store.changeAccount(start, 'acc', { credential: given, standing }, audit);
      expect(changed?.account).toMatchObject({
        standing: { state: 'active' },
        refreshFailure: null,
        nextRefreshAt: start + hour,
      });
    });

    it('are asked about as soon as they come when nothing has proved the account yet', async () => {
      const store = await withAccount({ probe: 'unproved' });
      expect(await store.claimQuotaChecks(start, 1)).toEqual([]);
      const { refreshId } = await claimed(store, start);
      await store.commitRefresh(start, refreshId, token());
      expect(await ids(store.claimQuotaChecks(start, 1))).toEqual(['acc']);
    });
  });

  async function rejected(store: Store, now: number, tokenVersion = 1) {
    const granted = await store.ensureLeases(now, testDemand('mine'));
    if (granted.result !== 'granted') throw new Error(`expected a grant, got ${granted.result}`);
    const [lease] = granted.leases;
    const usage = { turns: 1, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0 };
    const signal = { outcome: 'unauthorized' as const, tokenVersion };
    const turn = { reportId: 'r', accountId: 'acc', fence: lease?.fence ?? 0, signal, usage };
    const answer = await store.report(now, {
      sessionId: 'mine',
      keyId: 'key-1',
      turns: [turn],
    });
    return answer?.results[0];
  }
}

function tokenAccount(id: string, change: Partial<NewStoredAccount> = {}): NewStoredAccount {
  return testAccount(id, { credentialKind: 'refresh_token', ...change });
}

const bearer = (expiresAt: number) => ({ sealed: 'bearer', expiresAt });
const credential = (sealed: string, fingerprint: string) => ({ sealed, fingerprint, hint: '****' });

function token(change: Partial<RefreshedCredential> = {}): RefreshedCredential {
  return { bearer: bearer(start + 2 * hour), nextRefreshAt: start + 90 * minute, ...change };
}

function claim(store: Store, now: number, change: Partial<RefreshDemand> = {}): Promise<RefreshClaimResult> {
  const demand = { accountId: 'acc', minIntervalMs: hour, limitMs: minute, force: false };
  return store.claimRefresh(now, { ...demand, instance: 'here', actor: 'housekeeper', ...change });
}

async function claimed(store: Store, now: number, change: Partial<RefreshDemand> = {}) {
  const result = await claim(store, now, change);
  if (result.result !== 'claimed') throw new Error(`expected a claim, got ${JSON.stringify(result)}`);
  return result;
}

function failWith(store: Store, now: number, refreshId: string, change: Partial<RefreshFailed>) {
  const failed = { failure: 'refused' as const, message: 'said no', retryAt: now, givenUp: null };
  return store.failRefresh(now, refreshId, { ...failed, ...change });
}

async function fail(store: Store, now: number, change: Partial<RefreshFailed>) {
  const { refreshId } = await claimed(store, now);
  return failWith(store, now, refreshId, change);
}

async function ids(accounts: Promise<readonly StoredAccount[]>): Promise<string[]> {
  return (await accounts).map((account) => account.id);
}

async function setState(store: Store, now: number, state: 'disabled' | 'active'): Promise<void> {
  const standing = { ...freshStanding, state };
  const change = { standing: { standing, probe: 'proved' as const, quota: null, nextCheckAt: null } };
  await store.changeAccount(now, 'acc', change, audit);
}
