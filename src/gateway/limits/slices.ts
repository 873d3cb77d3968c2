import type { KeyBudget, KeyLimits, ManagedKey } from '../keys/client-key.ts';
import { type LimitWindow, type WindowName, windowAt } from './windows.ts';

/** What is counted; `turns` are those that run at the same time. */
export type Meter = KeyBudget['meter'] | 'turns';

/** Amounts are counted in whole units, so that no sum of them loses or gains anything. Money and credits come in millionths. */
const unitsOfOne: Readonly<Record<Meter, number>> = {
  requests: 1,
  tokens: 1,
  turns: 1,
  cost_cents: 1_000_000,
  credits: 1_000_000,
};

/** No turn takes more, whatever an upstream says: a wrong figure must not use up a budget for ever. */
const mostOfOneTurn = 100_000_000;
/** Whole numbers are exact up to here in every place they pass. */
const mostUnits = 9_000_000_000_000_000;

export function unitsOf(meter: Meter, amount: number | undefined): number {
  if (amount === undefined || !(amount > 0)) return 0;
  return Math.ceil(Math.min(amount, mostOfOneTurn) * unitsOfOne[meter]);
}

export function limitUnits(meter: Meter, limit: number): number {
  return Math.min(mostUnits, Math.floor(Math.max(0, limit) * unitsOfOne[meter]));
}

export function amountOf(meter: Meter, units: number): number {
  return units / unitsOfOne[meter];
}

/** What a gateway says of its slice of a limit, and what it wants. May be said again when the answer was lost. */
export interface SliceAsk {
  readonly limit: number;
  /** By this gateway in this window, in all. */
  readonly spent: number;
  /** Of its turns in this window, those whose cost is not known. */
  readonly unknown: number;
  /** What it has and goes on to hold. */
  readonly keeps: number;
  /** Of that, for turns that run. */
  readonly reserved: number;
  /** What running and waiting turns want beyond that. */
  readonly needs: number;
  /** It is in use: more is welcome, so that the next turns need not wait. */
  readonly isBusy: boolean;
}

/** A limit as the database has it: what all gateways have spent in this window. */
export interface StoredLimit {
  readonly spent: number;
  readonly unknown: number;
}

/** A gateway's slice as the database has it. */
export interface StoredSlice {
  readonly held: number;
  readonly reserved: number;
  /** Of what it has spent, what is in the sum. */
  readonly spent: number;
  readonly unknown: number;
}

export interface Grant {
  /** What it may spend beside what it keeps. */
  readonly extra: number;
  /** By all gateways. */
  readonly spent: number;
  readonly unknown: number;
  /** Held by no gateway, after this. Negative: the limit was passed. */
  readonly available: number;
  /** Held by other gateways, and not reserved for their turns. */
  readonly freeElsewhere: number;
}

/** Of what is left a gateway takes this share ahead of need, so that slices become small as a limit comes near. */
export function shareOf(isShared: boolean): number {
  return isShared ? 1 / 8 : 1;
}

/** What the database answers: the arithmetic of one limit between all gateways. */
export function grantOf(
  stored: StoredLimit,
  mine: StoredSlice | undefined,
  others: readonly StoredSlice[],
  ask: SliceAsk,
  share: number,
): Grant {
  const spent = Math.min(mostUnits, stored.spent + Math.max(0, ask.spent - (mine?.spent ?? 0)));
  const unknown = stored.unknown + Math.max(0, ask.unknown - (mine?.unknown ?? 0));
  const heldElsewhere = others.reduce((sum, { held }) => sum + held, 0);
  const freeElsewhere = others.reduce((sum, { held, reserved }) => sum + Math.max(0, held - reserved), 0);
  const unheld = ask.limit - spent - heldElsewhere - ask.keeps;
  const free = Math.max(0, ask.keeps - ask.reserved);
  const spare = ask.isBusy ? Math.floor((unheld - ask.needs + free) * share) - free : 0;
  const extra = Math.max(0, Math.min(unheld, ask.needs + Math.max(0, spare)));
  return { extra, spent, unknown, available: unheld - extra, freeElsewhere };
}

/** One limit of a key in one window, as all gateways know it. */
export interface CountedLimit {
  readonly keyId: string;
  /** Meter, window and period: its name among those of its key, in the database. */
  readonly name: string;
  readonly meter: Meter;
  readonly windowName: WindowName;
  readonly window: LimitWindow;
  /** Not a rate, nor what runs at the same time. */
  readonly isBudget: boolean;
}

/** A gateway's part of one limit in one window: what it took from the database, and what its turns did with it. */
export class Slice {
  counted: CountedLimit;
  #limit: number;
  /** Taken and not spent. Negative where turns took more than was reserved for them. */
  #held = 0;
  #reserved = 0;
  #spent = 0;
  #unknown = 0;
  /** Of those, what the sum of all gateways holds. */
  #said = { spent: 0, unknown: 0 };
  #latest: Omit<Grant, 'extra'> | undefined;
  /** The database still counts as held here what a lower limit took. */
  #hasGivenUp = false;
  /** What turns wait for. */
  waiting = 0;
  /** Of the monotonic clock. */
  usedAt = Number.NEGATIVE_INFINITY;
  isQueued = false;
  /** The database is being asked, and has not answered. */
  isAsked = false;

