import { randomUUID } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { PoolError } from './errors.ts';
import { leased } from './pool.fake.ts';
import type { PoolCalls } from './pool-calls.ts';
import type { AllocateAnswer, AllocateRequest, LeasedAccount } from './schema.ts';

interface MemoryAccount {
  readonly id: string;
  status: LeasedAccount['status'];
  tokenVersion: number;
  tokenExpiresAt: number | null;
}

/** The borrower's calls against accounts in memory, for tests of what is built on them. */
export interface MemoryPool extends Pick<PoolCalls, 'allocate' | 'release'> {
  readonly accounts: Map<string, MemoryAccount>;
  /** What sessions hold: account ids by session. */
  held(sessionId: string): string[];
  readonly requests: AllocateRequest[];
  isAway: boolean;
  /** Takes a session back, as when it expired. */
  expire(sessionId: string): void;
  endLease(accountId: string): void;
}

export function createMemoryPool(timing: Clock, ids: readonly string[]): MemoryPool {
  const sessions = new Map<string, Map<string, { fence: number; slots: number; exclusive: boolean }>>();
  const accounts = new Map<string, MemoryAccount>();
  for (const id of ids) {
    accounts.set(id, { id, status: 'active', tokenVersion: 1, tokenExpiresAt: null });
  }
  const retries = new Set<() => void>();
  let fences = 0;

  function wake(): void {
    for (const retry of [...retries]) retry();
  }

  function isFree(id: string, exclusive: boolean, slots: number): boolean {
    const leases = [...sessions.values()].flatMap((leasesOf) => leasesOf.get(id) ?? []);
    if (exclusive) return leases.length === 0;
    if (leases.some((lease) => lease.exclusive)) return false;
    return leases.reduce((sum, lease) => sum + lease.slots, 0) + slots <= leased.capacity;
  }

  function attempt(request: AllocateRequest, sessionId: string): AllocateAnswer | undefined {
    const { count = 1, exclusive = true, slots = 1, exclude = [], prefer } = request;
    const leases = sessions.get(sessionId) ?? new Map();
    const matching = [...leases.keys()].filter((id) => !exclude.includes(id));
    const candidates = [...accounts.values()]
      .filter(({ id, status }) => status === 'active' && !leases.has(id) && !exclude.includes(id))
      .filter(({ id }) => isFree(id, exclusive, slots))
      .sort((one, other) => Number(other.id === prefer) - Number(one.id === prefer));
    const missing = Math.max(0, count - matching.length);
    if (candidates.length < missing) return undefined;
    const created = !sessions.has(sessionId);
    for (const { id } of candidates.slice(0, missing)) {
      fences += 1;
      leases.set(id, { fence: fences, slots: exclusive ? 1 : slots, exclusive });
      matching.push(id);
    }
    sessions.set(sessionId, leases);
    return {
      success: true,
      created,
      session_id: sessionId,
      expires_at: new Date(timing.now() + (request.ttl_seconds ?? 1_800) * 1_000).toISOString(),
      accounts: matching.map((id) => present(id, leases.get(id))),
      message: 'ok',
      timestamp: new Date(timing.now()).toISOString(),
    };
  }

  function present(id: string, lease: { fence: number; slots: number } | undefined): LeasedAccount {
    const account = accounts.get(id);
    const expiresAt = account?.tokenExpiresAt ?? null;
    const version = account?.tokenVersion ?? 0;
    return {
      ...leased,
      id,
      status: account?.status ?? 'disabled',
      id_token: `${id}-${version}`,
      token_version: version,
      token_expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString(),
      fence: lease?.fence ?? 0,
      slots: lease?.slots ?? 0,
    };
  }

  const pool: MemoryPool = {
    accounts,
    held: (sessionId) => [...(sessions.get(sessionId)?.keys() ?? [])],
    requests: [],
    isAway: false,
    expire(sessionId) {
      sessions.delete(sessionId);
      wake();
    },
    endLease(accountId) {
      for (const leases of sessions.values()) leases.delete(accountId);
      wake();
    },
    async allocate(request, signal) {
      pool.requests.push(request);
      if (pool.isAway) throw new PoolError('pool_unavailable', 'The pool is away.');
      const sessionId = request.session_id ?? randomUUID();
      const deadline = timing.monotonic() + (request.wait_ms ?? 0);
      for (;;) {
        signal?.throwIfAborted();
        const answer = attempt(request, sessionId);
        if (answer) return answer;
        if (timing.monotonic() >= deadline) throw new PoolError('no_account_available', 'None is free.');
        await new Promise<void>((resolve) => {
          const finish = () => {
            cancel();
            retries.delete(finish);
            signal?.removeEventListener('abort', finish);
            resolve();
          };
          const cancel = timing.after(deadline - timing.monotonic(), finish);
          retries.add(finish);
          signal?.addEventListener('abort', finish, { once: true });
        });
      }
    },
    async release({ session_id: sessionId, leases }) {
      if (pool.isAway) throw new PoolError('pool_unavailable', 'The pool is away.');
      const held = sessions.get(sessionId);
      if (!held) throw new PoolError('session_not_found', 'There is no such session.');
      const released = leases ?? [...held].map(([id, { fence }]) => ({ id, fence }));
      for (const { id, fence } of released) if (held.get(id)?.fence === fence) held.delete(id);
      if (leases === undefined) sessions.delete(sessionId);
      wake();
      return { success: true, released: released.length };
    },
  };
  return pool;
}
