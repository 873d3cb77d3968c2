import { randomUUID } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { isAway, PoolError } from '../pool-api/errors.ts';
import type { Pool } from '../pool-api/pool.ts';
import { PoolClock } from '../pool-api/pool-clock.ts';
import type { AllocateAnswer, LeasedAccount, PoolEvent } from '../pool-api/schema.ts';
import {
  type AccountDemand,
  type HeldLease,
  isLive,
  isTokenFresh,
  isUsable,
  suits,
  type TurnLease,
} from './held-lease.ts';

const ttlSeconds = 120;
const idleReturnMs = 60_000;
const maintenanceMs = 5_000;
/** Renewal while the pool's events flow; without them each lease is looked at more often. */
const renewAfterMs = 40_000;
const renewAfterWithoutEventsMs = 10_000;
const growAgainAfterMs = 1_000;
/** A bearer that has run out is asked about at most this often. */
const freshTokenAfterMs = 1_000;
const mostExcluded = 1_000;
/** Between two looks; a wall clock that is corrected steadily drifts less. */
const doubtfulJumpMs = 5_000;

export interface HeldLeasesOptions {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A held lease has a free place. */
  readonly onRoom: () => void;
  /** An account is no longer held here, or works again: the pool may lend it now. */
  readonly onAvailable: (accountId: string) => void;
}

/** The leases this gateway holds, and every call to the pool about them. */
export interface HeldLeases {
  /** The held lease with the fewest turns, or the preferred account's. */
  pick(demand: AccountDemand): HeldLease | undefined;
  /** A held lease on that account, with room or without. */
  find(accountId: string, demand: AccountDemand): HeldLease | undefined;
  /** The account is held here, and every place on it is taken. */
  isFull(accountId: string): boolean;
  take(lease: HeldLease): TurnLease;
  readonly count: number;
  readonly hasRoom: boolean;
  /** Accounts held here on which a place may come free, which the pool cannot know. */
  countLive(demand: AccountDemand): number;
  /** Ids of accounts held here, which to borrow a second time would gain nothing. */
  usableIds(): string[];
  /** Makes room on accounts held here: more slots, or a bearer that has not run out. True when there is room now. */
  makeRoom(demand: AccountDemand, onlyAccount?: string): Promise<boolean>;
  /** A lease on another account. Waits at the pool up to `waitMs`; throws the signal's reason when it aborts. */
  borrow(
    demand: AccountDemand,
    excluded: readonly string[],
    waitMs: number,
    signal: AbortSignal,
  ): Promise<HeldLease>;
  giveBack(lease: HeldLease): void;
  retireFree(provider: string): void;
  close(): Promise<void>;
}

