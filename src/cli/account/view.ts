import type { Account, AccountDetails } from '../../pool-api/account-schema.ts';
import { refusalOf } from '../../pool-api/readiness.ts';
import { cutTo, type FittingColumn, formatPairs, formatToFit, fromNow } from '../table.ts';

/** `acc_` and eight digits of the id, by which the commands take an account. */
const briefId = 12;

const columns: readonly FittingColumn<Account>[] = [
  { heading: 'id', cell: ({ id }) => id, brief: ({ id }) => id.slice(0, briefId) },
  { heading: 'provider', cell: ({ provider }) => provider, leftOut: 6 },
  {
    heading: 'email',
    cell: ({ email }) => email,
    briefHeading: 'name',
    brief: ({ email, label }) => cutTo(email || label || '', 20),
  },
  {
    heading: 'label',
    cell: ({ label }) => label,
    brief: ({ label }) => label && cutTo(label, 18),
    leftOut: 5,
  },
  { heading: 'status', cell: ({ status }) => status },
  {
    heading: 'until',
    cell: ({ status_until: until }) => until,
    brief: ({ status_until: until }) => fromNow(until),
  },
  {
    heading: 'reason',
    cell: ({ status_reason: reason }) => reason,
    brief: ({ status_reason: reason }) => reason && cutTo(reason, 17),
  },
  { heading: 'source', cell: ({ source }) => source, leftOut: 4 },
  { heading: 'in use', cell: ({ slots_in_use, capacity }) => `${slots_in_use}/${capacity}`, leftOut: 3 },
  { heading: 'quota left', cell: quotaLeft, leftOut: 2 },
  {
    heading: 'last used',
    cell: ({ last_used: used }) => used,
    brief: ({ last_used: used }) => fromNow(used),
    leftOut: 1,
  },
];

/** At most `width` columns wide, as far as that can be: ids and times are shortened, then columns left out. */
export function formatAccounts(accounts: readonly Account[], width?: number): string {
  return formatToFit(accounts, columns, width);
}

export function formatAccount(account: Account): string {
  return formatPairs(pairsOf(account));
}

function pairsOf(account: Account): Parameters<typeof formatPairs>[0] {
  return [
    ['id', account.id],
    ['provider', account.provider],
    ['e-mail', account.email],
    ['label', account.label],
    ['status', account.status],
    ['until', account.status_until],
    ['reason', account.status_reason],
    ['evidence', account.status_evidence && JSON.stringify(account.status_evidence)],
    ['probe', account.probe],
    ['credential', credentialOf(account)],
    ['source', account.source],
    ['models', account.models?.join(', ') ?? 'all'],
    ['slots in use', `${account.slots_in_use} of ${account.capacity}`],
    ['holders', account.holders],
    ['free plan', account.free],
    ['lent to', account.lend],
    ['tier', account.tier],
    ['team', account.team_uid],
    ['quota left', quotaLeft(account)],
    ['quota reset', account.quota?.reset_at],
    ['quota denied', account.quota?.denial_reason],
    ['turns', account.usage.turns],
    ['tokens in, out', `${account.usage.input_tokens}, ${account.usage.output_tokens}`],
    ['credits', account.usage.credits],
    ['cost in cents', account.usage.cost_cents],
    ['last used', account.last_used],
    ['last refresh', account.last_refresh_time],
    ['token expires', account.token_expires_at],
    ['next refresh', account.next_refresh_at],
    ['refresh failed', account.refresh_failure && refreshFailure(account.refresh_failure)],
    ['created', account.created_at],
  ];
}

function refreshFailure(failure: NonNullable<Account['refresh_failure']>): string {
  const times = failure.in_a_row === 1 ? '' : `, ${failure.in_a_row} times in a row`;
  return `${failure.failure.replaceAll('_', ' ')} at ${failure.at}${times}: ${failure.message}`;
}

export function formatDetails(account: AccountDetails): string {
  const { lendable, last_skips: skips } = account;
  const lent = lendable.now ? 'yes' : `no: ${lendable.reason?.replaceAll('_', ' ')}`;
  const rows = skips.map(
    (skip) => `  ${skip.at}  ${skip.reason.replaceAll('_', ' ')}  (${skip.session_id})\n`,
  );
  const passed = rows.length === 0 ? '' : `lately passed over:\n${rows.join('')}`;
  return `${formatPairs([...pairsOf(account), ['can be lent now', lent]])}${passed}`;
}

function quotaLeft({ quota }: Account): string | null {
  if (quota === null) return null;
  if (quota.is_unlimited) return 'unlimited';
  if (quota.remaining === null) return null;
  return quota.limit === null ? String(quota.remaining) : `${quota.remaining} of ${quota.limit}`;
}

function credentialOf({ credential, credential_hint: hint }: Account): string {
  return hint === '' ? 'none' : `${credential} ending in ${hint}`;
}

/** What the owner should know about an account that was just tried, and is not refused; empty where all is well. */
export function noteOf(account: Account): string {
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
