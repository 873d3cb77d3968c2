import { sleep } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { isShort, shortToo } from '../../pool-api/errors.ts';
import type { LeaseDemand } from '../../pool-api/held-lease.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';
import type { SpentLimit } from '../leases/account-limits.ts';
import type { AttemptNote } from '../records/turn-record.ts';
import type { Session } from './affinity.ts';
import { isAboutOthers } from './app-errors.ts';
import type { Candidate } from './candidates.ts';
import type { ClientTurn, TurnDependencies } from './client-turns.ts';
import type { Failover } from './failover.ts';
import type { Path } from './path.ts';

/** Where an attempt is made. */
export interface Place {
  readonly path: Path;
  readonly lease: TurnLease;
  /** Of the turn's record. */
  readonly note: AttemptNote;
  /** How its account was chosen, for the session. */
  readonly how: Parameters<Session['answeredBy']>[1];
}

type Demand = Omit<LeaseDemand, 'deadline' | 'signal'>;

/** How long a turn waits, altogether, for a cooling or busy account and for a provider that cannot be reached. */
const longestWaitMs = 10_000;

/** The accounts of one turn, and the time that it may wait for them. */
export class Borrowing {
  readonly #dependencies: TurnDependencies;
  readonly #turn: ClientTurn;
  readonly #failover: Failover;
  /** The log at DEBUG, else undefined. */
  readonly #steps: Logger | undefined;
  #waitLeftMs = longestWaitMs;

  constructor(
    dependencies: TurnDependencies,
    turn: ClientTurn,
    failover: Failover,
    steps: Logger | undefined,
  ) {
    this.#dependencies = dependencies;
    this.#turn = turn;
    this.#failover = failover;
    this.#steps = steps;
  }

