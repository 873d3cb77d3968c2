import { AppError } from '../../core/errors.ts';
import type { LimitReading, Outbound, UpstreamHeaders } from '../../core/protocol.ts';
import type { Clock } from '../../lib/clock.ts';

/** A limit of an account that has nothing left, or nearly. */
export interface SpentLimit {
  readonly accountId: string;
  readonly reading: LimitReading;
  readonly until: number;
  /** The upstream refused a turn for it: until then no other turn is sent, even where there is no other account. */
  readonly barredUntil: number;
}

/** Of a window; the rest is for turns that are running. */
const spentPercent = 98;
/** A vendor's clock may be wrong, and no account is left out for ever. */
const longestMs = 8 * 86_400_000;
/** After a refusal; then the last usable account is tried again. */
const longestBarMs = 60_000;
/** A shorter rest is the account's as a whole: it costs little, and the pool's waits know of it. */
const shortRestMs = 10_000;
/** Of families, and of limits in each. */
const mostKept = 1_000;
/** In a model's name: the versions of one model share its limits. */
const version = /[-@](\d{4}-?\d{2}-?\d{2}|latest)$/;

/** What upstreams said is used up, in the headers of their answers: by account and family of models, until its reset. */
export class AccountLimits {
  readonly #clock: Pick<Clock, 'now'>;
  /** By family, then by account and name. Only what is spent is kept. */
  readonly #families = new Map<string, Map<string, SpentLimit>>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** `outbound`: what the answer was asked in. */
  noteHead(
    account: { readonly id: string; readonly provider: string },
    outbound: Outbound,
    model: string,
    headers: UpstreamHeaders,
  ): void {
    if (!outbound.readLimits) return;
    const now = this.#clock.now();
    for (const reading of outbound.readLimits(headers, now)) {
      const family = reading.isOfAccount ? account.provider : familyOf(account.provider, outbound, model);
      const key = `${account.id} ${reading.name}`;
      const { resetAt } = reading;
      if (resetAt !== undefined && resetAt > now && isSpent(reading)) {
        const until = Math.min(resetAt, now + longestMs);
        this.#note(family, key, { accountId: account.id, reading, until, barredUntil: 0 });
      } else this.#forget(family, key);
    }
  }

  /**
   * The error as it is for the rest: where it or the headers with it say that a limit of the model's family is used up, that is noted,
   * and an account of which no limit as a whole is used up goes on with its other models. A free account is spent as a whole: the pool
   * then lends no other free one for it.
   */
  judged(
    error: AppError,
    account: { readonly id: string; readonly provider: string; readonly free: boolean },
    outbound: Outbound,
    model: string,
  ): AppError {
    const family = familyOf(account.provider, outbound, model);
    const now = this.#clock.now();
    const { code, message, cause, retryAfterMs = 0, resetAt, modelLimit, failover } = error;
    if (account.free && code === 'upstream_quota_exhausted' && error.fault === 'model')
      return new AppError(code, message, { cause, ...(resetAt && { resetAt }) });
    const told = resetAt && modelLimit;
    if (code !== 'upstream_rate_limited' || this.#longest(account.provider, account.id, now)) {
      if (told) this.#bar(family, account.id, { name: told, remaining: 0 }, resetAt.getTime());
      return error;
    }
    const spent = this.#longest(family, account.id, now);
    const name = told ?? spent?.reading.name;
    const restMs = Math.max(retryAfterMs, (spent?.until ?? 0) - now);
    if (name === undefined) return error;
    if (restMs <= shortRestMs)
      return told === undefined ? error : new AppError(code, message, { cause, retryAfterMs });
    this.#bar(family, account.id, spent?.reading ?? { name, remaining: 0 }, now + restMs);
    const limit = { retryAfterMs: restMs, fault: 'model', modelLimit: name, failover } as const;
    return new AppError(code, message, { cause, ...limit });
  }

  #bar(family: string, accountId: string, reading: LimitReading, resetAt: number): void {
    const now = this.#clock.now();
    const until = Math.min(resetAt, now + longestMs);
    const barredUntil = Math.min(until, now + longestBarMs);
    this.#note(family, `${accountId} ${reading.name}`, { accountId, reading, until, barredUntil });
  }

  #longest(family: string, accountId: string, now: number): SpentLimit | undefined {
    let longest: SpentLimit | undefined;
    for (const limit of this.#families.get(family)?.values() ?? []) {
      if (limit.accountId === accountId && limit.until > Math.max(now, longest?.until ?? 0)) longest = limit;
    }
    return longest;
  }

  /** By account: which limit leaves it nothing for this model, the longest. Undefined: all have some left. */
  spentFor(
    provider: string,
    outbound: Outbound | undefined,
    model: string,
  ): ReadonlyMap<string, SpentLimit> | undefined {
    if (this.#families.size === 0 || !outbound) return undefined;
    const now = this.#clock.now();
    let found: Map<string, SpentLimit> | undefined;
    for (const family of [provider, familyOf(provider, outbound, model)]) {
      for (const [key, limit] of this.#families.get(family) ?? []) {
        if (limit.until <= now) this.#forget(family, key);
        else if (limit.until > (found?.get(limit.accountId)?.until ?? 0)) {
          found ??= new Map();
          found.set(limit.accountId, limit);
        }
      }
    }
    return found;
  }

  #note(family: string, key: string, limit: SpentLimit): void {
    const limits = this.#families.get(family) ?? new Map<string, SpentLimit>();
    setBounded(limits, key, limit);
    setBounded(this.#families, family, limits);
  }

  #forget(family: string, key: string): void {
    const limits = this.#families.get(family);
    if (limits?.delete(key) && limits.size === 0) this.#families.delete(family);
  }
}

/** The newest are kept. */
function setBounded<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  const [first] = map.keys();
  if (map.size >= mostKept && first !== undefined) map.delete(first);
  map.set(key, value);
}

function isSpent({ remaining, usedPercent = 0 }: LimitReading): boolean {
  return remaining === 0 || usedPercent >= spentPercent;
}

function familyOf(provider: string, outbound: Outbound, model: string): string {
  return `${provider}/${outbound.limitFamily?.(model) ?? model.replace(version, '')}`;
}
