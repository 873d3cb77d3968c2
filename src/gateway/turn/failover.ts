import { AppError, type ErrorCode } from '../../core/errors.ts';
import { withJitter } from '../../lib/backoff.ts';
import type { ReportResult } from '../../pool-api/report-queue.ts';
import type { LeasedAccount } from '../../pool-api/schema.ts';
import type { Route } from '../models/route.ts';

/**
 * Where a turn goes after an attempt that failed.
 * `same-account`: once more on this account.
 * `other-account`: another account of this candidate, else another candidate.
 * `next-candidate`: another candidate, else another account of this one.
 * `resting-account`: another candidate, else an account of this one whose limit is about to end. A refusal is not worked around
 * with an account that is free.
 * `leave-candidate`: another candidate; no account of this one.
 */
export type NextStep =
  | 'same-account'
  | 'other-account'
  | 'next-candidate'
  | 'resting-account'
  | 'leave-candidate'
  | 'end';

/** Attempts of one turn. */
const mostAttempts = 8;
const mostAtOneUpstream = 6;
/** No more than so many within this time. */
const mostInBurst = 4;
const burstMs = 3_100;
/** By then the upstream is at fault and no account. */
const mostFaults = 4;
/** Before an account is tried once more, with jitter. */
const repeatAfterMs = 270;
/** No attempt follows one that failed later than this after the turn began. */
const deadlineMs = 180_000;

/**
 * Which error a client is shown where accounts failed differently: a temporary error before a lasting one.
 * Errors that are not listed come last.
 */
const shownFirst: readonly ErrorCode[] = [
  'upstream_rate_limited',
  'model_unavailable',
  'upstream_unavailable',
  'upstream_timeout',
  'upstream_protocol',
  'no_account_available',
  'upstream_unauthorized',
  'upstream_quota_exhausted',
  'upstream_refused',
];

/** What failed attempts have shown. */
class Tried {
  /** Accounts. */
  readonly excluded = new Set<string>();
  readonly limited = new Set<string>();
  /** How often a fault of the upstream or of the model was met, by candidate. */
  readonly faults = new Map<string, number>();
}

const none: ReadonlySet<string> = new Set();

/** The rule of one turn, and its budget: where it goes after which error, when, and which error is shown in the end. */
export class Failover {
  readonly startedAt: number;
  readonly #errors: AppError[] = [];
  readonly #begun: { readonly at: number; readonly upstream: string }[] = [];
  /** An account to stay with: its rejected bearer was renewed, it is tried once more, or the turn is sent to it in another way. */
  keptAccount: string | undefined;
  /** No other free account takes the place of a free one that ran out or was refused. */
  isFreeBarred = false;
  #hasRenewed = false;
  /** Of an overloaded model or a connection that broke: it is tried once more where nothing else is left. */
  #lastResort: string | undefined;
  /** Undefined until an attempt has failed. */
  #tried: Tried | undefined;
  #repeatAt = 0;

  constructor(now: number) {
    this.startedAt = now;
  }

  get hasFailed(): boolean {
    return this.#errors.length > 0;
  }

  /** Accounts that are not tried again in this turn. */
  get excluded(): ReadonlySet<string> {
    return this.#tried?.excluded ?? none;
  }

  get attempts(): number {
    return this.#begun.length;
  }

  /** An attempt begins. */
  begin({ provider }: Pick<Route, 'provider'>, now: number): void {
    this.#begun.push({ at: now, upstream: provider.name });
  }

