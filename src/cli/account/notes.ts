import { refusalOf } from '../../pool-api/refusal.ts';
import type { Account } from '../../pool-api/schema.ts';

type NotedAccount = Pick<
  Account,
  | 'id'
  | 'next_refresh_at'
  | 'probe'
  | 'provider'
  | 'refresh_failure'
  | 'status'
  | 'status_evidence'
  | 'status_reason'
>;

/** What the owner should know about an account that was just tried, and is not refused; empty where all is well. */
export function noteOf(account: NotedAccount): string {
  const { id, next_refresh_at: nextRefreshAt, probe, provider, status } = account;
  if (status === 'disabled') {
    return `It is out of service, because ${refusalOf(account)}: "warp2api account enable ${id}" puts it back.\n`;
  }
  if (status === 'reauth_required') return `It is out of service, because ${refusalOf(account)}.\n`;
  if (probe === 'proved') return '';
  if (account.status_reason === 'token_pending' && nextRefreshAt !== null) {
    return `It is not proved yet and serves no turn before ${nextRefreshAt}: an account is refreshed at most once an hour, whatever its token.\n`;
  }
  return `It is not proved yet: ${provider} could not be asked about it, or did not say. It is kept and asked about again; "warp2api doctor" says whether the provider can be reached.\n`;
}

/** Fails where the provider refuses an account that is kept nonetheless. `before` says what was done. */
export function mustNotBeRefused(account: Account, before: string): void {
  if (account.status !== 'reauth_required') return;
  throw new Error(
    `${before}, but ${refusalOf(account)}. The account is kept as ${account.id}, out of service: give it another credential with "warp2api account replace ${account.id}" (or "warp2api account login --account ${account.id}"), or take it out with "warp2api account remove ${account.id}".`,
  );
}
