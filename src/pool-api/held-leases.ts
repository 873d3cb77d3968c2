import type { Clock } from '../lib/clock.ts';
import { BackgroundTasks } from '../lib/tasks.ts';
import { PoolError } from './errors.ts';
import {
  type AccountDemand,
  hasPlace,
  isBetter,
  isLive,
  isSought,
  isUsable,
  type Lease,
  newLease,
  RecoveringAccounts,
  suits,
} from './held-lease.ts';
import { HeldSession } from './held-session.ts';
import type { Pool } from './pool.ts';
import type { AllocateRequest, LeasedAccount, PoolEvent, ReportAnswer } from './schema.ts';
import type { WaitingTurns } from './waiting-turns.ts';

export interface LeaseRules {
  readonly pool: Pick<Pool, 'allocate' | 'release'>;
  readonly timing: Clock;
  /** What each account is borrowed with. */
  readonly request: Omit<AllocateRequest, 'session_id' | 'count'>;
  /**
   * `one`: all accounts are held in this session, with the same number of slots. `each`: every account has its own session,
   * and its slots double as turns need them.
   */
  readonly sessions: { readonly one: string } | { each(): string };
  /** Most accounts held at a time. */
  readonly count: number;
  /** Accounts kept although no turn runs on them. */
  readonly minimum: number;
  /** How long an account may lie idle before it goes back. */
  readonly idleMs: number;
  /** An account could not be given back; it lapses. */
  readonly onReleaseFailed?: (sessionId: string, error: unknown) => void;
}

const tickMs = 5_000;
const shortestTickMs = 1_000;
const renewWithoutEventsMs = 12_000;
/** Before the same question is put to the pool again. */
const askAgainMs = 1_000;
const longestWaitMs = 60_000;
const mostExcluded = 1_000;
/** Between two ticks; a wall clock that is corrected steadily drifts less. */
const doubtfulJumpMs = 5_000;

/** The leases that are held for turns, and every call to the pool about them. */
export class HeldLeases {
  readonly #rules: LeaseRules;
  readonly #timing: Clock;
  readonly #waiting: WaitingTurns;
  readonly #leases = new Set<Lease>();
  readonly #recovering: RecoveringAccounts;
  /** Awaited when it closes. */
  readonly background = new BackgroundTasks();
  readonly #closed = new AbortController();
  #one: HeldSession | undefined;
  #hasEvents = false;
  #cancelTick: (() => void) | undefined;
  #wallAheadMs: number;

  constructor(rules: LeaseRules, waiting: WaitingTurns) {
    this.#rules = rules;
    this.#timing = rules.timing;
    this.#waiting = waiting;
    this.#recovering = new RecoveringAccounts(rules.timing);
    this.#wallAheadMs = rules.timing.now() - rules.timing.monotonic();
  }

