import { plainJson } from '../lib/shown-text.ts';
import type { PoolAdmin } from '../pool-api/pool.ts';
import type { Account, AccountDetails } from '../pool-api/schema.ts';
import { formatPairs, formatTable } from './table.ts';
import { UsageError } from './usage-error.ts';

/** The account a person means by an id, or by an e-mail address that only one account has. */
export async function findAccount(admin: PoolAdmin, idOrEmail: string): Promise<Account> {
  if (!idOrEmail.includes('@')) return await admin.getAccount(idOrEmail);
  const { accounts } = await admin.listAccounts({ email: idOrEmail });
  const [first, ...others] = accounts;
  if (first === undefined) {
    throw new Error(`No account has the e-mail ${idOrEmail}; "warp2api account list" shows them all.`);
  }
  if (others.length === 0) return first;
  const ids = accounts.map((account) => account.id).join(', ');
  throw new UsageError(`${accounts.length} accounts have the e-mail ${idOrEmail}; name one of: ${ids}`);
}

export function formatAccounts(accounts: readonly Account[]): string {
  return formatTable(accounts, [
    ['id', (account) => account.id],
    ['provider', (account) => account.provider],
    ['email', (account) => account.email],
    ['label', (account) => account.label],
    ['status', (account) => account.status],
    ['until', (account) => account.status_until],
    ['in use', (account) => `${account.slots_in_use}/${account.capacity}`],
    ['quota left', quotaLeft],
    ['last used', (account) => account.last_used],
  ]);
}

export function formatAccount(account: Account): string {
  return formatPairs([
    ['id', account.id],
    ['provider', account.provider],
    ['e-mail', account.email],
    ['label', account.label],
    ['status', account.status],
    ['until', account.status_until],
    ['reason', account.status_reason],
    ['evidence', account.status_evidence && JSON.stringify(account.status_evidence)],
    ['probe', account.probe],
    ['credential', `${account.credential} ending in ${account.credential_hint}`],
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
  ]);
}

function refreshFailure(failure: NonNullable<Account['refresh_failure']>): string {
  const times = failure.in_a_row === 1 ? '' : `, ${failure.in_a_row} times in a row`;
  return `${failure.failure.replaceAll('_', ' ')} at ${failure.at}${times}: ${failure.message}`;
}

/** All that is known of one account. */
export function formatDetails(account: AccountDetails): string {
  const { lendable, last_skips: skips } = account;
  const lent = lendable.now ? 'yes' : `no: ${lendable.reason?.replaceAll('_', ' ')}`;
  const rows = skips.map(
    (skip) => `  ${skip.at}  ${skip.reason.replaceAll('_', ' ')}  (${skip.session_id})\n`,
  );
  const passed = rows.length === 0 ? '' : `lately passed over:\n${rows.join('')}`;
  return `${formatAccount(account)}${formatPairs([['can be lent now', lent]])}${passed}`;
}

export function formatJson(value: unknown): string {
  return `${plainJson(JSON.stringify(value, null, 2))}\n`;
}

function quotaLeft({ quota }: Account): string | null {
  if (quota === null) return null;
  if (quota.is_unlimited) return 'unlimited';
  if (quota.remaining === null) return null;
  return quota.limit === null ? String(quota.remaining) : `${quota.remaining} of ${quota.limit}`;
}
