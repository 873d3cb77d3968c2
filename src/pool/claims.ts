import { LRUCache } from 'lru-cache';
import type { Outcome } from '../core/outcome.ts';
import { isAboutAccount, type QuotaFinding } from './account-state.ts';
import { hasBearer, type PoolContext, providerAccountOf } from './pool-context.ts';
import type { ReportedResult, ReportedTurn, StoredAccount } from './store/store.ts';

/**
 * What programs report about the accounts they hold. Only the provider's own answer takes an account out of service, so the pool
 * asks it when a program claims that. The gateway's reports need no such check: it reads the provider's answers itself.
 */
export interface Claims {
  check(turns: readonly ReportedTurn[], results: readonly ReportedResult[]): Promise<CheckedClaims>;
  /** Whether a claim may have the provider asked about this account now. True at most once a minute. */
  mayAsk(account: StoredAccount, question: 'key' | 'quota'): boolean;
}

export interface CheckedClaims {
  /** Those that the provider has just confirmed, as reports to believe. */
  readonly confirmed: readonly ReportedTurn[];
  /** Accounts whose bearer is said to be rejected, and whose provider has no query: only a refresh can show it. */
  readonly toRefresh: readonly string[];
}

/** The provider is asked at most this often about one account, however many claims there are. */
const askEveryMs = 60_000;
const mostRemembered = 10_000;
/** What the provider says to a query where the claim is true. */
const confirmations: Partial<Record<Outcome, string>> = {
  unauthorized: 'upstream_unauthorized',
  refused: 'upstream_refused',
};
const nothingFound: CheckedClaims = { confirmed: [], toRefresh: [] };
const nothingUsed = { turns: 0, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0 };

export function createClaims(context: PoolContext): Claims {
  const { clock } = context;
  const askedAt = new LRUCache<string, number>({ max: mostRemembered });

  const mayAsk: Claims['mayAsk'] = (account, question) => {
    // With another credential or team it is another question.
    const key = JSON.stringify([account.id, account.tokenVersion, account.teamUid, question]);
    const last = askedAt.get(key);
    if (last !== undefined && clock.monotonic() - last < askEveryMs) return false;
    askedAt.set(key, clock.monotonic());
    return true;
  };

  const ask = async (account: StoredAccount): Promise<QuotaFinding | undefined> => {
    if (!hasBearer(account, clock.now()) || !mayAsk(account, 'key')) return undefined;
    return context.probe(account.id, account.provider, providerAccountOf(context, account));
  };

  const checkOne = async (turn: ReportedTurn, account: StoredAccount): Promise<CheckedClaims> => {
    const finding = await ask(account);
    if (finding?.type !== 'failure') return nothingFound;
    const { isClaim: _, isOwners: __, ...signal } = turn.signal;
    if (finding.code === confirmations[signal.outcome] && isAboutAccount(finding)) {
      const reportId = `${turn.reportId} confirmed`;
      return { ...nothingFound, confirmed: [{ ...turn, reportId, signal, usage: nothingUsed }] };
    }
    const isForTokenEndpoint =
      signal.outcome === 'unauthorized' &&
      account.credentialKind === 'refresh_token' &&
      finding.code === 'upstream_protocol';
    return isForTokenEndpoint ? { ...nothingFound, toRefresh: [account.id] } : nothingFound;
  };

  return {
    mayAsk,
    async check(turns, results) {
      const checked = await Promise.all(
        results.map(({ shouldAskProvider, account }, index) => {
          const turn = turns[index];
          return shouldAskProvider && account !== null && turn !== undefined
            ? checkOne(turn, account)
            : nothingFound;
        }),
      );
      return {
        confirmed: checked.flatMap((one) => one.confirmed),
        toRefresh: checked.flatMap((one) => one.toRefresh),
      };
    },
  };
}
