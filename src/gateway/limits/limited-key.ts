import type { KeyLimits, ManagedKey } from '../keys/client-key.ts';
import { limitUnits, type Meter, Slice } from './slices.ts';
import { type LimitWindow, type WindowName, windowAt } from './windows.ts';

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
      ({ isUnsaid, reserved, isHolding, counted: { window } }) =>
        isUnsaid || reserved > 0 || (isHolding && window.endsAt > now),
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
