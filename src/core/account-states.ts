/** What an account may be in. The pool's database has their places in this list: new ones go to the end. */
export const accountStates = [
  'standby',
  'active',
  'cooldown',
  'exhausted',
  'reauth_required',
  'disabled',
] as const;
