import { describe, expect, it } from 'vitest';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import { leased } from '../../pool-api/pool.fake.ts';
import { Failover } from './failover.ts';

const limited = (retryAfterMs?: number) =>
  new AppError('upstream_rate_limited', 'limited', retryAfterMs === undefined ? {} : { retryAfterMs });
const of = (code: ErrorCode) => new AppError(code, code);

/** Accounts fail one after another; what is shown in the end. */
function shownAfter(errors: readonly AppError[], shortage?: AppError): AppError {
  const failover = new Failover();
  errors.forEach((error, index) => {
    failover.next(error, { ...leased, id: `account-${index}` }, undefined);
  });
  return failover.shown(shortage);
}

/** From what passes soonest to what lasts. */
const accountErrors: readonly ErrorCode[] = [
  'upstream_rate_limited',
  'model_unavailable',
  'upstream_unavailable',
  'upstream_timeout',
  'upstream_protocol',
  'upstream_unauthorized',
  'upstream_quota_exhausted',
  'upstream_refused',
];
const pairs = accountErrors.flatMap((one, index) =>
  accountErrors.slice(index + 1).map((other) => [one, other] as const),
);

describe('the error of a turn on which accounts failed differently', () => {
  it.each(pairs)('is %s before %s, in any order and beside a third', (passing, lasting) => {
    expect(shownAfter([of(passing), of(lasting)]).code).toBe(passing);
    expect(shownAfter([of(lasting), of(passing)]).code).toBe(passing);
    expect(shownAfter([of(lasting), of(passing), of(lasting)]).code).toBe(passing);
  });

  it('tells the earliest time to come again', () => {
    expect(shownAfter([limited(9_000), limited(3_000), limited()]).retryAfterMs).toBe(3_000);
  });

  it.each<[ErrorCode, ErrorCode, ErrorCode]>([
    ['upstream_refused', 'no_account_available', 'no_account_available'],
    ['upstream_refused', 'upstream_quota_exhausted', 'upstream_quota_exhausted'],
    ['upstream_quota_exhausted', 'upstream_rate_limited', 'upstream_rate_limited'],
    ['upstream_unavailable', 'upstream_quota_exhausted', 'upstream_unavailable'],
    ['upstream_unavailable', 'no_account_available', 'upstream_unavailable'],
  ])('is, after %s where other accounts are short by %s, %s', (failed, short, shown) => {
    expect(shownAfter([of(failed)], of(short)).code).toBe(shown);
  });

  it.each<ErrorCode>(['invalid_request', 'context_too_long', 'too_large', 'internal'])(
    'is %s once the request itself has failed, whatever passes',
    (code) => {
      const failover = new Failover();
      failover.next(limited(2_000), leased, undefined);
      expect(failover.next(of(code), leased, undefined)).toBe('end');
      expect(failover.shown().code).toBe(code);
    },
  );
});

describe('the next account', () => {
  it('is another one, but for a limit whose rest the pool has noted', () => {
    const failover = new Failover();
    const resting = { report_id: 'r', account_id: 'a', result: 'applied', status_until: null } as const;
    failover.next(limited(), { ...leased, id: 'a' }, { ...resting, status: 'cooldown' });
    expect([...failover.excluded]).toEqual([]);
    failover.next(limited(), { ...leased, id: 'b' }, { ...resting, status: 'active' });
    failover.next(of('upstream_quota_exhausted'), { ...leased, id: 'c' }, { ...resting, status: 'cooldown' });
    expect([...failover.excluded]).toEqual(['b', 'c']);
    failover.next(limited(), { ...leased, id: 'a' }, { ...resting, status: 'cooldown' });
    expect([...failover.excluded]).toEqual(['b', 'c', 'a']);
  });

  it.each<ErrorCode>(['upstream_quota_exhausted', 'upstream_refused'])(
    'is no other free one after %s of a free one',
    (code) => {
      const failover = new Failover();
      failover.next(of(code), { ...leased, free: true }, undefined);
      expect(failover.isFreeBarred).toBe(true);
    },
  );
});
