import { describe, expect, it } from 'vitest';
import { AppError, type AppErrorOptions, type ErrorCode } from '../../core/errors.ts';
import { leased } from '../../pool-api/pool.fake.ts';
import type { ReportResult } from '../../pool-api/report-queue.ts';
import type { Route } from '../models/route.ts';
import { Failover, type NextStep } from './failover.ts';

const limited = (retryAfterMs?: number) =>
  new AppError('upstream_rate_limited', 'limited', retryAfterMs === undefined ? {} : { retryAfterMs });
const of = (code: ErrorCode, options: AppErrorOptions = {}) => new AppError(code, code, options);
const at = (provider: string, model = 'm') => ({ provider: { name: provider }, model }) as Route;
const account = (id: string) => ({ ...leased, id });
const resting = { report_id: 'r', account_id: 'a', result: 'applied', status_until: null } as const;

/** Accounts fail one after another; what is shown in the end. */
function shownAfter(errors: readonly AppError[], shortage?: AppError): AppError {
  const failover = new Failover(0);
  errors.forEach((error, index) => {
    failover.next(error, account(`account-${index}`), undefined, at('one'), 0);
  });
  return failover.shown(shortage ? [shortage] : []);
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
      const failover = new Failover(0);
      failover.next(limited(2_000), leased, undefined, at('one'), 0);
      failover.next(of(code), leased, undefined, at('one'), 0);
      expect(failover.shown().code).toBe(code);
    },
  );
});

/** The steps of a turn whose attempts at one candidate fail like this, one account after another unless it stays. */
function stepsOf(errors: readonly AppError[], report?: ReportResult): NextStep[] {
  const failover = new Failover(0);
  let accounts = 0;
  return errors.map((error) => {
    const step = failover.next(error, account(`${accounts}`), report, at('one'), 0);
    if (step !== 'same-account') accounts += 1;
    return step;
  });
}

const network = { fault: 'network', failover: 'once' } as const;

describe('the next step', () => {
  it.each<[string, readonly AppError[], readonly NextStep[]]>([
    ['a limit', [limited(2_000), limited(60_000)], ['other-account', 'other-account']],
    ['a spent quota', [of('upstream_quota_exhausted')], ['other-account']],
    ['a refusal', [of('upstream_refused')], ['resting-account']],
    ['a key that is not accepted', [of('upstream_unauthorized')], ['other-account']],
    [
      'a 5xx',
      Array(4).fill(of('upstream_unavailable')),
      ['same-account', 'next-candidate', 'next-candidate', 'leave-candidate'],
    ],
    ['an answer that cannot be read', [of('upstream_protocol')], ['same-account']],
    ['a reset', Array(2).fill(of('upstream_unavailable', network)), ['next-candidate', 'leave-candidate']],
    ['no connection', [of('upstream_unavailable', { ...network, isUnreachable: true })], ['next-candidate']],
    ['silence', [of('upstream_timeout'), of('upstream_timeout')], ['next-candidate', 'next-candidate']],
    ['an overloaded model', Array(2).fill(of('model_unavailable')), ['next-candidate', 'leave-candidate']],
    ['a model that one account may not use', [modelRefused()], ['other-account']],
    [
      'a quota that is of the model alone',
      [of('upstream_quota_exhausted', { fault: 'model', modelLimit: 'day' })],
      ['other-account'],
    ],
    ['a request that is too long for the model', [of('context_too_long')], ['leave-candidate']],
    [
      'a request that is more than one account may send in a minute',
      [of('context_too_long', { fault: 'model', failover: 'yes', modelLimit: 'minute' })],
      ['other-account'],
    ],
    ["the request's own fault", [of('invalid_request')], ['end']],
    ['work that may have been done', [of('upstream_unavailable', { isFinal: true })], ['end']],
    [
      'an edge before the upstream',
      [of('upstream_rate_limited', { ...network, failover: 'no' })],
      ['leave-candidate'],
    ],
    ['a fault of this service', [of('upstream_protocol', { fault: 'service', failover: 'no' })], ['end']],
  ])('after %s', (_name, errors, steps) => {
    expect(stepsOf(errors)).toEqual(steps);
  });

  function modelRefused(): AppError {
    return of('model_not_found', { fault: 'model', failover: 'yes' });
  }

  it('is the same account once its bearer was renewed, once', () => {
    const renewed = { ...resting, status: 'active', id_token: 'new' } as ReportResult;
    const unauthorized = of('upstream_unauthorized');
    expect(stepsOf([unauthorized, unauthorized], renewed)).toEqual(['same-account', 'other-account']);
  });

  it('is the account of an overloaded model where nothing else is left, once and after a pause', () => {
    const failover = new Failover(0);
    const overloaded = of('model_unavailable');
    failover.next(overloaded, account('a'), undefined, at('one'), 0);
    expect(failover.mayRepeat(0)).toBe(true);
    expect([failover.keptAccount, ...failover.excluded]).toEqual(['a']);
    expect(failover.pauseMs(0)).toBeGreaterThanOrEqual(150);
    expect(failover.next(overloaded, account('a'), undefined, at('one'), 400)).toBe('leave-candidate');
    expect(failover.mayRepeat(400)).toBe(false);
  });

  it('goes on to other accounts, but for a limit whose rest the pool has noted', () => {
    const failover = new Failover(0);
    const next = (error: AppError, id: string, status: 'cooldown' | 'active') =>
      failover.next(error, account(id), { ...resting, status }, at('one'), 0);
    next(limited(), 'a', 'cooldown');
    expect([...failover.excluded]).toEqual([]);
    next(limited(), 'b', 'active');
    next(of('upstream_quota_exhausted'), 'c', 'cooldown');
    expect([...failover.excluded]).toEqual(['b', 'c']);
    next(limited(), 'a', 'cooldown');
    expect([...failover.excluded]).toEqual(['b', 'c', 'a']);
  });

  it.each<ErrorCode>(['upstream_quota_exhausted', 'upstream_refused'])(
    'is no other free account after %s of a free one',
    (code) => {
      const failover = new Failover(0);
      failover.next(of(code), { ...leased, free: true }, undefined, at('one'), 0);
      expect(failover.isFreeBarred).toBe(true);
    },
  );
});

