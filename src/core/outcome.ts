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

/** What an account may be in. The pool's database has their places in this list: new ones go to the end. */
export const accountStates = [
  'standby',
  'active',
  'cooldown',
  'exhausted',
  'reauth_required',
  'disabled',
] as const;
