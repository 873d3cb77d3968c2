import type { Clock } from '../../lib/clock.ts';
import { debugLog, type Logger } from '../../lib/log/logger.ts';
import type { AccountDemand } from '../../pool-api/held-lease.ts';
import { isShort } from '../../pool-api/lease-engine.ts';
import type { LeaseCache, LeaseDemand, TurnLease } from '../leases/lease-cache.ts';
import type { AccountLimits } from './account-limits.ts';
import type { Session } from './affinity.ts';
import { isAboutOthers } from './app-errors.ts';
import type { Candidate } from './candidates.ts';
import type { ClientTurn } from './client-turns.ts';
import type { Conversation } from './conversations.ts';
import type { Failover } from './failover.ts';
import type { AttemptNote } from './turn-record.ts';

export interface BorrowingDependencies {
  readonly leases: LeaseCache;
  readonly limits: Pick<AccountLimits, 'spentFor' | 'noteHead' | 'noteSpent'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Whose account is wanted, and which one. */
export interface Wanted {
  readonly candidate: Candidate;
  readonly conversation: Conversation;
  readonly session: Session | undefined;
  /** An account of it has refused the turn: only those take it again that were limited before. */
  readonly isRefused: boolean;
}

export interface Borrowed {
  readonly lease: TurnLease;
  /** Of the turn's record. */
  readonly note: AttemptNote;
  /** How its account was chosen, for the session. */
  readonly how: Parameters<Session['answeredBy']>[1];
}

/** How long a turn waits, altogether, for a cooling or busy account and for a provider that cannot be reached. */
const longestWaitMs = 10_000;

/** The accounts of one turn, and the time that it may wait for them. */
export class Borrowing {
  readonly #dependencies: BorrowingDependencies;
  readonly #turn: ClientTurn;
  readonly #failover: Failover;
  /** The log at DEBUG, else undefined. */
  readonly #steps: Logger | undefined;
  #waitLeftMs = longestWaitMs;

  constructor(dependencies: BorrowingDependencies, turn: ClientTurn, failover: Failover) {
    this.#dependencies = dependencies;
    this.#turn = turn;
    this.#failover = failover;
    this.#steps = debugLog(dependencies.logger)?.child({ request_id: turn.requestId });
  }

  /** An account, waited for if need be and allowed; else why none is lent. Throws the signal's reason when it aborts. */
  async borrow(
    { candidate, conversation, session, isRefused }: Wanted,
    mayWait: boolean,
  ): Promise<Borrowed | Error> {
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
      exclude: route.barred ? new Set([...excluded, ...route.barred]) : excluded,
      isFreeBarred,
      signal: this.#turn.signal,
    };
    try {
      if (isRefused) await this.#mustBeShort(demand);
      const askedAt = clock.monotonic();
      const sparing = this.#sparing(demand, candidate);
      const lease =
        leases.take(sparing ?? demand) ??
        (sparing && (await this.#ifAnyIsFree(sparing))) ??
        (mayWait
          ? await this.waiting((deadline) => leases.acquire({ ...demand, deadline }))
          : await leases.acquire({ ...demand, deadline: clock.monotonic() }));
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
      });
      this.#steps?.debug(
        { account_id: accountId, from: lease.isFirst ? 'the pool' : 'memory', waited_ms: note.waitedMs },
        'an account is lent',
      );
      const how = known !== undefined ? 'remembered' : isPreferredFull ? 'full' : 'sought';
      return { lease, note, how };
    } catch (cause) {
      this.#turn.signal.throwIfAborted();
      const reason = cause instanceof Error ? cause : new Error(String(cause));
      record.noneLent(candidate.note, reason);
      this.#steps?.debug({ provider: route.provider.name, reason: reason.message }, 'no account is lent');
      return reason;
    }
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

  /** Without the accounts that have nothing left for this model; undefined where there are none such. They are tried where there is no other. */
  #sparing<Demand extends AccountDemand>(demand: Demand, { route, note }: Candidate): Demand | undefined {
    const { name, outbound } = route.provider;
    const spent = this.#dependencies.limits.spentFor(name, outbound, route.model);
    if (!spent) return undefined;
    this.#turn.record.limited(note, spent.values());
    return { ...demand, exclude: new Set([...demand.exclude, ...spent.keys()]) };
  }

  async #ifAnyIsFree(demand: Omit<LeaseDemand, 'deadline'>): Promise<TurnLease | undefined> {
    const { leases, clock } = this.#dependencies;
    try {
      return await leases.acquire({ ...demand, deadline: clock.monotonic() });
    } catch (error) {
      if (isShort(error)) return undefined;
      throw error;
    }
  }

  /** Throws the error to show where an account is free that this turn has not tried: a refusal is not worked around. */
  async #mustBeShort(demand: Omit<LeaseDemand, 'deadline'>): Promise<void> {
    const { leases, clock } = this.#dependencies;
    let free: TurnLease;
    try {
      free = await leases.acquire({ ...demand, deadline: clock.monotonic() });
    } catch (error) {
      if (isAboutOthers(error)) return;
      throw error;
    }
    free.release();
    if (!this.#failover.mayReturnTo(free.account.id)) throw this.#failover.shown();
  }
}
