import type { Clock } from '../../lib/clock.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Pool } from '../../pool-api/pool.ts';
import type { ReportResult } from '../../pool-api/report-queue.ts';
import type {
  AccountState,
  AllocateAnswer,
  AllocateRequest,
  LeasedAccount,
  PoolEvent,
  ReportItem,
} from '../../pool-api/schema.ts';

export interface FakeAccount {
  id: string;
  provider: string;
  status: AccountState;
  capacity: number;
  free: boolean;
  models: string[] | null;
  teamUid: string | null;
  bearer: string;
  tokenVersion: number;
  tokenExpiresAt: string | null;
}

interface FakeLease {
  readonly account: FakeAccount;
  readonly fence: number;
  slots: number;
}

interface FakeSession {
  readonly leases: Map<string, FakeLease>;
  expiresAt: number;
}

/** A pool in memory with the lease contract's rules for shared leases, and switches for what can go wrong. */
export interface FakePool extends Pool {
  readonly accounts: Map<string, FakeAccount>;
  readonly sessions: Map<string, FakeSession>;
  readonly allocations: AllocateRequest[];
  readonly releases: string[];
  readonly reports: ReportItem[];
  /** Number of report calls. */
  reportCalls: number;
  isAway: boolean;
  isSandbox: boolean;
  /** How far its clock is ahead of the gateway's. */
  aheadMs: number;
  /** Answers to reports, by account id; plain `applied` with the account's state otherwise. */
  onReport: (item: ReportItem) => Partial<ReportResult>;
  /** While set, calls hang until it resolves. */
  gate: Promise<void> | undefined;
  add(id: string, change?: Partial<FakeAccount>): FakeAccount;
  /** Slots lent on an account, over all sessions. */
  slotsOf(id: string): number;
  /** Turns waiting at the pool. */
  readonly waiting: number;
  emit(event: PoolEvent): void;
  setConnected(isConnected: boolean): void;
  setStatus(id: string, status: AccountState): void;
  /** Somebody else takes slots of an account. */
  lendElsewhere(id: string, slots: number): () => void;
}

