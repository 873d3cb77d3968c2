import { describe, expect, it, onTestFinished } from 'vitest';
import { type DevicePoll, type Provider, TokenError, type TokenGrant } from '../../core/provider.ts';
import { createLogger } from '../../lib/log/logger.ts';
import type { Caller } from '../base/basics.ts';
import { createPool } from '../create-pool.ts';
import { openMemoryStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { createTestClock, type TestClock, testSettings } from '../testing/test-pool.ts';
import { createVault } from '../vault/vault.ts';

const admin: Caller = { role: 'admin', keyId: 'key-1', isGateway: false };
const secret = 'device-code-secret';
const second = 1000;

type PollAnswer = DevicePoll | Error | (() => Promise<DevicePoll>);

interface Parts {
  readonly clock: TestClock;
  readonly store: Store;
  /** What polls answer, in order; the last goes on. */
  answers: PollAnswer[];
  /** When the provider was polled, in seconds since the start. */
  readonly polls: number[];
  readonly refreshes: string[];
  start(): Promise<ReturnType<typeof createPool>>;
  pass(seconds: number): Promise<void>;
}

function createParts(change: Partial<Provider> = {}): Parts {
  const clock = createTestClock();
  const store = openMemoryStore(clock.now(), { auditsLeases: true });
  const began = clock.now();
  const parts: Parts = {
    clock,
    store,
    answers: [{ result: 'pending' }],
    polls: [],
    refreshes: [],
    async start() {
      // A pool closes its store; here others go on with it.
      const pool = createPool({
        store: { ...store, close: async () => {} },
        clock,
        vault: createVault(new Uint8Array(32).fill(7)),
        providers: new Map<string, Provider>([
          ['warp', provider],
          ['openai', { ...provider, name: 'openai', logins: undefined } as unknown as Provider],
        ]),
        logger: createLogger('fatal'),
        settings: testSettings,
      });
      await pool.start();
      onTestFinished(() => pool.close());
      return pool;
    },
    async pass(seconds) {
      for (let gone = 0; gone < seconds; gone += 1) {
        clock.advance(second);
        for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
  const provider: Provider = {
    name: 'warp',
    normalizeApiKey: (key) => key,
    getQuota: async () => ({ isUnlimited: false, limit: 100, used: 1, remaining: 99 }),
    tokens: {
      isLoopback: false,
      async refresh(refreshToken) {
        parts.refreshes.push(refreshToken);
        throw new TokenError('unsent', 'nobody is there');
      },
    },
    logins: {
      start: async () => ({
        deviceCode: secret,
        userCode: 'AB-CD',
        verificationUri: 'https://warp.example/device',
        expiresInMs: 300 * second,
        intervalMs: 5 * second,
      }),
      async poll(deviceCode) {
        expect(deviceCode).toBe(secret);
        parts.polls.push((clock.now() - began) / second);
        const answer = parts.answers.length > 1 ? parts.answers.shift() : parts.answers[0];
        if (answer instanceof Error) throw answer;
        if (typeof answer === 'function') return answer();
        return answer ?? { result: 'pending' };
      },
    },
    ...change,
  };
  return parts;
}

const granted = (change: Partial<TokenGrant> = {}): DevicePoll => ({
  result: 'granted',
  grant: {
    bearer: 'bearer-1',
    refreshToken: 'refresh-1',
    lifetimeMs: 3_600_000,
    email: 'me@example.com',
    ...change,
  },
});

const requestOf = { provider: 'warp', label: 'work', capacity: 4, tier: 1 };

describe('a login', () => {
  it.each([
    [1e-300, 1],
    [1e300, 60],
  ])('has bounds of its own where a provider asks for an interval of %d seconds', async (asked, told) => {
    const parts = createParts({
      logins: {
        start: async () => ({
          deviceCode: secret,
          userCode: 'AB-CD',
          verificationUri: 'https://warp.example/device',
          expiresInMs: 1e300,
          intervalMs: asked * second,
        }),
        poll: async () => granted(),
      },
    });
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    expect(login).toMatchObject({ interval_seconds: told, expires_at: '2026-01-01T00:10:00.000Z' });
    await parts.pass(told + 5);
    expect((await pool.getLogin(login.id)).login).toMatchObject({ status: 'approved' });
  });

  it('is answered at once with what the person needs, and adds the account when approved', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const heard: unknown[] = [];
    pool.events.listen(({ event }) => heard.push(event));
    const { login } = await pool.startLogin(admin, { ...requestOf, account_id: null, models: null });
    expect(login).toEqual({
      id: login.id,
      provider: 'warp',
      status: 'pending',
      user_code: 'AB-CD',
      verification_uri: 'https://warp.example/device',
      verification_uri_complete: null,
      expires_at: '2026-01-01T00:05:00.000Z',
      interval_seconds: 5,
      account_id: null,
      error: null,
    });
    parts.answers = [{ result: 'pending' }, granted()];
    await parts.pass(12);
    expect(parts.polls).toEqual([5, 10]);
    const after = (await pool.getLogin(login.id)).login;
    expect(after).toMatchObject({ status: 'approved', error: null });
    const { account } = await pool.get(after.account_id ?? '');
    expect(account).toMatchObject({
      email: 'me@example.com',
      label: 'work',
      capacity: 4,
      tier: 1,
      source: 'login',
      status: 'active',
      credential: 'refresh_token',
    });
    // The bearer that came with it is lent; nothing had to be refreshed.
    const lent = await pool.allocate(admin, {});
    expect(lent.answer.accounts[0]?.id_token).toBe('bearer-1');
    expect(parts.refreshes).toEqual([]);
    expect(heard).toContainEqual({
      type: 'login-changed',
      login_id: login.id,
      provider: 'warp',
      status: 'approved',
      account_id: account.id,
    });
    const trail = await pool.trail({});
    expect(trail.entries.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['login-started', 'login-approved']),
    );
    const facts = await parts.store.rememberedUnder('login:');
    const shown = JSON.stringify([heard, trail, after, facts]);
    for (const hidden of [secret, 'bearer-1', 'refresh-1']) expect(shown).not.toContain(hidden);
  });

  it('asks five seconds less often for good after each slow_down', async () => {
    const parts = createParts();
    const pool = await parts.start();
    await pool.startLogin(admin, requestOf);
    parts.answers = [
      { result: 'slow_down' },
      { result: 'pending' },
      { result: 'slow_down' },
      { result: 'pending' },
    ];
    await parts.pass(60);
    expect(parts.polls).toEqual([5, 15, 25, 40, 55]);
  });

  it.each([
    ['denied', { result: 'denied' }, 'denied at the provider'],
    ['expired', { result: 'expired' }, 'Start it again'],
    ['failed', new TokenError('invalid_grant', 'approved in vain'), 'approved in vain'],
    ['failed', new TokenError('account_gone', 'it is closed'), 'it is closed'],
  ] as const)('that ends as %s is asked about no more', async (status, answer, error) => {
    const parts = createParts();
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    parts.answers = [answer as PollAnswer];
    await parts.pass(60);
    expect(parts.polls).toEqual([5]);
    expect((await pool.getLogin(login.id)).login).toMatchObject({
      status,
      error: expect.stringContaining(error),
      account_id: null,
    });
    expect((await pool.list({})).total).toBe(0);
  });

  it('can be cancelled: it is listed as failed, asked about no more, and stays so', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const heard: unknown[] = [];
    pool.events.listen(({ event }) => heard.push(event));
    const { login } = await pool.startLogin(admin, requestOf);
    expect((await pool.listLogins()).logins).toEqual([login]);
    const other: Caller = { ...admin, keyId: 'key-2' };
    const cancelled = { ...login, status: 'failed', error: 'It was cancelled.' };
    expect((await pool.cancelLogin(other, login.id)).login).toEqual(cancelled);
    parts.answers = [granted()];
    await parts.pass(60);
    expect(parts.polls).toEqual([]);
    expect((await pool.cancelLogin(other, login.id)).login).toEqual(cancelled);
    expect((await pool.listLogins()).logins).toEqual([cancelled]);
    expect(heard).toContainEqual(expect.objectContaining({ login_id: login.id, status: 'failed' }));
    const { entries } = await pool.trail({});
    expect(entries.filter(({ action }) => action === 'login-cancelled')).toMatchObject([{ actor: 'key-2' }]);
    await expect(pool.cancelLogin(other, 'login_none')).rejects.toMatchObject({ code: 'login_not_found' });
  });

  it('that was approved is not cancelled', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    parts.answers = [granted()];
    await parts.pass(12);
    expect((await pool.cancelLogin(admin, login.id)).login).toMatchObject({ status: 'approved' });
  });

  it('expires when nobody approves it, and is then asked about no more', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    await parts.pass(310);
    expect((await pool.getLogin(login.id)).login.status).toBe('expired');
    expect(Math.max(...parts.polls)).toBeLessThan(300);
    expect(parts.polls).toHaveLength(59);
  });

  it('is asked about ever less often while the provider is unwell, and goes on', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    const unwell = new TokenError('unknown', 'it broke off');
    parts.answers = [unwell, new TokenError('refused', 'later', { retryAfterMs: 30_000 }), unwell, granted()];
    await parts.pass(120);
    expect(parts.polls).toEqual([5, 15, 45, 85]);
    expect((await pool.getLogin(login.id)).login.status).toBe('approved');
  });

  it('survives a restart', async () => {
    const parts = createParts();
    const first = await parts.start();
    const { login } = await first.startLogin(admin, requestOf);
    await parts.pass(7);
    await first.close();
    await parts.pass(20);
    expect(parts.polls).toEqual([5]);
    const pool = await parts.start();
    parts.answers = [granted()];
    await parts.pass(6);
    expect((await pool.getLogin(login.id)).login.status).toBe('approved');
    expect((await pool.list({})).total).toBe(1);
  });

  it('whose approval was handed out is not lost when its account cannot be stored at once', async () => {
    const parts = createParts();
    const { addAccount } = parts.store;
    let failures = 1;
    Object.assign(parts.store, {
      async addAccount(...given: Parameters<Store['addAccount']>) {
        if (failures-- > 0) throw new Error('the disk is full');
        return addAccount(...given);
      },
    });
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    parts.answers = [granted(), new Error('asked again')];
    await parts.pass(6);
    expect((await pool.getLogin(login.id)).login.status).toBe('pending');
    await parts.pass(30);
    expect((await pool.getLogin(login.id)).login.status).toBe('approved');
    expect(parts.polls).toEqual([5]);
  });

  it('is asked about by one instance at a time', async () => {
    const parts = createParts();
    const [one, other] = [await parts.start(), await parts.start()];
    const { login } = await one.startLogin(admin, requestOf);
    let isOpen = false;
    parts.answers = [
      () =>
        new Promise((resolve) => {
          isOpen = true;
          parts.clock.after(12 * second, () => resolve({ result: 'pending' }));
        }),
      { result: 'pending' },
    ];
    await parts.pass(16);
    expect(isOpen).toBe(true);
    expect(parts.polls).toEqual([5]);
    await parts.pass(30);
    const gaps = parts.polls.slice(1).map((at, index) => at - (parts.polls[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(5);
    await one.close();
    parts.answers = [granted()];
    await parts.pass(11);
    expect((await other.getLogin(login.id)).login.status).toBe('approved');
  });

  it('is forgotten a day after it ended', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const { login } = await pool.startLogin(admin, requestOf);
    parts.answers = [{ result: 'denied' }];
    await parts.pass(6);
    parts.clock.advance(86_000 * second);
    await parts.pass(10);
    expect((await pool.getLogin(login.id)).login.status).toBe('denied');
    parts.clock.advance(400 * second);
    await parts.pass(10);
    await expect(pool.getLogin(login.id)).rejects.toMatchObject({ code: 'login_not_found' });
    expect(await parts.store.rememberedUnder('login:')).toEqual([]);
  });
});

