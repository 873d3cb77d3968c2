import { LRUCache } from 'lru-cache';
import type { Outcome } from '../../core/outcome.ts';
import { atMost } from '../../lib/at-most.ts';
import { debugLog } from '../../lib/log/logger.ts';
import { type ReportAnswer, type ReportItem, reportRequest } from '../../pool-api/schema.ts';
import type { Basics, Caller } from '../base/basics.ts';
import { sessionNotFound } from '../base/failures.ts';
import { isoTime, parse } from '../base/present.ts';
import type { LendingStore } from '../lending/lending-store.ts';
import { isAboutAccount } from '../standing/account-state.ts';
import type { ReportDemand, ReportedResult, ReportedTurn, StoredAccount } from '../store/store.ts';
import type { Refresher } from '../tokens/refresh.ts';
import { hasBearer } from '../vault/vault.ts';
import type { Quota } from './quota.ts';

type Holder = Omit<ReportDemand, 'turns'>;
type ById = ReadonlyMap<string, StoredAccount>;

const quotaQueryMs = 3000;
/** Reports of one call that a line of the log names. */
const mostLogged = 10;
/** A holder whose bearer was rejected waits so long for another one; the refresh goes on without it. */
const refreshLimitMs = 5000;
/** For a claim the provider is asked at most this often about one account, however many claims there are. */
const askEveryMs = 60_000;
const mostRemembered = 10_000;
/** What the provider says to a query where the claim is true. */
const confirmations: Partial<Record<Outcome, string>> = {
  unauthorized: 'upstream_unauthorized',
  refused: 'upstream_refused',
};
const nothingUsed = { turns: 0, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0 };

/**
 * What holders report about their accounts. What programs report are claims: only the provider's own answer takes an account
 * out of service, so the pool asks it when a program claims that. The gateway's reports need no such check: it reads the
 * provider's answers itself.
 */
export class Reports {
  readonly #basics: Basics;
  readonly #lending: LendingStore;
  readonly #quota: Quota;
  readonly #refresher: Refresher;
  /** When the provider was last asked for a claim, by question. */
  readonly #askedAt = new LRUCache<string, number>(atMost(mostRemembered));

  constructor(basics: Basics, lending: LendingStore, quota: Quota, refresher: Refresher) {
    this.#basics = basics;
    this.#lending = lending;
    this.#quota = quota;
    this.#refresher = refresher;
  }

  /** Throws PoolError. */
  async report(caller: Caller, request: unknown): Promise<ReportAnswer> {
    const { clock, metrics, logger } = this.#basics;
    const { session_id: sessionId, reports } = parse(reportRequest, request);
    const holder = { sessionId, keyId: caller.keyId };
    const turns = reports.map((item) => turnFrom(item, caller));
    const result = await this.#lending.current.report(clock.now(), { ...holder, turns });
    if (result === null) throw sessionNotFound();
    const findings = await Promise.all(
      result.results.map((item, index) => this.#checkClaim(item, turns[index])),
    );
    const confirmed = await this.#reportConfirmed(
      holder,
      findings.flatMap((found) => (typeof found === 'object' ? [found] : [])),
    );
    const rejected = [...result.results, ...confirmed].filter((item) => item.shouldRefresh);
    const toRefresh = [
      ...rejected.map((item) => item.accountId),
      ...result.results.flatMap((item, index) => (findings[index] === 'refresh' ? [item.accountId] : [])),
    ];
    const checked: ById = new Map([
      ...(await this.#checkQuotas(result.results, isClaimant(caller))),
      ...confirmed.map(({ account }) => [account.id, account] as const),
      ...(await this.#refreshRejected(toRefresh)),
    ]);
    const results = result.results.map((item, index) =>
      this.#present(item, checked.get(item.accountId) ?? item.account, reports[index]),
    );
    metrics.reported(reports, results);
    const seen = reportsSeen(reports, results);
    debugLog(logger)?.debug({ session_id: sessionId, reports: seen }, 'reports came in');
    return { success: true, timestamp: isoTime(clock.now()), results };
  }

  /**
   * A claim that the provider has just confirmed, as a report to believe; `refresh` where the bearer is said to be rejected and
   * the provider has no query, so that only a refresh can show it.
   */
  async #checkClaim(
    { shouldAskProvider, account }: ReportedResult,
    turn: ReportedTurn | undefined,
  ): Promise<ReportedTurn | 'refresh' | undefined> {
    if (!shouldAskProvider || account === null || turn === undefined) return undefined;
    const { clock, credentials } = this.#basics;
    if (!hasBearer(account, clock.now()) || !this.#mayAsk(account, 'key')) return undefined;
    const finding = await this.#quota.probe(account, credentials.providerAccount(account));
    if (finding.type !== 'failure') return undefined;
    const { isClaim: _, isOwners: __, ...signal } = turn.signal;
    if (finding.code === confirmations[signal.outcome] && isAboutAccount(finding)) {
      return { ...turn, reportId: `${turn.reportId} confirmed`, signal, usage: nothingUsed };
    }
    const isForTokenEndpoint =
      signal.outcome === 'unauthorized' &&
      account.credentialKind === 'refresh_token' &&
      finding.code === 'upstream_protocol';
    return isForTokenEndpoint ? 'refresh' : undefined;
  }

  /** Whether a claim may have the provider asked about this account now. True at most once a minute. */
  #mayAsk(account: StoredAccount, question: 'key' | 'quota'): boolean {
    const now = this.#basics.clock.monotonic();
    // With another credential or team it is another question.
    const key = JSON.stringify([account.id, account.tokenVersion, account.teamUid, question]);
    const last = this.#askedAt.get(key);
    if (last !== undefined && now - last < askEveryMs) return false;
    this.#askedAt.set(key, now);
    return true;
  }

  /** What became of claims that the provider has confirmed, where their leases are still there. */
  async #reportConfirmed(
    holder: Holder,
    turns: readonly ReportedTurn[],
  ): Promise<(ReportedResult & { readonly account: StoredAccount })[]> {
    if (turns.length === 0) return [];
    const result = await this.#lending.current.report(this.#basics.clock.now(), { ...holder, turns });
    return (result?.results ?? []).flatMap((item) =>
      item.account === null ? [] : [{ ...item, account: item.account }],
    );
  }

