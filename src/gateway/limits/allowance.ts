import type { Dialect } from '../../core/protocol.ts';
import type { Usage } from '../../core/turn.ts';
import type { RoutePlan } from '../models/route.ts';
import type { LimitedKey } from './limited-key.ts';
import type { Limits } from './limits.ts';
import { rateHeaders } from './rate-headers.ts';
import { type Meter, type Slice, unitsOf } from './slices.ts';

/** What a turn may take at most, as far as that is known before it. */
export interface TurnEstimate {
  readonly requestId: string;
  readonly dialect: Dialect;
  /** Turns that the request is carried out by. */
  readonly choices: number;
  /** Of input and output, of all answers. */
  readonly tokens: number;
  /** Undefined where the price is not known. */
  readonly costCents: number | undefined;
  /** Where it may go, if that was looked up for its price. */
  readonly plan?: RoutePlan | undefined;
}

/** What one answer to a request took. */
export interface TurnUse {
  readonly usage: Usage | undefined;
  readonly costCents: number | undefined;
  /** Calls to upstreams. */
  readonly attempts: number;
  readonly isGood: boolean;
}

/** Reserved for a turn whose provider counts in credits: what one takes is known afterwards only. */
const usualCredits = 1;

export function estimatedUnits(meter: Meter, { tokens, costCents }: TurnEstimate): number {
  switch (meter) {
    case 'tokens':
      return unitsOf(meter, Math.max(1, tokens));
    case 'cost_cents':
      return Math.max(1, unitsOf(meter, costCents));
    case 'credits':
      return unitsOf(meter, usualCredits);
    default:
      return 1;
  }
}

/** What is reserved of a key's limits for one request, until all of its choices have ended. */
export class Allowance {
  /** Where its turn may go, if that was looked up for the price. */
  readonly plan: RoutePlan | undefined;
  readonly #key: LimitedKey;
  readonly #limits: Limits;
  readonly #slices: readonly Slice[];
  readonly #reserved: readonly number[];
  #running: number;
  #attempts = 0;
  #tokens = 0;
  #costCents = 0;
  #credits = 0;
  #isCostUnknown = false;

  constructor(limits: Limits, key: LimitedKey, turn: TurnEstimate) {
    this.#limits = limits;
    this.#key = key;
    this.plan = turn.plan;
    this.#running = turn.choices;
    this.#slices = key.current;
    this.#reserved = key.current.map((slice) => {
      const units = estimatedUnits(slice.counted.meter, turn);
      slice.reserve(units);
      return units;
    });
  }

  /** To be called once for each choice, whatever became of it. */
  settle({ usage, costCents, attempts, isGood }: TurnUse): void {
    this.#attempts += attempts;
    this.#tokens += (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0);
    this.#credits += usage?.credits ?? 0;
    this.#costCents += costCents ?? 0;
    if (costCents === undefined && (isGood || usage !== undefined)) this.#isCostUnknown = true;
    this.#running -= 1;
    if (this.#running > 0) return;
    for (const [at, slice] of this.#slices.entries()) {
      const isUnknown = slice.counted.meter === 'cost_cents' && this.#isCostUnknown;
      slice.settle(this.#reserved[at] ?? 0, this.#spentOf(slice), isUnknown);
    }
    this.#limits.settled(this.#slices);
  }

  headers(dialect: Dialect, now: number): Readonly<Record<string, string>> {
    return rateHeaders(this.#key.current, dialect, now);
  }

  /** The turn did not run at all. */
  release(): void {
    this.#running = 1;
    this.settle({ usage: undefined, costCents: undefined, attempts: 0, isGood: false });
  }

  #spentOf({ counted: { meter, isBudget } }: Slice): number {
    switch (meter) {
      case 'turns':
        return 0;
      case 'requests':
        // One that reached no upstream was a request all the same, but none that a budget pays for.
        return isBudget && this.#attempts === 0 ? 0 : 1;
      case 'tokens':
        return unitsOf(meter, this.#tokens);
      case 'cost_cents':
        return unitsOf(meter, this.#costCents);
      case 'credits':
        return unitsOf(meter, this.#credits);
    }
  }
}