  get accounts(): readonly LeasedAccount[] {
    return [...this.#leases].map(({ account }) => account);
  }

  /** Turns that run on what is held. */
  get turns(): number {
    return [...this.#leases].reduce((sum, { turns }) => sum + turns, 0);
  }

  /** No further account may be held. */
  get isFilled(): boolean {
    const now = this.#timing.monotonic();
    return [...this.#leases].filter(({ session }) => session.isLive(now)).length >= this.#rules.count;
  }

  /** The preferred account's lease, or the best one that has a place. */
  pick(demand: AccountDemand): Lease | undefined {
    const now = this.#timing.monotonic();
    let best: Lease | undefined;
    for (const lease of this.#leases) {
      if (!hasPlace(lease) || !isUsable(lease, now) || !suits(lease, demand)) continue;
      if (lease.account.id === demand.prefer) return lease;
      if (!best || isBetter(lease, best)) best = lease;
    }
    return best;
  }

  /** The account is held here, and every place on it is taken. */
  isFull(accountId: string): boolean {
    const now = this.#timing.monotonic();
    const held = [...this.#leases].filter(({ account }) => account.id === accountId);
    const usable = held.filter((lease) => isUsable(lease, now));
    return usable.length > 0 && !usable.some(hasPlace);
  }

  /** The accounts held here that would do, with a place or without: one may come free, which the pool cannot know. */
  suiting(demand: AccountDemand): ReadonlySet<string> {
    const now = this.#timing.monotonic();
    const live = [...this.#leases].filter((lease) => isLive(lease, now) && suits(lease, demand));
    return new Set(live.map(({ account }) => account.id));
  }

  /** A free account of this provider ran out: no other free one may replace it. */
  retireFree(provider: string): void {
    for (const lease of this.#leases) {
      if (lease.account.free && lease.account.provider === provider) this.retire(lease);
    }
  }

  /** What the pool answered to reports of that session. */
  noteReport(sessionId: string, results: ReportAnswer['results']): void {
    const reported = [...this.#leases].find(({ session }) => session.sessionId === sessionId);
    reported?.session.noteReport(results);
  }

  onEvent(event: PoolEvent): void {
    if (event.type === 'login-changed') return;
    for (const lease of this.#leases) {
      const { id } = lease.account;
      if (event.type === 'lease-wanted') {
        if (lease.turns === 0 && event.account_ids.includes(id)) this.retire(lease);
      } else if (event.account_id === id) {
        if (event.type === 'account-removed' || event.status !== 'active') this.retire(lease);
        else this.#noteChange(lease);
      }
    }
    if (event.type !== 'account-changed') return;
    if (event.status === 'exhausted' && event.free) this.retireFree(event.provider);
    if (event.status === 'active') this.#waiting.askAgainFor(event.account_id);
  }

  /** Whether the pool's events are flowing. */
  onState(isConnected: boolean): void {
    this.#hasEvents = isConnected;
    for (const session of this.#sessions) {
      // What was missed meanwhile is learnt by asking.
      if (isConnected) void session.renew();
      else session.reschedule();
    }
  }

  retire(lease: Lease): void {
    lease.isRetired = true;
    if (lease.turns === 0) this.giveBack(lease);
    else this.#changed();
  }

  /** A turn met a limit of the account, or was refused. */
  failed(lease: Lease): void {
    this.#recovering.add(lease.account);
    this.retire(lease);
  }

  /** A turn went well: an account that recovers may carry twice as many. */
  succeeded(lease: Lease): void {
    if (lease.mayGrow) return;
    lease.mayGrow = true;
    if (this.#waiting.size === 0 || !isUsable(lease, this.#timing.monotonic())) return;
    const grown = this.#grow(lease).then(() => this.#changed());
    void this.background.add(grown.catch(() => undefined));
  }

  end(lease: Lease): void {
    lease.turns -= 1;
    lease.idleSince = this.#timing.monotonic();
    if (lease.isRetired && lease.turns === 0) this.giveBack(lease);
    else this.#changed();
  }

  /** Gives everything back and stops. Turns that run lose their accounts. Throws PoolError. */
  async close(reason: PoolError): Promise<void> {
    const sessions = this.#sessions;
    this.#closed.abort(reason);
    this.#cancelTick?.();
    for (const lease of this.#leases) lease.isHeld = false;
    this.#leases.clear();
    for (const session of sessions) {
      session.end(reason);
      if (session !== this.#one) void this.#returned(session, session.release());
    }
    await this.background.ended();
    await this.#one?.release();
  }

  /** Makes room on accounts held here: a bearer that has not run out, or more slots. True when there is room now. */
  async makeRoom(demand: AccountDemand): Promise<boolean> {
    for (const lease of [...this.#leases]) {
      const isWanted = !isSought(demand) || lease.account.id === demand.prefer;
      if (lease.isRetired || !isWanted || !suits(lease, demand)) continue;
      await lease.changing;
      const now = this.#timing.monotonic();
      if (!isUsable(lease, now) && now - lease.session.confirmedAt >= askAgainMs) {
        // While the pool is unreachable the lease stays good until it lapses.
        await lease.session.confirm().catch(() => undefined);
      }
      if (!isUsable(lease, now)) continue;
      const isFull = !hasPlace(lease) && lease.account.slots < lease.account.capacity;
      if ('each' in this.#rules.sessions && isFull && lease.mayGrow && lease.growAfter <= now)
        await this.#grow(lease);
      if (isUsable(lease, this.#timing.monotonic()) && hasPlace(lease)) return true;
    }
    return false;
  }

  /** Twice as many slots, or one more, or as many as the account has. */
  async #grow(lease: Lease): Promise<void> {
    const { slots: before, capacity } = lease.account;
    for (const slots of new Set([Math.min(before * 2, capacity), before + 1])) {
      await lease.session.grow(slots);
      lease.mayGrow = !this.#recovering.has(lease.account);
      if (lease.isRetired || lease.account.slots > before) return;
    }
    lease.growAfter = this.#timing.monotonic() + askAgainMs;
  }

  /** A lease on another account. Waits at the pool up to `waitMs`; throws the signal's reason when it aborts. */
  async borrow(demand: AccountDemand, waitMs: number, signal: AbortSignal): Promise<Lease> {
    if (this.isFilled) this.#makePlace(demand);
    const session = this.#sessionFor(demand);
    const before = new Set(this.#leases);
    const exclude = [...new Set([...demand.exclude, ...this.inVain(session)])].slice(0, mostExcluded);
    const either = AbortSignal.any([signal, this.#closed.signal]);
    try {
      await session.ensure(
        {
          count: 1,
          wait_ms: Math.max(0, Math.min(longestWaitMs, Math.floor(waitMs))),
          ...(exclude.length > 0 && { exclude }),
          prefer: demand.prefer,
        },
        either,
        { trace: demand.trace },
      );
    } catch (error) {
      // The pool may have lent an account in an answer that is not read.
      if (either.aborted && session !== this.#one) void this.#returned(session, session.release());
      throw error;
    }
    const borrowed = [...this.#leases].find((lease) => lease.session === session && !before.has(lease));
    if (!borrowed)
      throw new PoolError('no_account_available', 'The account that could be had was lost again.');
    const isFit = isUsable(borrowed, this.#timing.monotonic()) && suits(borrowed, demand);
    if (isFit || borrowed.hasServed) return borrowed;
    // To ask again immediately would go round in circles.
    this.giveBack(borrowed);
    const reason =
      demand.isFreeBarred && borrowed.account.free
        ? 'Only free accounts are left, and one has run out.'
        : 'The account that could be had has a token that ran out.';
    throw new PoolError('no_account_available', reason);
  }

  /** No further account may be held: an idle one that will not do makes place. */
  #makePlace(demand: AccountDemand): void {
    const now = this.#timing.monotonic();
    const isUseless = (lease: Lease) => lease.turns === 0 && !(isUsable(lease, now) && suits(lease, demand));
    const useless = [...this.#leases].find(isUseless);
    if (!useless) throw this.fullError();
    this.giveBack(useless);
  }

  #sessionFor({ provider, model, labels }: AccountDemand): HeldSession {
    if (this.#one) return this.#one;
    const { sessions, pool, request } = this.#rules;
    const session = new HeldSession({
      request: {
        ...request,
        session_id: 'one' in sessions ? sessions.one : sessions.each(),
        ...(provider !== undefined && { provider }),
        ...(model !== undefined && { model }),
        ...(labels !== undefined && { labels: [...labels] }),
      },
      pool,
      timing: this.#timing,
      isRenewed: true,
      renewAtLeastEveryMs: () => (this.#hasEvents ? Number.POSITIVE_INFINITY : renewWithoutEventsMs),
      onChange: () => this.#sync(session),
    });
    if ('one' in sessions) this.#one = session;
    return session;
  }

  /** Ids of accounts held here, which to borrow for `session` would gain nothing. */
  inVain(session: HeldSession | undefined): string[] {
    const now = this.#timing.monotonic();
    const held = [...this.#leases].filter((lease) => lease.session === session || isUsable(lease, now));
    return held.map(({ account }) => account.id);
  }

  get #sessions(): ReadonlySet<HeldSession> {
    return new Set([...[...this.#leases].map(({ session }) => session), ...(this.#one ? [this.#one] : [])]);
  }

  get #idle(): Lease[] {
    return [...this.#leases].filter(({ turns }) => turns === 0);
  }

  /** Takes over what the session holds by the last word of the pool. */
  #sync(session: HeldSession): void {
    const gone = new Set([...this.#leases].filter((lease) => lease.session === session));
    let hasGrown = false;
    for (const account of session.accounts) {
      const { id, fence } = account;
      let lease = [...gone].find((one) => one.account.id === id && one.account.fence === fence);
      lease ??= newLease(session, account, this.#timing.monotonic(), !this.#recovering.has(account));
      hasGrown ||= !gone.delete(lease) || account.slots > lease.account.slots;
      this.#leases.add(lease);
      lease.account = account;
      lease.freshUntil = session.freshUntil(account);
      const expiresAt = account.quota_expires_at;
      lease.spendBy = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt);
      if (account.status !== 'active') this.retire(lease);
    }
    for (const lost of gone) {
      lost.isHeld = false;
      lost.isRetired = true;
      this.#leases.delete(lost);
    }
    this.#changed();
    if (hasGrown) this.#waiting.forgetPace();
  }

  /** New turns wait until the account is known as it is now; a call that is running may tell what it was before. */
  #noteChange(lease: Lease): void {
    const changing = lease.session
      .confirm()
      .catch(() => undefined)
      .then(() => {
        if (lease.changing !== changing) return;
        lease.changing = undefined;
        this.#changed();
      });
    lease.changing = changing;
  }

  giveBack(lease: Lease): void {
    lease.isRetired = true;
    lease.isHeld = false;
    if (!this.#leases.delete(lease)) return;
    const { session, account } = lease;
    const returned = this.#returned(session, session.giveBack([account]));
    void returned.then(() => this.#waiting.askAgainFor(account.id));
    this.#changed();
  }

  #returned({ sessionId }: HeldSession, returning: Promise<void>): Promise<void> {
    const { onReleaseFailed } = this.#rules;
    return this.background.add(returning.catch((error: unknown) => onReleaseFailed?.(sessionId, error)));
  }

  #changed(): void {
    this.#waiting.handOut(this);
    if (this.#leases.size > 0) this.#cancelTick ??= this.#timing.after(this.#tickMs(), () => this.#tick());
  }

  /** Until the next account has lain idle for long enough, and never long. */
  #tickMs(): number {
    const { idleMs } = this.#rules;
    const now = this.#timing.monotonic();
    const waits = this.#idle.map(({ idleSince }) => Math.max(shortestTickMs, idleSince + idleMs - now));
    return Math.min(tickMs, idleMs, ...waits);
  }

  /** Looks after what is held. */
  #tick(): void {
    this.#cancelTick = undefined;
    const now = this.#timing.monotonic();
    const wallAheadMs = this.#timing.now() - now;
    if (Math.abs(wallAheadMs - this.#wallAheadMs) > doubtfulJumpMs) {
      // The machine slept, or its clock was set: what the pool says counts.
      for (const session of this.#sessions) void session.renew();
    }
    this.#wallAheadMs = wallAheadMs;
    for (const lease of this.#idle.sort((one, other) => one.idleSince - other.idleSince)) {
      const isUnused = now - lease.idleSince >= this.#rules.idleMs && !lease.session.isPoolAway;
      const isSpare = isUnused && this.#leases.size > this.#rules.minimum;
      if (isSpare || !isLive(lease, now)) this.giveBack(lease);
    }
    this.#changed();
  }

  fullError(): PoolError {
    const message = `Every turn of the ${this.#leases.size} accounts of this block is taken; wait longer, or raise its count or slots.`;
    return new PoolError('no_account_available', message, { retryAfterMs: askAgainMs });
  }
}
