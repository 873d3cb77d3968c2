import type { Clock } from '../lib/clock.ts';
import type { TraceHeaders } from '../lib/telemetry/trace-headers.ts';
import type { HeldSession } from './held-session.ts';
import type { LeasedAccount } from './schema.ts';

/** What a turn asks of an account. */
export interface AccountDemand {
  readonly provider?: string | undefined;
  /** The upstream model the account must be allowed to use; undefined: any account will do. */
  readonly model?: string | undefined;
  /** The account's label must be one of these; undefined: any will do. */
  readonly labels?: readonly string[] | undefined;
  readonly prefer?: string | undefined;
  /**
   * `hard`, the default: the preferred account is sought at the pool before another one is taken. `soft`: not where it is held
   * and all its places are taken. `hint`: it is taken only where it is held and has a place.
   */
  readonly preference?: 'hard' | 'soft' | 'hint';
  readonly exclude: ReadonlySet<string>;
  /** Whose turn it is: clients take turns where places are short. */
  readonly client?: string | undefined;
  /** A free account ran out in this turn: no other free one may replace it. */
  readonly isFreeBarred?: boolean;
  /** Of the turn, for the pool. */
  readonly trace?: TraceHeaders | undefined;
}

export interface LeaseDemand extends AccountDemand {
  /** Monotonic time until which waiting for a place makes sense. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/** A lease and the turns that run on it. All times are monotonic. */
export type Lease = ReturnType<typeof newLease>;

export function newLease(session: HeldSession, account: LeasedAccount, now: number, mayGrow: boolean) {
  return {
    session,
    account,
    /** Until when the bearer is good for a new turn. */
    freshUntil: 0,
    /** When a good part of its quota expires unspent, by the wall clock; Infinity where that is not soon. */
    spendBy: Number.POSITIVE_INFINITY,
    turns: 0,
    hasServed: false,
    idleSince: now,
    /** No new turn; given back when its last one ends. */
    isRetired: false,
    /** False once it was given back or the pool took it. */
    isHeld: true,
    /** Its owner has changed the account: what it is now is being asked for. */
    changing: undefined as Promise<void> | undefined,
    /** Before which asking for more slots is in vain. */
    growAfter: 0,
    /** False while the account recovers from a limit, until a turn on it has gone well. */
    mayGrow,
  };
}

export function isLive({ isRetired, session }: Lease, now: number): boolean {
  return !isRetired && session.isLive(now);
}

export function isUsable(lease: Lease, now: number): boolean {
  return isLive(lease, now) && lease.freshUntil > now && lease.changing === undefined;
}

/** Slots that were lent before the account's capacity was lowered carry no turn beyond it. */
export function hasPlace({ turns, account: { slots, capacity } }: Lease): boolean {
  return turns < Math.min(slots, capacity);
}

/** Which of two leases a turn takes: the lower tier, what would expire unspent sooner, the one with fewer turns. */
export function isBetter(one: Lease, other: Lease): boolean {
  if (one.account.tier !== other.account.tier) return one.account.tier < other.account.tier;
  if (one.spendBy !== other.spendBy) return one.spendBy < other.spendBy;
  return one.turns < other.turns;
}

export function suits({ account }: Lease, demand: AccountDemand): boolean {
  const { provider, model, labels, exclude, isFreeBarred } = demand;
  return (
    (provider === undefined || account.provider === provider) &&
    !exclude.has(account.id) &&
    !(isFreeBarred && account.free) &&
    (model === undefined || account.models === null || account.models.includes(model)) &&
    (labels === undefined || (account.label !== null && labels.includes(account.label)))
  );
}

/** The preferred account is worth a call to the pool. */
export function isSought({ prefer, preference }: AccountDemand): boolean {
  return prefer !== undefined && preference !== 'hint';
}

const recoveredSlots = 16;
const recoveringMs = 10 * 60_000;
const mostRecovering = 10_000;

/**
 * Accounts that met a limit or a refusal lately. Each carries one turn at first, then two, four and so on, as turns on it go well,
 * until it carries 16 or ten minutes have passed.
 */
export class RecoveringAccounts {
  readonly #timing: Pick<Clock, 'monotonic'>;
  /** When that is forgotten, by account. */
  readonly #until = new Map<string, number>();

  constructor(timing: Pick<Clock, 'monotonic'>) {
    this.#timing = timing;
  }

  add({ id }: LeasedAccount): void {
    if (this.#until.size >= mostRecovering) this.#until.clear();
    this.#until.set(id, this.#timing.monotonic() + recoveringMs);
  }

  has({ id, slots }: LeasedAccount): boolean {
    const until = this.#until.get(id);
    if (until === undefined) return false;
    if (until > this.#timing.monotonic() && slots < recoveredSlots) return true;
    this.#until.delete(id);
    return false;
  }
}