  /** How long the next attempt has to wait. */
  pauseMs(now: number): number {
    const first = this.#begun.at(-mostInBurst);
    return Math.max(0, this.#repeatAt - now, first === undefined ? 0 : first.at + burstMs - now);
  }

  /** Whether the budget has another attempt at this upstream. */
  maySend({ provider }: Pick<Route, 'provider'>): boolean {
    const here = this.#begun.filter(({ upstream }) => upstream === provider.name);
    return this.attempts < mostAttempts && here.length < mostAtOneUpstream;
  }

  /** `report`: the pool's answer, if the failure was reported. */
  next(
    error: AppError,
    account: LeasedAccount,
    report: ReportResult | undefined,
    route: Pick<Route, 'provider' | 'model'>,
    now: number,
  ): NextStep {
    this.#errors.push(error);
    this.keptAccount = undefined;
    this.#lastResort = undefined;
    if (account.free && (error.code === 'upstream_quota_exhausted' || error.code === 'upstream_refused')) {
      this.isFreeBarred = true;
    }
    if (Math.max(this.#errors.length, this.attempts) >= mostAttempts || now - this.startedAt >= deadlineMs)
      return 'end';
    this.#tried ??= new Tried();
    const candidate = `${route.provider.name}/${route.model}`;
    const step = this.#stepAfter(error, account, report, candidate, this.#tried);
    if (step === 'same-account') this.keptAccount = account.id;
    if (step === 'same-account' && isUpstreamFault(error)) {
      this.#repeatAt = now + withJitter(repeatAfterMs, 0.6, 1.4);
    }
    return step === 'end' || this.maySend(route) ? step : 'leave-candidate';
  }

  #stepAfter(
    error: AppError,
    account: LeasedAccount,
    report: ReportResult | undefined,
    candidate: string,
    { excluded, limited, faults }: Tried,
  ): NextStep {
    if (error.isFinal) return 'end';
    if (isTooLongForModel(error)) return 'leave-candidate';
    if (error.code === 'upstream_refused') {
      excluded.add(account.id);
      return 'resting-account';
    }
    if (error.failover === 'no') return isOfRequest(error) ? 'end' : 'leave-candidate';
    if (error.code === 'upstream_unauthorized' && report?.id_token !== undefined && !this.#hasRenewed) {
      this.#hasRenewed = true;
      return 'same-account';
    }
    const mayPass = isUpstreamFault(error);
    const faultsBefore = faults.get(candidate) ?? 0;
    if (mayPass || error.failover === 'once') faults.set(candidate, faultsBefore + 1);
    if (mayPass && faultsBefore === 0) return 'same-account';
    // The pool lends it to no turn while it rests; after that this turn may try it again.
    const isResting = error.code === 'upstream_rate_limited' && report?.status === 'cooldown';
    if (!isResting || limited.has(account.id)) excluded.add(account.id);
    limited.add(account.id);
    if (error.failover === 'once' && faultsBefore === 0) this.#lastResort = account.id;
    if (error.failover === 'once') return faultsBefore > 0 ? 'leave-candidate' : 'next-candidate';
    if (mayPass && faultsBefore + 1 >= mostFaults) return 'leave-candidate';
    const isOfAccount =
      error.fault === 'account' || error.isModelRefusedToAccount || error.modelLimit !== undefined;
    return isOfAccount ? 'other-account' : 'next-candidate';
  }

  /** Nothing else is left to try. True: the account that was tried last may be tried once more, after a pause. */
  mayRepeat(now: number): boolean {
    const account = this.#lastResort;
    if (account === undefined) return false;
    this.#lastResort = undefined;
    this.#tried?.excluded.delete(account);
    this.keptAccount = account;
    this.#repeatAt = now + withJitter(repeatAfterMs, 0.6, 1.4);
    return true;
  }

  /** Whether an account that is free may take the turn after a refusal: it was only limited before. */
  mayReturnTo(accountId: string): boolean {
    return this.#tried?.limited.has(accountId) === true;
  }

  /** The error to show, with the earliest time to come back. `shortages`: why no account was left. */
  shown(shortages: readonly AppError[] = []): AppError {
    const last = this.#errors.at(-1);
    if (last && (last.isFinal || (last.failover === 'no' && isOfRequest(last)))) return last;
    const all = [...this.#errors, ...shortages];
    const [first, ...others] = all;
    if (!first) return AppError.from(new Error('A turn without an attempt has no error to show.'));
    const shown = others.reduce((best, error) => (isBefore(error, best) ? error : best), first);
    const waits = all.flatMap(({ retryAfterMs }) => (retryAfterMs === undefined ? [] : [retryAfterMs]));
    if (shown.retryAfterMs !== undefined) shown.retryAfterMs = Math.min(...waits);
    return shown;
  }
}

/** Whichever account sends the request. */
export function isTooLongForModel({ code, failover }: AppError): boolean {
  return code === 'context_too_long' && failover === 'no';
}

/** What counts for the circuit of a candidate: nothing that is the account's or the request's. */
export function isUpstreamsFault({ fault, code }: AppError): boolean {
  return fault === 'upstream' || fault === 'network' || code === 'model_unavailable';
}

/** The upstream failed, and may do better in a moment. One that was silent is not waited for again. */
function isUpstreamFault({ code, fault, failover }: AppError): boolean {
  if (fault !== 'upstream' || failover !== 'yes') return false;
  return code === 'upstream_unavailable' || code === 'upstream_protocol';
}

/** The same request would meet it anywhere. */
function isOfRequest({ fault }: AppError): boolean {
  return fault === 'request' || fault === 'service';
}

function isBefore(one: AppError, other: AppError): boolean {
  const difference = rankOf(one) - rankOf(other);
  if (difference !== 0) return difference < 0;
  return (one.retryAfterMs ?? Number.POSITIVE_INFINITY) < (other.retryAfterMs ?? Number.POSITIVE_INFINITY);
}

function rankOf({ code }: AppError): number {
  const rank = shownFirst.indexOf(code);
  return rank === -1 ? shownFirst.length : rank;
}