  /** An account, waited for if need be and allowed; else why none is lent. Throws the signal's reason when it aborts. */
  borrow(path: Path, mayWait: boolean): Place | Error | Promise<Place | Error> {
    const { candidate, conversation, session, isRefused, outputCap } = path;
    const { leases, clock } = this.#dependencies;
    const { record } = this.#turn;
    const { route } = candidate;
    const { excluded, keptAccount, isFreeBarred } = this.#failover;
    const known = keptAccount ?? conversation.accountId;
    const preferred = known === undefined ? session?.preferred() : undefined;
    const isPreferredFull = preferred !== undefined && leases.held.isFull(preferred);
    if (isPreferredFull) record.skipped(candidate.note, { kind: 'full', accountId: preferred });
    const demand = {
      provider: route.provider.name,
      model: route.model,
      labels: route.labels,
      client: this.#turn.client.id,
      prefer: known ?? preferred,
      preference: known === undefined ? ('soft' as const) : ('hard' as const),
      exclude: route.barred ? excluded.union(route.barred) : excluded,
      isFreeBarred,
      trace: record.trace?.headers,
    };
    let askedAt = clock.monotonic();
    const placed = (lease: TurnLease): Place => {
      const accountId = lease.account.id;
      const note = record.attempt({
        route,
        accountId,
        choice:
          accountId === keptAccount
            ? 'same'
            : accountId !== demand.prefer
              ? 'free'
              : known
                ? 'conversation'
                : 'session',
        wasHeld: !lease.isFirst,
        waitedMs: clock.monotonic() - askedAt,
        outputCap,
      });
      this.#steps?.debug(
        { account_id: accountId, from: lease.isFirst ? 'the pool' : 'memory', waited_ms: note.waitedMs },
        'an account is lent',
      );
      const how = known !== undefined ? 'remembered' : isPreferredFull ? 'full' : 'sought';
      return { path, lease, note, how };
    };
    const noneLent = (cause: unknown): Error => {
      this.#turn.signal.throwIfAborted();
      const reason = cause instanceof Error ? cause : new Error(String(cause));
      record.noneLent(candidate.note, reason);
      this.#steps?.debug({ provider: route.provider.name, reason: reason.message }, 'no account is lent');
      return reason;
    };
    const lend = (): TurnLease | Promise<TurnLease> => {
      askedAt = clock.monotonic();
      const spent = this.#spent(candidate);
      const sparing = without(demand, spent?.keys());
      return leases.take(sparing) ?? this.#wait(demand, sparing, spent, mayWait);
    };
    try {
      const lent = isRefused ? this.#mustBeShort(demand).then(lend) : lend();
      return lent instanceof Promise ? lent.then(placed).catch(noneLent) : placed(lent);
    } catch (cause) {
      return noneLent(cause);
    }
  }

  async #wait(
    demand: Demand,
    sparing: Demand,
    spent: ReadonlyMap<string, SpentLimit> | undefined,
    mayWait: boolean,
  ): Promise<TurnLease> {
    const free = spent && (await this.#acquireBy(sparing).catch(ifShort));
    return free ?? (await this.#acquire(demand, [...(spent?.values() ?? [])], mayWait));
  }

  /** Takes what `wait` takes from the time this turn may wait. */
  async waiting<Value>(wait: (deadline: number) => Promise<Value>): Promise<Value> {
    const begunAt = this.#dependencies.clock.monotonic();
    try {
      return await wait(begunAt + this.#waitLeftMs);
    } finally {
      this.hasWaitedSince(begunAt);
    }
  }

  hasWaitedSince(begunAt: number): void {
    this.#waitLeftMs = Math.max(0, this.#waitLeftMs - (this.#dependencies.clock.monotonic() - begunAt));
  }

  /** Accounts that have nothing left for this model, with the limit; undefined where there are none such. */
  #spent({ route, note }: Candidate): ReadonlyMap<string, SpentLimit> | undefined {
    const { name, outbound } = route.provider;
    const spent = this.#dependencies.limits.spentFor(name, outbound, route.model);
    if (spent) this.#turn.record.limited(note, spent.values());
    return spent;
  }

  /** One that may have nothing left as well, but none that the upstream has refused for that, until it may be tried again. */
  async #acquire(demand: Demand, spent: readonly SpentLimit[], mayWait: boolean): Promise<TurnLease> {
    const { clock } = this.#dependencies;
    const { signal } = this.#turn;
    const now = clock.now();
    const barred = spent.filter(
      ({ barredUntil, accountId }) => barredUntil > now && !demand.exclude.has(accountId),
    );
    const acquire = (others: Demand, mostMs: number) =>
      mayWait
        ? this.waiting((until) => this.#acquireBy(others, Math.min(until, clock.monotonic() + mostMs)))
        : this.#acquireBy(others);
    if (barred.length === 0) return acquire(demand, Number.POSITIVE_INFINITY);
    const openInMs = Math.min(...barred.map(({ barredUntil }) => barredUntil)) - now;
    const begunAt = clock.monotonic();
    try {
      return await acquire(
        without(
          demand,
          barred.map(({ accountId }) => accountId),
        ),
        openInMs,
      );
    } catch (error) {
      const leftMs = openInMs - (clock.monotonic() - begunAt);
      if (!isShort(error)) throw error;
      if (!mayWait || leftMs > this.#waitLeftMs)
        throw shortToo(error, 'rate_limited', barred.length, Math.max(1, Math.ceil(leftMs)));
      await this.waiting(() => sleep(clock, Math.max(0, leftMs), signal.whole, true));
      signal.throwIfAborted();
      return await acquire(demand, Number.POSITIVE_INFINITY);
    }
  }

  /** Waits until then at most; without it not at all. */
  #acquireBy(demand: Demand, deadline = this.#dependencies.clock.monotonic()): Promise<TurnLease> {
    return this.#dependencies.leases.acquire({ ...demand, deadline, signal: this.#turn.signal.whole });
  }

  /** Throws the error to show where an account is free that this turn has not tried: a refusal is not worked around. */
  async #mustBeShort(demand: Demand): Promise<void> {
    const free = await this.#acquireBy(demand).catch((error: unknown) => {
      if (!isAboutOthers(error)) throw error;
    });
    free?.release();
    if (free && !this.#failover.mayReturnTo(free.account.id)) throw this.#failover.shown();
  }
}

function ifShort(error: unknown): undefined {
  if (!isShort(error)) throw error;
}

function without(demand: Demand, accountIds: Iterable<string> | undefined): Demand {
  return accountIds ? { ...demand, exclude: demand.exclude.union(new Set(accountIds)) } : demand;
}
