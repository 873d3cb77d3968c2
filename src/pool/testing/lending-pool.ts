import type { Clock } from '../../lib/clock.ts';
import { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Pool } from '../../pool-api/pool.ts';
import type {
  AccountState,
  AllocateRequest,
  PoolEvent,
  ReleaseRequest,
  ReportItem,
} from '../../pool-api/schema.ts';
import { freshStanding } from '../standing/account-state.ts';
import type { Standing } from '../standing/standing.ts';
import { openMemoryStore } from '../store/open-store.ts';
import type { AccountChange, NewStoredAccount, News, Store, StoredAccount } from '../store/store.ts';
import { Credentials, createVault } from '../vault/vault.ts';
import { startTestPool, testAccount } from './test-pool.ts';

type Change = Partial<
  Pick<
    NewStoredAccount,
    'provider' | 'label' | 'capacity' | 'free' | 'models' | 'teamUid' | 'lend' | 'tier' | 'quota'
  >
> & {
  readonly state?: AccountState;
  /** A bearer that lapses at this time; without one the bearer is an API key. */
  readonly expiresAt?: number;
};

/** The real pool on a store in memory, as a gateway sees it, with switches for what can go wrong on the way. */
export interface LendingPool extends Pool {
  readonly allocations: AllocateRequest[];
  readonly releases: ReleaseRequest[];
  readonly reports: ReportItem[];
  readonly reportCalls: number;
  isAway: boolean;
  /** While set, calls hang until it resolves. */
  gate: Promise<void> | undefined;
  /** Timers of the pool itself. */
  readonly timers: number;
  /** Its bearer is `bearer-of-ID`. */
  add(id: string, change?: Change): Promise<void>;
  remove(id: string): Promise<void>;
  setState(id: string, state: AccountState, forMs?: number): Promise<void>;
  setTeam(id: string, teamUid: string): Promise<void>;
  setCapacity(id: string, capacity: number): Promise<void>;
  /** Another bearer, which lapses then; without a time, never. */
  renewBearer(id: string, bearer: string, expiresAt: number): Promise<void>;
  account(id: string): Promise<StoredAccount>;
  /** Slots that are lent on an account, over all sessions. */
  slotsOf(id: string): Promise<number>;
  /** Slots that are lent on all accounts. */
  lent(): Promise<number>;
  /** Ids of the accounts that a session holds. */
  held(sessionId: string): Promise<string[]>;
  /** Sessions that hold an account. */
  sessions(): Promise<number>;
  /** Callers that wait for a place. */
  waiting(): Promise<number>;
  /** Another caller takes slots of an account; the answer gives them back. */
  lendElsewhere(id: string, slots: number, isExclusive?: boolean): Promise<() => Promise<void>>;
  /** The owner ends a session. */
  end(sessionId: string): Promise<void>;
  /** What its subscribers hear. */
  emit(event: PoolEvent): void;
  /** Whether its events flow. */
  setConnected(isConnected: boolean): void;
  close(): Promise<void>;
}

const gateway = { role: 'borrower', keyId: 'gateway', isGateway: true } as const;
const owner = { role: 'admin', keyId: 'owner', isGateway: false, isOwner: true } as const;

