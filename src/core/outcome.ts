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