describe('a login for an account that is there', () => {
  async function withAccount(change: Partial<TokenGrant> = {}) {
    const parts = createParts();
    const pool = await parts.start();
    await pool.startLogin(admin, requestOf);
    parts.answers = [granted()];
    await parts.pass(6);
    const id = (await pool.list({})).accounts[0]?.id ?? '';
    const { login } = await pool.startLogin(admin, { provider: 'warp', account_id: id });
    expect(login.account_id).toBe(id);
    parts.answers = [granted({ refreshToken: 'refresh-2', bearer: 'bearer-2', ...change })];
    await parts.pass(6);
    return { pool, id, ended: (await pool.getLogin(login.id)).login, lent: await pool.allocate(admin, {}) };
  }

  it('replaces its credential and keeps its settings', async () => {
    const { pool, id, ended, lent } = await withAccount();
    expect(ended).toMatchObject({ status: 'approved', account_id: id });
    expect(lent.answer.accounts[0]).toMatchObject({ id, id_token: 'bearer-2' });
    expect((await pool.get(id)).account).toMatchObject({ label: 'work', capacity: 4, status: 'active' });
    expect((await pool.list({})).total).toBe(1);
  });

  it('does not make it somebody else', async () => {
    const { ended, lent } = await withAccount({ email: 'other@example.com' });
    expect(ended).toMatchObject({ status: 'failed', error: expect.stringContaining('me@example.com') });
    expect(lent.answer.accounts[0]?.id_token).toBe('bearer-1');
  });

  it('is refused for an account that is unknown, another provider’s or a key', async () => {
    const parts = createParts();
    const pool = await parts.start();
    const { account } = await pool.add(admin, { provider: 'warp', api_key: 'wk-1' });
    const start = (change: object) => pool.startLogin(admin, { provider: 'warp', ...change });
    await expect(start({ account_id: 'acc_none' })).rejects.toMatchObject({ code: 'account_not_found' });
    await expect(start({ account_id: account.id })).rejects.toThrow('API key');
    const other = await pool.add(admin, { provider: 'openai', api_key: 'sk-1' });
    await expect(start({ account_id: other.account.id })).rejects.toMatchObject({ param: 'provider' });
    await expect(start({ account_id: account.id, label: 'x' })).rejects.toMatchObject({
      param: 'account_id',
    });
    await expect(start({ nonsense: 1 })).rejects.toMatchObject({ code: 'unknown_field' });
  });
});

describe('where nobody can log in', () => {
  it('says which setting is missing, or which providers there are', async () => {
    const parts = createParts({
      logins: undefined as never,
      missing: { logins: 'Set WARP_OAUTH_CLIENT_ID.' },
    });
    const pool = await parts.start();
    await expect(pool.startLogin(admin, requestOf)).rejects.toThrow('Set WARP_OAUTH_CLIENT_ID.');
    await expect(pool.startLogin(admin, { provider: 'nobody' })).rejects.toThrow('warp, openai');
  });

  it('passes on why the provider began none', async () => {
    const start = async () => {
      throw new TokenError('refused', 'Warp began no login. Check WARP_OAUTH_CLIENT_ID.');
    };
    const parts = createParts({ logins: { start, poll: async () => ({ result: 'pending' }) } });
    const pool = await parts.start();
    await expect(pool.startLogin(admin, requestOf)).rejects.toMatchObject({
      code: 'provider_unavailable',
      message: expect.stringContaining('WARP_OAUTH_CLIENT_ID'),
    });
    expect(await parts.store.rememberedUnder('login:')).toEqual([]);
  });
});
