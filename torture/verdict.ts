import type { Sandbox } from '../sandbox/index.ts';

export interface Inspection {
  readonly urls: readonly string[];
  readonly sandbox: Sandbox;
  readonly accountCount: number;
  /** What is wrong is added here. */
  readonly problems: string[];
  say(text: string): void;
}

/** What the journal and the token server say afterwards. */
export interface Found {
  /** Refreshes that the token server executed, before the last forced round. */
  readonly refreshes: number;
  readonly mostRefreshesPerAccountAndInterval: number;
  /** Refreshes named by the pool as interrupted. */
  readonly interrupted: number;
  /** Accounts whose last token was issued but never stored. */
  readonly tokensLost: number;
  readonly auditLines: number;
}

interface Account {
  readonly id: string;
  readonly email: string;
  readonly status: string;
  readonly status_reason: string | null;
}

interface AuditLine {
  readonly seq: number;
  readonly action: string;
  readonly account_id: string | null;
}

/** Looks at everything that must hold once all callers have gone and the idle time is over. */
export async function inspect({ urls, sandbox, accountCount, problems, say }: Inspection): Promise<Found> {
  const url = urls[0] ?? '';
  for (const each of urls) {
    const { pool_stats: stats, active_sessions: sessions } = await get<{
      pool_stats: Record<string, number>;
      active_sessions: number;
    }>(`${each}/api/accounts/status`);
    if (stats['total'] !== accountCount) problems.push(`${each} counts ${stats['total']} accounts`);
    if (stats['in_use'] !== 0) problems.push(`${each} has ${stats['in_use']} accounts still lent`);
    if (sessions !== 0) problems.push(`${each} has ${sessions} sessions left`);
  }
  const accounts = await allAccounts(url);
  if (accounts.length !== accountCount) problems.push(`${accounts.length} accounts are listed`);

  const audit = await allAudit(url);
  const interrupted = new Set(
    audit.filter(({ action }) => action === 'refresh-interrupted').map(({ account_id: id }) => id),
  );
  const before = sandbox.tokens.stats();
  if (before.maxIssuedPerWindow > 1) {
    problems.push(`one account was refreshed ${before.maxIssuedPerWindow} times within the interval`);
  }

  say('refreshing every account once more: the last token of each must be in the pool');
  let tokensLost = 0;
  for (const account of accounts) {
    if (account.status === 'disabled') problems.push(`${account.id} is disabled: ${account.status_reason}`);
    const isGivenUp = account.status === 'reauth_required';
    if (!isGivenUp && (await forcedRefresh(url, account.id)) === 'refreshed') continue;
    tokensLost += 1;
    if (!interrupted.has(account.id)) {
      problems.push(`${account.id} lost its token and no interruption was named (${account.status_reason})`);
    }
  }
  return {
    refreshes: before.issued,
    mostRefreshesPerAccountAndInterval: before.maxIssuedPerWindow,
    interrupted: audit.filter(({ action }) => action === 'refresh-interrupted').length,
    tokensLost,
    auditLines: audit.length,
  };
}

async function forcedRefresh(url: string, id: string): Promise<string> {
  const answer = await fetch(`${url}/api/accounts/refresh-tokens`, {
    method: 'POST',
    body: JSON.stringify({ id, force: true }),
  });
  const body = (await answer.json()) as { readonly results?: readonly { readonly result: string }[] };
  return body.results?.[0]?.result ?? 'unanswered';
}

async function allAccounts(url: string): Promise<readonly Account[]> {
  const found: Account[] = [];
  let after = '';
  for (;;) {
    const page = await get<{ accounts: Account[]; next_after: string | null }>(
      `${url}/api/accounts?limit=500${after}`,
    );
    found.push(...page.accounts);
    if (page.next_after === null) return found;
    after = `&after=${page.next_after}`;
  }
}

async function allAudit(url: string): Promise<readonly AuditLine[]> {
  const found: AuditLine[] = [];
  let before = '';
  for (;;) {
    const page = await get<{ entries: AuditLine[]; next_before: string | null }>(
      `${url}/api/audit?limit=1000${before}`,
    );
    found.push(...page.entries);
    if (page.next_before === null) return found;
    before = `&before=${page.next_before}`;
  }
}

async function get<Body>(url: string): Promise<Body> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} was answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Body;
}
