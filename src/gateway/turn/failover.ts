import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { LeasedAccount } from '../../pool-api/schema.ts';
import type { ReportResult } from '../leases/reporter.ts';

/**
 * What a turn does after an attempt that failed before content. A refusal is not worked around with an account that is
 * free, but accounts whose limit is about to end are waited for: `resting-account`.
 */
export type NextStep = 'same-account' | 'other-account' | 'resting-account' | 'end';

const mostAttempts = 5;

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

/** The rule of one turn: which account after which error, and which error is shown when there is none left. */
export class Failover {
  readonly #errors: AppError[] = [];
  /** Accounts that are not tried again in this turn. */
  readonly excluded = new Set<string>();
  /** An account to stay with: its rejected bearer was renewed. */
  renewedAccount: string | undefined;
  /** No other free account takes the place of a free one that ran out or was refused. */
  isFreeBarred = false;
  #hasTriedOtherForModel = false;
  readonly #limited = new Set<string>();

  get hasFailed(): boolean {
    return this.#errors.length > 0;
  }

  /** `report`: the pool's answer, if the failure was reported. */
  next(error: AppError, account: LeasedAccount, report: ReportResult | undefined): NextStep {
    this.#errors.push(error);
    if (account.free && (error.code === 'upstream_quota_exhausted' || error.code === 'upstream_refused')) {
      this.isFreeBarred = true;
    }
    if (this.#errors.length >= mostAttempts) return 'end';
    if (error.code === 'upstream_refused' && !error.isFinal) {
      this.excluded.add(account.id);
      return 'resting-account';
    }
    if (error.failover === 'no') return 'end';
    if (error.failover === 'once') {
      if (this.#hasTriedOtherForModel) return 'end';
      this.#hasTriedOtherForModel = true;
    }
    if (error.code === 'upstream_unauthorized' && report?.id_token !== undefined && !this.renewedAccount) {
      this.renewedAccount = account.id;
      return 'same-account';
    }
    // The pool lends it to no turn while it rests; after that this turn may try it again.
    const isResting = error.code === 'upstream_rate_limited' && report?.status === 'cooldown';
    if (!isResting || this.#limited.has(account.id)) this.excluded.add(account.id);
    this.#limited.add(account.id);
    return 'other-account';
  }

  /** Whether an account that is free may take the turn after a refusal: it was only limited before. */
  mayReturnTo(accountId: string): boolean {
    return this.#limited.has(accountId);
  }

  /** The error to show. `shortage` is why no account was left, where that says anything about other accounts. */
  shown(shortage?: AppError): AppError {
    const last = this.#errors.at(-1);
    if (last?.failover === 'no' && last.fault !== 'account') return last;
    const [first, ...others] = [...this.#errors, ...(shortage ? [shortage] : [])];
    if (!first) return AppError.from(new Error('A turn without an attempt has no error to show.'));
    return others.reduce((shown, error) => (isBefore(error, shown) ? error : shown), first);
  }
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
