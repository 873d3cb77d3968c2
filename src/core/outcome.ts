import type { ErrorCode } from './errors.ts';

/** What a turn did to the account that carried it. */
export const outcomes = [
  'success',
  'rate_limited',
  'quota_exhausted',
  'unauthorized',
  'refused',
  'unavailable',
  'timeout',
  'protocol',
  'cancelled',
] as const;

export type Outcome = (typeof outcomes)[number];

/** The outcome an error stands for, or undefined where the error says nothing about the account. */
export function outcomeOf(code: ErrorCode): Outcome | undefined {
  switch (code) {
    case 'upstream_rate_limited':
      return 'rate_limited';
    case 'upstream_quota_exhausted':
      return 'quota_exhausted';
    case 'upstream_unauthorized':
      return 'unauthorized';
    case 'upstream_refused':
      return 'refused';
    case 'upstream_unavailable':
      return 'unavailable';
    case 'upstream_timeout':
      return 'timeout';
    case 'upstream_protocol':
      return 'protocol';
    case 'cancelled':
      return 'cancelled';
    default:
      return undefined;
  }
}