  /** What the providers say about the accounts whose quota is in doubt. */
  async #checkQuotas(results: readonly ReportedResult[], isClaim: boolean): Promise<ById> {
    const doubtful = new Map<string, StoredAccount>();
    for (const { shouldCheckQuota, account } of results) {
      if (shouldCheckQuota && account !== null) doubtful.set(account.id, account);
    }
    const asked = [...doubtful.values()].filter((account) => !isClaim || this.#mayAsk(account, 'quota'));
    const cause = isClaim ? 'claim' : 'signal';
    return byId(await Promise.all(asked.map((account) => this.#quota.check(account, cause, quotaQueryMs))));
  }

  /** Other bearers for those that were rejected, as far as they are to be had now. */
  async #refreshRejected(ids: readonly string[]): Promise<ById> {
    const how = { force: false, actor: 'rejected bearer' };
    const refreshed = [...new Set(ids)].map((id) => this.#refresher.refreshSoon(id, how, refreshLimitMs));
    return byId(await Promise.all(refreshed));
  }

  #present(
    item: ReportedResult,
    account: StoredAccount | null,
    reported: ReportItem | undefined,
  ): ReportAnswer['results'][number] {
    const { clock, credentials } = this.#basics;
    const until = account?.standing.until ?? null;
    const plain = {
      report_id: item.reportId,
      account_id: item.accountId,
      result: item.result,
      status: account?.standing.state ?? null,
      status_until: until === null ? null : isoTime(until),
    };
    const isNewer = item.isLive && account !== null && account.tokenVersion > (reported?.token_version ?? 0);
    if (!isNewer || !hasBearer(account, clock.now())) return plain;
    return {
      ...plain,
      id_token: credentials.bearerOf(account),
      token_version: account.tokenVersion,
      token_expires_at: account.bearer === null ? null : isoTime(account.bearer.expiresAt),
    };
  }
}

function byId(accounts: readonly (StoredAccount | null)[]): ById {
  return new Map(accounts.flatMap((account) => (account === null ? [] : [[account.id, account] as const])));
}

function reportsSeen(reports: readonly ReportItem[], results: ReportAnswer['results']) {
  return reports.slice(0, mostLogged).map(({ account_id, outcome }, index) => {
    const { result, status } = results[index] ?? {};
    return { account_id, outcome, result, status };
  });
}

/** Neither a gateway, which reads the provider's answers itself, nor the owner. */
function isClaimant({ role, isGateway }: Caller): boolean {
  return role === 'borrower' && !isGateway;
}

function turnFrom(item: ReportItem, caller: Caller): ReportedTurn {
  const isTurn = item.outcome === 'success' || item.outcome === 'cancelled' || item.usage !== undefined;
  return {
    reportId: item.report_id,
    accountId: item.account_id,
    fence: item.fence,
    signal: {
      outcome: item.outcome,
      tokenVersion: item.token_version,
      ...(isClaimant(caller) && { isClaim: true }),
      ...(caller.role === 'admin' && { isOwners: true }),
      ...(item.retry_after_ms === undefined ? {} : { retryAfterMs: item.retry_after_ms }),
      ...(item.reset_at === undefined ? {} : { resetAt: Date.parse(item.reset_at) }),
    },
    usage: {
      turns: item.usage?.turns ?? (isTurn ? 1 : 0),
      inputTokens: item.usage?.input_tokens ?? 0,
      outputTokens: item.usage?.output_tokens ?? 0,
      credits: item.usage?.credits ?? 0,
      costCents: item.usage?.cost_cents ?? 0,
    },
  };
}
