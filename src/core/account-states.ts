/** What an account may be in. */
export const accountStates = [
  'standby',
  'active',
  'cooldown',
  'exhausted',
  'reauth_required',
  'disabled',
] as const;
