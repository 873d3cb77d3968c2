import { AppError } from '../../core/errors.ts';
import type { Dialect } from '../../core/protocol.ts';
import type { Usage } from '../../core/turn.ts';
import type { Limits } from './limits.ts';
import { amountOf, type LimitedKey, type Meter, type Slice, unitsOf } from './slices.ts';

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
}

/** What one answer to a request took. */
export interface TurnUse {
  readonly usage: Usage | undefined;
  readonly costCents: number | undefined;
  /** Calls to upstreams. */
  readonly attempts: number;
  readonly isGood: boolean;
}

export const nothingUsed: TurnUse = { usage: undefined, costCents: undefined, attempts: 0, isGood: false };

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
    this.settle(nothingUsed);
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

/** While running turns have reserved what is left, some of it is soon free again. */
const runningMs = 2_000;
/** An operator may raise a budget before its window ends. */
const longestMs = 60 * 60_000;

const unitNames: Readonly<Record<Meter, string>> = {
  requests: 'requests',
  tokens: 'tokens',
  turns: 'turns',
  cost_cents: 'US cents',
  credits: 'credits',
};

/** Why a turn is refused, in the words of `/api/keys`: `requests_per_minute`, `parallel_turns`, `cost_cents per day`. */
export function limitName({ counted: { meter, windowName } }: Slice): string {
  if (windowName === 'now') return 'parallel_turns';
  return windowName === 'minute' ? `${meter}_per_minute` : `${meter} per ${windowName}`;
}

export function refusal(slice: Slice, now: number, headers: Readonly<Record<string, string>>): AppError {
  const { counted, isSpent } = slice;
  const { meter, windowName, window, isBudget } = counted;
  const limit = `${amountOf(meter, slice.limit)} ${unitNames[meter]}`;
  const endsInMs = window.endsAt - now;
  if (windowName === 'now') {
    return new AppError(
      'key_rate_limited',
      `This key may have ${limit} running at the same time: wait until one has ended.`,
      { headers, retryAfterMs: 1_000 },
    );
  }
  if (!isSpent) {
    return new AppError(
      'key_rate_limited',
      `What is left of this key's ${limit} per ${windowName} is reserved for its running turns: try again in a moment.`,
      { headers, retryAfterMs: Math.min(runningMs, endsInMs) },
    );
  }
  if (!isBudget) {
    return new AppError(
      'key_rate_limited',
      `This key may use ${limit} per minute and has used them: wait for the next minute.`,
      { headers, retryAfterMs: endsInMs },
    );
  }
  const isEndless = windowName === 'total';
  const until = isEndless ? '' : ` It begins again at ${new Date(window.endsAt).toISOString()}.`;
  return new AppError(
    'key_quota_exhausted',
    `The budget of this key is used up: ${limit} ${isEndless ? 'in all' : `per ${windowName}`}.${until} The operator of this gateway can raise it.`,
    { headers, retryAfterMs: Math.min(longestMs, endsInMs) },
  );
}

/** What vendors say of the rates of a key, in the words of the client's dialect. Google says nothing beside its errors. */
export function rateHeaders(
  slices: readonly Slice[],
  dialect: Dialect,
  now: number,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  if (dialect === 'gemini') return headers;
  for (const slice of slices) {
    const { meter, windowName, window } = slice.counted;
    if (windowName !== 'minute') continue;
    const limit = String(amountOf(meter, slice.limit));
    const left = String(amountOf(meter, Math.max(0, slice.limit - slice.spent - slice.reserved)));
    if (dialect === 'messages') {
      const name = `anthropic-ratelimit-${meter}`;
      headers[`${name}-limit`] = limit;
      headers[`${name}-remaining`] = left;
      headers[`${name}-reset`] = new Date(window.endsAt).toISOString();
    } else {
      headers[`x-ratelimit-limit-${meter}`] = limit;
      headers[`x-ratelimit-remaining-${meter}`] = left;
      headers[`x-ratelimit-reset-${meter}`] = `${Math.max(0, Math.ceil((window.endsAt - now) / 1000))}s`;
    }
  }
  return headers;
}

/** All of their names: what a web page may read. */
export const rateHeaderNames: readonly string[] = ['requests', 'tokens'].flatMap((meter) => [
  ...['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${meter}`),
  ...['limit', 'remaining', 'reset'].map((what) => `anthropic-ratelimit-${meter}-${what}`),
]);