  constructor(counted: CountedLimit, limit: number) {
    this.counted = counted;
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }
  /** What an operator has changed counts immediately. */
  set limit(limit: number) {
    if (this.#latest)
      this.#latest = { ...this.#latest, available: this.#latest.available + limit - this.#limit };
    this.#limit = limit;
    this.#fit();
  }
  get free(): number {
    return this.#held - this.#reserved;
  }
  get reserved(): number {
    return this.#reserved;
  }
  /** By all gateways, as far as it is known here. */
  get spent(): number {
    return (this.#latest?.spent ?? 0) + this.#spent - this.#said.spent;
  }
  /** By this gateway, beyond what the database has heard. */
  get unsaid(): { readonly spent: number; readonly unknown: number } {
    return { spent: this.#spent - this.#said.spent, unknown: this.#unknown - this.#said.unknown };
  }
  get unknown(): number {
    return (this.#latest?.unknown ?? 0) + this.#unknown - this.#said.unknown;
  }
  get isSpent(): boolean {
    return this.spent >= this.#limit;
  }
  /** Another turn may begin. */
  get isOpen(): boolean {
    return this.free > 0 && !this.isSpent;
  }
  get isFreeElsewhere(): boolean {
    return (this.#latest?.freeElsewhere ?? 0) > 0;
  }
  /** What the database gave is nearly used, and it has more. */
  get isLow(): boolean {
    const { available = 0 } = this.#latest ?? {};
    return available > 0 && this.free < available / 32;
  }
  /** The database has been asked. */
  get isKnown(): boolean {
    return this.#latest !== undefined;
  }
  /** The database has not heard of all that was spent or given up. */
  get isUnsaid(): boolean {
    const { spent, unknown } = this.#said;
    return this.#hasGivenUp || this.#spent !== spent || this.#unknown !== unknown;
  }
  /** To be kept: no other slice of the same limit may be asked about beside it. */
  get isDue(): boolean {
    return this.isQueued || this.isAsked || this.isUnsaid;
  }
  get isHolding(): boolean {
    return this.#held > 0;
  }

  /** For a turn that begins while something is free, also where that is less: the rest is asked for. */
  reserve(units: number): void {
    this.#reserved += units;
  }

  /** A turn that `reserved` was for has spent this much. */
  settle(reserved: number, spent: number, isUnknown = false): void {
    this.#reserved -= reserved;
    this.#held -= spent;
    this.#spent = Math.min(mostUnits, this.#spent + spent);
    if (isUnknown) this.#unknown += 1;
    this.#fit();
  }

  /** What goes to the database. What is not kept must not be spent from now on, even if no answer comes. */
  ask(isBusy: boolean, share: number): SliceAsk {
    this.#held = Math.max(0, this.#held - this.#surplus(isBusy, share));
    this.#hasGivenUp = false;
    return {
      limit: this.#limit,
      spent: this.#spent,
      unknown: this.#unknown,
      keeps: this.#held,
      reserved: this.#reserved,
      needs: Math.max(0, this.#reserved + this.waiting - this.#held),
      isBusy,
    };
  }

  granted(ask: SliceAsk, { extra, ...latest }: Grant): void {
    this.#held += extra;
    this.#said = { spent: ask.spent, unknown: ask.unknown };
    this.#latest = { ...latest, available: latest.available + this.#limit - ask.limit };
    this.#fit();
  }

  /** Gives up what is free of a limit that was passed, or lowered below what is held. */
  #fit(): void {
    const { available = 0 } = this.#latest ?? {};
    const given = Math.min(Math.max(0, this.free), Math.max(0, -available));
    if (!this.#latest || given === 0) return;
    this.#held -= given;
    this.#latest = { ...this.#latest, available: available + given };
    this.#hasGivenUp = true;
  }

  /** What is free and should be another gateway's. */
  #surplus(isBusy: boolean, share: number): number {
    // What came for a turn that waits is still its own.
    const free = Math.max(0, this.free - this.waiting);
    if (!isBusy) return free;
    const fair = Math.floor(((this.#latest?.available ?? 0) + free) * share);
    // Not for every small difference.
    return free > 2 * Math.max(0, fair) ? free - Math.max(0, fair) : 0;
  }
}

interface KeyLimit {
  readonly meter: Meter;
  readonly window: WindowName;
  readonly units: number;
}

export type KeyWithLimits = Pick<ManagedKey, 'keyId' | 'name' | 'limits'>;

/** What is counted for a managed key: a slice for each of its limits, in the window that it is now. */
export class LimitedKey {
  readonly keyId: string;
  /** Write that a limit refused turns, by its name: once a minute each. */
  readonly refusalLines = new Map<string, (requestId: string, code: string) => void>();
  #managed: KeyWithLimits;
  #limits: readonly KeyLimit[];
  #current: Slice[] = [];
  /** Of windows that begin soon. */
  readonly #ready = new Map<string, Slice>();
  /** Of windows that have ended, and limits the key has no more, while something of theirs is to be said. */
  #ended: Slice[] = [];
  /** All current windows hold until then, and since then. */
  #until = Number.NEGATIVE_INFINITY;
  #since = Number.POSITIVE_INFINITY;

  constructor(managed: KeyWithLimits) {
    this.keyId = managed.keyId;
    this.#managed = managed;
    this.#limits = limitsOf(managed.limits);
  }

  get limits(): KeyLimits {
    return this.#managed.limits;
  }
  get name(): string {
    return this.#managed.name;
  }
  get isUnlimited(): boolean {
    return this.#limits.length === 0;
  }
  get current(): readonly Slice[] {
    return this.#current;
  }
  get all(): readonly Slice[] {
    return [...this.#current, ...this.#ready.values(), ...this.#ended];
  }
  has(meter: Meter): boolean {
    return this.#limits.some((limit) => limit.meter === meter);
  }

  /** The key has other limits from now on. What was used stays. */
  configure(managed: KeyWithLimits, now: number): void {
    this.#managed = managed;
    this.#limits = limitsOf(managed.limits);
    this.#turnOver(now);
  }

  /** To be called before the slices are looked at for a turn. */
  use(now: number, monotonic: number): void {
    if (now >= this.#until || now < this.#since) this.#turnOver(now);
    for (const slice of this.#current) slice.usedAt = monotonic;
  }

  /** Slices of the windows that begin before then. */
  readyFor(now: number, before: number): Slice[] {
    if (this.#until > before || this.#until <= now) return [];
    return this.#limits.flatMap((limit) => {
      const window = windowAt(limit.window, this.#until, this.#zone);
      const name = nameOf(limit, window);
      if (this.all.some(({ counted }) => counted.name === name)) return [];
      const slice = this.#sliceOf(limit, window);
      this.#ready.set(name, slice);
      return [slice];
    });
  }

  /** Drops what is over. What is held of a window that goes on has to be given back first. */
  dropEnded(now: number): void {
    this.#ended = this.#ended.filter(
      ({ isDue, reserved, isHolding, counted: { window } }) =>
        isDue || reserved > 0 || (isHolding && window.endsAt > now),
    );
  }

  get #zone(): string {
    return this.#managed.limits.time_zone ?? 'UTC';
  }

  #turnOver(now: number): void {
    const known = new Map(this.all.map((slice) => [slice.counted.name, slice]));
    this.#ready.clear();
    this.#until = Number.POSITIVE_INFINITY;
    this.#since = Number.NEGATIVE_INFINITY;
    this.#current = this.#limits.map((limit) => {
      const window = windowAt(limit.window, now, this.#zone);
      this.#until = Math.min(this.#until, window.endsAt);
      this.#since = Math.max(this.#since, window.startsAt);
      const name = nameOf(limit, window);
      const slice = known.get(name) ?? this.#sliceOf(limit, window);
      known.delete(name);
      slice.limit = limit.units;
      // The day that it is may end at another moment in another time zone.
      if (slice.counted.window.endsAt !== window.endsAt) slice.counted = { ...slice.counted, window };
      return slice;
    });
    this.#ended = [...known.values()];
    this.dropEnded(now);
  }

  #sliceOf(limit: KeyLimit, window: LimitWindow): Slice {
    const { meter, units } = limit;
    const name = nameOf(limit, window);
    const isBudget = limit.window !== 'minute' && limit.window !== 'now';
    return new Slice({ keyId: this.keyId, name, meter, windowName: limit.window, window, isBudget }, units);
  }
}

function nameOf({ meter, window: name }: KeyLimit, { period }: LimitWindow): string {
  return `${meter}/${name}/${period}`;
}

/** Of two for the same the lower one counts. */
function limitsOf(given: KeyLimits): readonly KeyLimit[] {
  const { requests_per_minute, tokens_per_minute, parallel_turns, budgets } = given;
  const limits = new Map<string, KeyLimit>();
  const add = (meter: Meter, window: WindowName, limit: number | undefined): void => {
    if (limit === undefined) return;
    const name = `${meter}/${window}`;
    const units = Math.min(limitUnits(meter, limit), limits.get(name)?.units ?? Number.POSITIVE_INFINITY);
    limits.set(name, { meter, window, units });
  };
  add('turns', 'now', parallel_turns);
  add('requests', 'minute', requests_per_minute);
  add('tokens', 'minute', tokens_per_minute);
  for (const { meter, window, limit } of budgets) add(meter, window, limit);
  return [...limits.values()];
}