export function createFakePool(clock: Clock): FakePool {
  const accounts = new Map<string, FakeAccount>();
  const sessions = new Map<string, FakeSession>();
  const listeners = new Set<{
    onEvent: (event: PoolEvent) => void;
    onState: (isConnected: boolean) => void;
  }>();
  const waiters = new Set<() => void>();
  let fences = 0;
  let elsewhere = 0;

  function slotsOf(id: string): number {
    let sum = 0;
    for (const { leases } of sessions.values()) sum += leases.get(id)?.slots ?? 0;
    return sum;
  }

  function reap(): void {
    for (const [id, session] of sessions) if (session.expiresAt <= clock.now()) sessions.delete(id);
  }

  function wake(): void {
    for (const waiter of [...waiters]) waiter();
  }

  function present({ account, fence, slots }: FakeLease): LeasedAccount {
    return {
      id: account.id,
      email: null,
      provider: account.provider,
      status: account.status,
      id_token: account.bearer,
      token_expires_at: account.tokenExpiresAt,
      token_version: account.tokenVersion,
      use_count: 0,
      last_used: null,
      last_refresh_time: null,
      fence,
      slots,
      capacity: account.capacity,
      free: account.free,
      models: account.models,
      team_uid: account.teamUid,
      label: null,
      tier: 1,
      quota_expires_at: null,
    };
  }

  function tryEnsure(request: AllocateRequest): AllocateAnswer | PoolError {
    reap();
    const sessionId = request.session_id ?? '';
    const { provider, model, slots = 1, exclude = [], prefer } = request;
    const session = sessions.get(sessionId);
    const isFreeSpent = [...accounts.values()].some(
      (account) => account.free && account.status === 'exhausted' && account.provider === provider,
    );
    const matches = (account: FakeAccount) =>
      account.provider === provider &&
      !exclude.includes(account.id) &&
      (model === undefined || account.models === null || account.models.includes(model));
    const isLendable = (account: FakeAccount) =>
      account.status === 'active' && !(account.free && isFreeSpent);
    const held = [...(session?.leases.values() ?? [])].filter((lease) => matches(lease.account));
    const counted = held.filter((lease) => lease.slots >= slots);
    const growing = held.find(
      (lease) =>
        lease.slots < slots &&
        isLendable(lease.account) &&
        slotsOf(lease.account.id) - lease.slots + slots <= lease.account.capacity,
    );
    let chosen: FakeAccount | undefined;
    if (counted.length === 0 && !growing) {
      const open = [...accounts.values()].filter(
        (account) =>
          matches(account) &&
          isLendable(account) &&
          !session?.leases.has(account.id) &&
          account.capacity - slotsOf(account.id) >= slots,
      );
      chosen = open.find((account) => account.id === prefer) ?? open[0];
      if (!chosen) {
        const reasons: Record<string, number> = {};
        const matching = [...accounts.values()].filter(matches);
        for (const account of matching) {
          const isSpent = account.free && isFreeSpent;
          const busy = isSpent ? 'free_quota_spent' : 'too_few_slots';
          const reason = account.status === 'active' ? busy : account.status;
          reasons[reason] = (reasons[reason] ?? 0) + 1;
        }
        const holders = { exclusive: 0, shared: 0, gateway: 0 };
        const shortage = { matching: matching.length, reasons, holders };
        return new PoolError('no_account_available', 'Too few.', { retryAfterMs: 1000, shortage });
      }
    }
    const kept = session ?? { leases: new Map<string, FakeLease>(), expiresAt: 0 };
    sessions.set(sessionId, kept);
    kept.expiresAt = clock.now() + (request.ttl_seconds ?? 1800) * 1000;
    if (growing) growing.slots = slots;
    if (chosen) {
      fences += 1;
      kept.leases.set(chosen.id, { account: chosen, fence: fences, slots });
    }
    const answered = [...kept.leases.values()].filter(
      (lease) => matches(lease.account) && lease.slots >= slots,
    );
    return {
      success: true,
      created: !session,
      session_id: sessionId,
      expires_at: new Date(kept.expiresAt).toISOString(),
      accounts: answered.map(present),
      message: '',
      timestamp: new Date(clock.now() + pool.aheadMs).toISOString(),
    };
  }

  async function reach(): Promise<void> {
    await pool.gate;
    await Promise.resolve();
    if (pool.isAway) throw new PoolError('pool_unavailable', 'The pool is away.');
  }

  const pool: FakePool = {
    accounts,
    sessions,
    allocations: [],
    releases: [],
    reports: [],
    reportCalls: 0,
    isAway: false,
    isSandbox: false,
    aheadMs: 0,
    onReport: () => ({}),
    gate: undefined,
    slotsOf,
    get waiting() {
      return waiters.size;
    },

    async allocate(request, signal) {
      pool.allocations.push(request);
      await reach();
      signal?.throwIfAborted();
      const first = tryEnsure(request);
      if (!(first instanceof PoolError)) return first;
      const { too_few_slots: busy = 0, cooldown = 0 } = first.shortage?.reasons ?? {};
      if ((request.wait_ms ?? 0) === 0 || busy + cooldown === 0) throw first;
      return await new Promise<AllocateAnswer>((resolve, reject) => {
        const finish = (answer: () => void) => {
          waiters.delete(attempt);
          cancel();
          signal?.removeEventListener('abort', onAbort);
          answer();
        };
        const attempt = () => {
          const result = tryEnsure(request);
          if (!(result instanceof PoolError)) finish(() => resolve(result));
        };
        const onAbort = () => finish(() => reject(signal?.reason));
        const cancel = clock.after(request.wait_ms ?? 0, () => finish(() => reject(first)));
        signal?.addEventListener('abort', onAbort);
        waiters.add(attempt);
      });
    },

    async release({ session_id: sessionId, leases }) {
      pool.releases.push(sessionId);
      await reach();
      reap();
      const session = sessions.get(sessionId);
      if (!session) throw new PoolError('session_not_found', 'Unknown.');
      if (!leases) sessions.delete(sessionId);
      else
        for (const { id, fence } of leases) {
          if (session.leases.get(id)?.fence === fence) session.leases.delete(id);
        }
      wake();
      return { success: true, released: 1 };
    },

    async report({ session_id: sessionId, reports }) {
      await reach();
      pool.reportCalls += 1;
      pool.reports.push(...reports);
      const session = sessions.get(sessionId);
      return {
        success: true,
        results: reports.map((item) => {
          const account = accounts.get(item.account_id);
          const isLive = session?.leases.get(item.account_id)?.fence === item.fence;
          return {
            report_id: item.report_id,
            account_id: item.account_id,
            result: isLive ? 'applied' : 'stale',
            status: account?.status ?? null,
            status_until: null,
            ...(account && isLive && account.tokenVersion > item.token_version
              ? {
                  id_token: account.bearer,
                  token_version: account.tokenVersion,
                  token_expires_at: account.tokenExpiresAt,
                }
              : {}),
            ...pool.onReport(item),
          };
        }),
      };
    },

    async eligible({ provider, model }) {
      const own = [...accounts.values()].filter((one) => one.provider === provider);
      const matching = own.filter(({ models }) => !model || !models || models.includes(model));
      const standings = matching.map(({ id, status, models }) => ({
        account_id: id,
        label: null,
        models: models && [...models],
        standing: status === 'active' ? 'open' : status,
      }));
      const counts: Record<string, number> = {};
      for (const { standing } of standings) counts[standing] = (counts[standing] ?? 0) + 1;
      const others = own.length - matching.length;
      return { matching: matching.length, others, counts, accounts: standings };
    },

    subscribe(onEvent, onState, signal) {
      const listener = { onEvent, onState };
      listeners.add(listener);
      signal.addEventListener('abort', () => listeners.delete(listener));
      onState(true);
    },

    async health() {
      const providers = [...new Set([...accounts.values()].map(({ provider }) => provider))];
      return {
        isReachable: !pool.isAway,
        isSandbox: pool.isSandbox,
        providers,
        caller: 'gateway',
        gatewayOnly: 0,
      };
    },

    add(id, change = {}) {
      const account: FakeAccount = {
        id,
        provider: 'warp',
        status: 'active',
        capacity: 16,
        free: false,
        models: null,
        teamUid: null,
        bearer: `bearer-of-${id}`,
        tokenVersion: 1,
        tokenExpiresAt: null,
        ...change,
      };
      accounts.set(id, account);
      wake();
      return account;
    },

    emit(event) {
      for (const { onEvent } of [...listeners]) onEvent(event);
    },

    setConnected(isConnected) {
      for (const { onState } of [...listeners]) onState(isConnected);
    },

    setStatus(id, status) {
      const account = accounts.get(id);
      if (!account) return;
      account.status = status;
      const { provider, free } = account;
      wake();
      pool.emit({ type: 'account-changed', account_id: id, provider, status, free });
    },

    lendElsewhere(id, slots) {
      const account = accounts.get(id);
      if (!account) return () => {};
      elsewhere += 1;
      const sessionId = `elsewhere-${elsewhere}`;
      fences += 1;
      sessions.set(sessionId, {
        leases: new Map([[id, { account, fence: fences, slots }]]),
        expiresAt: Number.POSITIVE_INFINITY,
      });
      return () => {
        sessions.delete(sessionId);
        wake();
      };
    },
  };
  return pool;
}