export function createHeldLeases(options: HeldLeasesOptions): HeldLeases {
  const { pool, clock, logger, onRoom, onAvailable } = options;
  const instance = randomUUID().slice(0, 8);
  const held = new Set<HeldLease>();
  const poolClock = new PoolClock(clock);
  /** Calls nobody waits for until the end. */
  const background = new Set<Promise<void>>();
  const stop = new AbortController();
  let sequence = 0;
  let hasEvents = false;
  let isPoolConnected = true;

  pool.subscribe(
    onPoolEvent,
    (isConnected) => {
      hasEvents = isConnected;
      if (!isConnected) return;
      isPoolConnected = true;
      // Whatever was said while nobody listened is learnt by asking.
      for (const lease of held) void renew(lease);
    },
    stop.signal,
  );
  let cancelMaintenance = clock.after(maintenanceMs, maintain);
  let wallAheadMs = clock.now() - clock.monotonic();

  function inBackground(task: Promise<unknown>): void {
    const done: Promise<void> = task.then(
      () => void background.delete(done),
      () => void background.delete(done),
    );
    background.add(done);
  }

  function pick(demand: AccountDemand): HeldLease | undefined {
    const now = clock.monotonic();
    let best: HeldLease | undefined;
    for (const lease of held) {
      if (lease.slotsInUse >= lease.account.slots || !isUsable(lease, now) || !suits(lease, demand)) continue;
      if (lease.account.id === demand.prefer) return lease;
      if (!best || lease.slotsInUse < best.slotsInUse) best = lease;
    }
    return best;
  }

  function setAccount(lease: HeldLease, account: LeasedAccount): void {
    lease.account = account;
    lease.tokenExpiresAt = clock.monotonic() + poolClock.until(account.token_expires_at);
  }

  function take(lease: HeldLease): TurnLease {
    const isFirst = !lease.hasServed;
    lease.slotsInUse += 1;
    lease.hasServed = true;
    let isReleased = false;
    return {
      account: lease.account,
      sessionId: lease.sessionId,
      isFirst,
      release() {
        if (isReleased) return;
        isReleased = true;
        lease.slotsInUse -= 1;
        lease.idleSince = clock.monotonic();
        if (lease.isRetired && lease.slotsInUse === 0) giveBack(lease);
        else onRoom();
      },
      retire: () => retire(lease),
      renewBearer({ idToken, tokenVersion, tokenExpiresAt }) {
        if (tokenVersion <= lease.account.token_version) return;
        setAccount(lease, {
          ...lease.account,
          id_token: idToken,
          token_version: tokenVersion,
          token_expires_at: tokenExpiresAt,
        });
      },
    };
  }

  function retire(lease: HeldLease): void {
    lease.isRetired = true;
    if (lease.slotsInUse === 0) giveBack(lease);
  }

  function giveBack(lease: HeldLease): void {
    lease.isRetired = true;
    if (!held.delete(lease)) return;
    const { id } = lease.account;
    inBackground(releaseSession(lease.sessionId).then(() => onAvailable(id)));
  }

  async function releaseSession(sessionId: string, leases?: { id: string; fence: number }[]): Promise<void> {
    try {
      await pool.release({ session_id: sessionId, ...(leases ? { leases } : {}) });
    } catch (error) {
      // A session the pool no longer knows is what we wanted.
      if (error instanceof PoolError && error.code === 'session_not_found') return;
      logger.warn(
        { err: error, session_id: sessionId },
        'could not give an account back; it lapses by itself',
      );
    }
  }

  /** One allocate call for one held session. */
  async function ensure(
    sessionId: string,
    slots: number,
    demand: Pick<AccountDemand, 'provider' | 'prefer' | 'model'> & { excluded?: readonly string[] },
    waitMs = 0,
    signal = stop.signal,
  ): Promise<{ answer: AllocateAnswer; askedAt: number }> {
    const askedAt = clock.monotonic();
    try {
      const call = pool.allocate(
        {
          session_id: sessionId,
          provider: demand.provider,
          exclusive: false,
          slots,
          ttl_seconds: ttlSeconds,
          wait_ms: Math.max(0, Math.floor(waitMs)),
          ...(demand.model === undefined ? {} : { model: demand.model }),
          ...(demand.prefer === undefined ? {} : { prefer: demand.prefer }),
          ...(demand.excluded === undefined ? {} : { exclude: [...demand.excluded] }),
        },
        signal,
      );
      inBackground(call);
      const answer = await call;
      isPoolConnected = true;
      poolClock.note(answer);
      return { answer, askedAt };
    } catch (error) {
      if (error instanceof PoolError) isPoolConnected = !isAway(error);
      throw error;
    }
  }

  function adopt(sessionId: string, account: LeasedAccount, askedAt: number): HeldLease {
    const lease: HeldLease = {
      sessionId,
      account,
      tokenExpiresAt: 0,
      slotsInUse: 0,
      hasServed: false,
      isRetired: false,
      idleSince: clock.monotonic(),
      expiresAt: askedAt + ttlSeconds * 1000,
      lastRenewedAt: askedAt,
      renewing: undefined,
      changing: undefined,
      growAfter: 0,
    };
    setAccount(lease, account);
    held.add(lease);
    return lease;
  }

  async function borrow(
    demand: AccountDemand,
    excluded: readonly string[],
    waitMs: number,
    signal: AbortSignal,
  ): Promise<HeldLease> {
    sequence += 1;
    const sessionId = `gateway:${instance}:${sequence}`;
    const either = AbortSignal.any([signal, stop.signal]);
    let result: Awaited<ReturnType<typeof ensure>>;
    try {
      const wanted = { ...demand, excluded: excluded.slice(0, mostExcluded) };
      result = await ensure(sessionId, 1, wanted, waitMs, either);
    } catch (error) {
      // The pool may have lent an account in an answer that nobody reads.
      if (either.aborted) inBackground(releaseSession(sessionId));
      throw error;
    }
    const account = result.answer.accounts[0];
    if (!account) throw new PoolError('internal', 'The pool answered an allocation without an account.');
    const lease = adopt(sessionId, account, result.askedAt);
    if (either.aborted) {
      giveBack(lease);
      throw either.reason;
    }
    if (demand.isFreeBarred && account.free) {
      giveBack(lease);
      throw new PoolError('no_account_available', 'Only free accounts are left, and one has run out.');
    }
    if (!isUsable(lease, clock.monotonic())) {
      // To ask again at once would go round in circles.
      giveBack(lease);
      throw new PoolError('no_account_available', 'The account that could be had has a token that ran out.');
    }
    return lease;
  }

  /** Ensures `slots` on a held lease. */
  async function refresh(lease: HeldLease, slots: number): Promise<void> {
    const run = (lease.renewing ?? Promise.resolve()).then(async () => {
      if (!held.has(lease)) return;
      const wanted = { provider: lease.account.provider, prefer: lease.account.id, model: undefined };
      const { answer, askedAt } = await ensure(lease.sessionId, slots, wanted);
      noteAnswer(lease, slots, answer, askedAt);
    });
    const done = run.catch(() => {});
    lease.renewing = done;
    try {
      await run;
    } finally {
      if (lease.renewing === done) lease.renewing = undefined;
    }
  }

  function noteAnswer(lease: HeldLease, slots: number, answer: AllocateAnswer, askedAt: number): void {
    const { id, fence, slots: slotsBefore } = lease.account;
    const same = answer.accounts.find((account) => account.id === id && account.fence === fence);
    const others = answer.accounts.filter((account) => account !== same);
    // Nobody asked for another account: it goes back.
    if (others.length > 0) {
      const leases = others.map((other) => ({ id: other.id, fence: other.fence }));
      inBackground(releaseSession(lease.sessionId, leases));
    }
    if (same) {
      setAccount(lease, same);
      lease.expiresAt = askedAt + ttlSeconds * 1000;
      lease.lastRenewedAt = askedAt;
      if (same.status === 'disabled' || same.status === 'reauth_required') retire(lease);
    } else if (slots <= slotsBefore || others.some((other) => other.id === id)) {
      // The lease we had is gone. When more slots are asked for than can be had, it is only too small to be named.
      retire(lease);
    }
  }

  async function renew(lease: HeldLease): Promise<void> {
    if (lease.renewing || lease.isRetired) return;
    try {
      await refresh(lease, lease.account.slots);
    } catch (error) {
      // With the pool away the lease stays good until it lapses; any other refusal means it is gone.
      if (error instanceof PoolError && !isAway(error)) retire(lease);
    }
  }

  /** New turns wait until the account is known as it is now; a renewal that is running may tell what it was before. */
  function noteChange(lease: HeldLease): void {
    const changing: Promise<void> = (lease.renewing ?? Promise.resolve())
      .then(() => renew(lease))
      .finally(() => {
        if (lease.changing !== changing) return;
        lease.changing = undefined;
        if (!lease.isRetired) onRoom();
      });
    lease.changing = changing;
  }

  /** Twice as many slots, or one more, or as many as the account has. */
  async function grow(lease: HeldLease): Promise<void> {
    const { slots: slotsBefore, capacity } = lease.account;
    for (const slots of new Set([Math.min(slotsBefore * 2, capacity), slotsBefore + 1])) {
      try {
        await refresh(lease, slots);
      } catch (error) {
        if (!(error instanceof PoolError) || isAway(error)) throw error;
      }
      if (lease.isRetired || lease.account.slots > slotsBefore) return;
    }
    lease.growAfter = clock.monotonic() + growAgainAfterMs;
  }

  async function makeRoom(demand: AccountDemand, onlyAccount?: string): Promise<boolean> {
    for (const lease of [...held]) {
      const now = clock.monotonic();
      if (onlyAccount !== undefined && lease.account.id !== onlyAccount) continue;
      if (!isLive(lease, now) || !suits(lease, demand)) continue;
      await lease.changing;
      if (!isTokenFresh(lease, now) && now - lease.lastRenewedAt >= freshTokenAfterMs) {
        await (lease.renewing ?? renew(lease));
      }
      if (!isUsable(lease, now)) continue;
      const { slots, capacity } = lease.account;
      if (lease.slotsInUse >= slots && slots < capacity && lease.growAfter <= now) await grow(lease);
      if (isUsable(lease, clock.monotonic()) && lease.slotsInUse < lease.account.slots) return true;
    }
    return false;
  }

  function maintain(): void {
    const now = clock.monotonic();
    const aheadMs = clock.now() - now;
    // The machine slept, or its clock was set: what the pool says counts.
    const isTimeInDoubt = Math.abs(aheadMs - wallAheadMs) > doubtfulJumpMs;
    wallAheadMs = aheadMs;
    const renewAfter = isTimeInDoubt ? 0 : hasEvents ? renewAfterMs : renewAfterWithoutEventsMs;
    for (const lease of held) {
      if (lease.slotsInUse > 0) {
        if (now - lease.lastRenewedAt >= renewAfter) void renew(lease);
      } else if (lease.expiresAt <= now || (isPoolConnected && now - lease.idleSince >= idleReturnMs)) {
        giveBack(lease);
      } else if ((!hasEvents || isTimeInDoubt) && now - lease.lastRenewedAt >= renewAfter) {
        void renew(lease);
      }
    }
    cancelMaintenance = clock.after(maintenanceMs, maintain);
  }

  function onPoolEvent(event: PoolEvent): void {
    if (event.type === 'login-changed') return;
    for (const lease of held) {
      const { account } = lease;
      if (event.type === 'lease-wanted') {
        if (lease.slotsInUse === 0 && event.account_ids.includes(account.id)) retire(lease);
      } else if (event.account_id === account.id) {
        if (event.type === 'account-removed' || event.status !== 'active') retire(lease);
      } else if (
        event.type === 'account-changed' &&
        event.status === 'exhausted' &&
        event.free &&
        account.free &&
        account.provider === event.provider
      ) {
        retire(lease);
      }
    }
    if (event.type === 'account-changed' && event.status === 'active') {
      for (const lease of held) if (lease.account.id === event.account_id) noteChange(lease);
      onAvailable(event.account_id);
    }
  }

  return {
    pick,
    find(accountId, demand) {
      const now = clock.monotonic();
      for (const lease of held) {
        if (lease.account.id === accountId && isLive(lease, now) && suits(lease, demand)) return lease;
      }
      return undefined;
    },
    isFull(accountId) {
      const now = clock.monotonic();
      let isHeld = false;
      for (const lease of held) {
        if (lease.account.id !== accountId || !isUsable(lease, now)) continue;
        if (lease.slotsInUse < lease.account.slots) return false;
        isHeld = true;
      }
      return isHeld;
    },
    take,
    get count() {
      return held.size;
    },
    get hasRoom() {
      const now = clock.monotonic();
      for (const lease of held) {
        if (lease.slotsInUse < lease.account.slots && isUsable(lease, now)) return true;
      }
      return false;
    },
    countLive(demand) {
      const now = clock.monotonic();
      const live = [...held].filter((lease) => isLive(lease, now) && suits(lease, demand));
      return new Set(live.map((lease) => lease.account.id)).size;
    },
    usableIds() {
      const now = clock.monotonic();
      return [...held].filter((lease) => isUsable(lease, now)).map((lease) => lease.account.id);
    },
    makeRoom,
    borrow,
    giveBack,
    retireFree(provider) {
      for (const lease of held) {
        if (lease.account.free && lease.account.provider === provider) retire(lease);
      }
    },
    async close() {
      cancelMaintenance();
      stop.abort(new PoolError('shutting_down', 'The gateway is stopping.'));
      for (const lease of [...held]) giveBack(lease);
      while (background.size > 0) await Promise.all(background);
    },
  };
}
