import { isTokenReason, type Standing } from './standing.ts';

/** What ends a status, and what its owner can do about it. Times are milliseconds since 1970. */
interface StatusEnd {
  readonly by: 'time' | 'check' | 'refresh' | 'replenishing' | 'owner';
  readonly at: number | null;
  readonly action: 'enable' | 'replace_credential' | 'remove' | null;
}

/** Null for an account that is active. */
export function statusEnd(
  { state, reason, until }: Pick<Standing, 'state' | 'reason' | 'until'>,
  due: { readonly nextCheckAt: number | null; readonly nextRefreshAt: number | null },
): StatusEnd | null {
  switch (state) {
    case 'active':
      return null;
    case 'standby':
      return { by: 'replenishing', at: null, action: 'enable' };
    case 'cooldown':
      if (isTokenReason(reason)) return { by: 'refresh', at: due.nextRefreshAt ?? until, action: null };
      return { by: 'time', at: until, action: null };
    case 'exhausted':
      if (until !== null) return { by: 'time', at: until, action: null };
      return { by: 'check', at: due.nextCheckAt, action: null };
    case 'reauth_required':
      return { by: 'owner', at: null, action: reason === 'account_gone' ? 'remove' : 'replace_credential' };
    case 'disabled':
      return { by: 'owner', at: null, action: 'enable' };
  }
}