describe('the budget of a turn', () => {
  /** Attempts as fast as they may come, until the turn ends. */
  function attempts(error: AppError, upstreams: readonly string[]) {
    const failover = new Failover(0);
    const begun: { at: number; upstream: string }[] = [];
    let now = 0;
    let accounts = 0;
    for (let step: NextStep = 'next-candidate'; step !== 'end'; ) {
      now += failover.pauseMs(now);
      const upstream = upstreams.find((name) => failover.maySend(at(name)));
      if (upstream === undefined) break;
      failover.begin(at(upstream), now);
      begun.push({ at: now, upstream });
      step = failover.next(error, account(`${accounts}`), undefined, at(upstream), now);
      if (step !== 'same-account') accounts += 1;
    }
    return begun;
  }

  it.each(['upstream_rate_limited', 'upstream_timeout'] as const)(
    'has eight attempts, six of them at one upstream, and four within three seconds, after %s',
    (code) => {
      const begun = attempts(of(code), ['one', 'two']);
      expect(begun.map(({ upstream }) => upstream)).toEqual([...Array(6).fill('one'), 'two', 'two']);
      for (const { at: start } of begun) {
        const within = begun.filter((attempt) => attempt.at >= start && attempt.at <= start + 3_000);
        expect(within.length).toBeLessThanOrEqual(4);
      }
    },
  );

  it('waits a moment before an account is tried once more', () => {
    const failover = new Failover(0);
    failover.next(of('upstream_unavailable'), leased, undefined, at('one'), 1_000);
    expect(failover.pauseMs(1_000)).toBeGreaterThanOrEqual(150);
    expect(failover.pauseMs(1_000)).toBeLessThanOrEqual(400);
    expect(failover.pauseMs(1_400)).toBe(0);
  });

  it('ends some minutes after the turn began', () => {
    const failover = new Failover(0);
    expect(failover.next(limited(), leased, undefined, at('one'), 179_000)).toBe('other-account');
    expect(failover.next(limited(), leased, undefined, at('one'), 180_000)).toBe('end');
  });
});