/** `aheadMs`: how far the pool's clock is ahead. */
export async function startLendingPool(given: Clock, aheadMs = 0): Promise<LendingPool> {
  let timers = 0;
  const clock: Clock = {
    now: () => Math.round(given.now()) + aheadMs,
    monotonic: () => given.monotonic(),
    elapsed: () => given.elapsed(),
    after(delayMs, task) {
      timers += 1;
      let isPending = true;
      const end = () => {
        if (isPending) timers -= 1;
        isPending = false;
      };
      const cancel = given.after(delayMs, () => {
        end();
        task();
      });
      return () => {
        end();
        cancel();
      };
    },
  };
  const credentials = new Credentials(createVault(new Uint8Array(32).fill(7)), new KnownSecrets());
  const memory = openMemoryStore(clock.now(), { clock, auditsLeases: true });
  let tell: (news: News) => void = () => {};
  // What a test does to an account reaches the pool as the news of another instance does.
  const store: Store = {
    ...memory,
    listen(listener) {
      tell = listener;
    },
  };
  const { pool } = await startTestPool({}, { clock: { ...clock, advance() {} }, store });
  const borrower = pool.asBorrower(gateway);
  const listeners = new Set<Parameters<Pool['subscribe']>>();
  let isConnected = true;
  let reportCalls = 0;
  let elsewhere = 0;

  async function reach(): Promise<void> {
    await lending.gate;
    if (lending.isAway) throw new PoolError('pool_unavailable', 'The pool is away.');
  }

  async function account(id: string): Promise<StoredAccount> {
    const found = await store.account(clock.now(), id);
    if (found === null) throw new Error(`There is no account ${id}.`);
    return found;
  }

  async function change(id: string, how: AccountChange): Promise<void> {
    const audit = { actor: 'test', action: 'changed', detail: {} };
    const changed = await store.changeAccount(clock.now(), id, how, audit);
    if (changed === null) throw new Error(`There is no account ${id}.`);
    tell({ type: 'changes', changes: changed.changes });
  }

  const sealed = (id: string, bearer: string, expiresAt: number) => ({
    bearer: credentials.sealBearer(id, bearer, expiresAt),
    nextRefreshAt: expiresAt + 86_400_000,
  });

  const lending: LendingPool = {
    allocations: [],
    releases: [],
    reports: [],
    get reportCalls() {
      return reportCalls;
    },
    isAway: false,
    gate: undefined,
    get timers() {
      return timers;
    },

    async allocate(request, signal) {
      lending.allocations.push(request);
      await reach();
      return await borrower.allocate(request, signal);
    },
    eligible: borrower.eligible,
    async release(request) {
      lending.releases.push(request);
      await reach();
      return await borrower.release(request);
    },
    async report(request) {
      await reach();
      reportCalls += 1;
      lending.reports.push(...request.reports);
      return await borrower.report(request);
    },
    subscribe(onEvent, onState, signal) {
      const listener: Parameters<Pool['subscribe']> = [onEvent, onState, signal];
      listeners.add(listener);
      signal.addEventListener('abort', () => listeners.delete(listener));
      const onRealEvent = (event: PoolEvent) => {
        if (isConnected) onEvent(event);
      };
      borrower.subscribe(onRealEvent, () => {}, signal);
      onState(isConnected);
    },
    async health() {
      const health = await borrower.health();
      return lending.isAway ? { ...health, isReachable: false } : health;
    },

    async add(id, { state = 'active', expiresAt, ...settings } = {}) {
      const { provider = 'warp' } = settings;
      const key = expiresAt === undefined ? `bearer-of-${id}` : `refresh-token-of-${id}`;
      const given = testAccount(id, {
        ...settings,
        credential: credentials.seal(id, provider, key),
        standing: standingOf(state, clock.now()),
        ...(expiresAt === undefined
          ? {}
          : { credentialKind: 'refresh_token', ...sealed(id, `bearer-of-${id}`, expiresAt) }),
      });
      const added = await store.addAccount(clock.now(), given, 'test');
      if (added.result === 'added') tell({ type: 'changes', changes: added.changes });
    },
    async remove(id) {
      const { provider } = await account(id);
      await store.removeAccount(clock.now(), id, 'test');
      tell({ type: 'removed', id, provider });
    },
    async setState(id, state, forMs) {
      const { probe, quota } = await account(id);
      await change(id, {
        standing: { standing: standingOf(state, clock.now(), forMs), probe, quota, nextCheckAt: null },
      });
    },
    setTeam: (id, teamUid) => change(id, { settings: { teamUid } }),
    setCapacity: (id, capacity) => change(id, { settings: { capacity } }),
    async renewBearer(id, bearer, expiresAt) {
      const refreshToken = credentials.seal(id, 'warp', `refresh-token-of-${bearer}`);
      await change(id, { credential: { ...refreshToken, ...sealed(id, bearer, expiresAt) } });
      await lending.setState(id, 'active');
    },
    account,
    slotsOf: async (id) => (await account(id)).slotsInUse,
    async lent() {
      const { accounts } = await store.accounts(clock.now(), { limit: 100 });
      return accounts.reduce(
        (sum, { slotsInUse, isHeldExclusively }) => sum + (isHeldExclusively ? 1 : slotsInUse),
        0,
      );
    },
    async held(sessionId) {
      const { sessions } = await store.sessions(clock.now(), { limit: 100 });
      return sessions.find(({ id }) => id === sessionId)?.leases.map(({ accountId }) => accountId) ?? [];
    },
    sessions: async () => (await store.stats(clock.now())).sessions,
    async waiting() {
      const [, waiting] = /^\S*_waiting\S* (\d+)$/m.exec(await pool.metrics()) ?? [];
      return Number(waiting);
    },
    async lendElsewhere(id, slots, isExclusive = false) {
      elsewhere += 1;
      const session = { session_id: `elsewhere-${elsewhere}` };
      const caller = { role: 'borrower', keyId: 'elsewhere', isGateway: false } as const;
      const exclude = (await store.accounts(clock.now(), { limit: 100 })).accounts.map((one) => one.id);
      await pool.allocate(caller, {
        ...session,
        slots,
        exclusive: isExclusive,
        exclude: exclude.filter((other) => other !== id),
      });
      return async () => void (await pool.release(caller, session));
    },
    async end(sessionId) {
      await pool.release(owner, { session_id: sessionId });
    },
    emit(event) {
      for (const [onEvent] of [...listeners]) onEvent(event);
    },
    setConnected(value) {
      isConnected = value;
      for (const [, onState] of [...listeners]) onState(value);
    },
    close: () => pool.close(),
  };
  return lending;
}

function standingOf(state: AccountState, now: number, forMs = 3_600_000): Standing {
  const isResting = state === 'cooldown' || state === 'exhausted';
  const until = isResting ? now + forMs : null;
  const reason = state === 'active' ? null : 'owner';
  return { ...freshStanding, state, until, reason, quotaSpent: state === 'exhausted' };
}
