import type { Outcome } from '../core/outcome.ts';
import { createBoundedMap } from '../lib/bounded-map.ts';
import { isAboutAccount, type QuotaFinding } from './account-state.ts';
import { hasBearer, type PoolContext, providerAccountOf } from './pool-context.ts';
import type { ReportedResult, ReportedTurn, StoredAccount } from './store/store.ts';

/**
 * What programs claim about the accounts they hold. Only the provider's own answer takes an account out of service, so a
 * claim of that makes the pool ask. The gateway's reports need no such check: it reads the provider's answers itself.
 */
export interface Claims {
  /** The claims that the provider has just confirmed, as reports to believe. */
  confirmed(turns: readonly ReportedTurn[], results: readonly ReportedResult[]): Promise<ReportedTurn[]>;
  /** Whether a claim may have the provider asked about this account now. True at most once a minute. */
  mayAsk(account: StoredAccount, question: 'key' | 'quota'): boolean;
}

/** However much is claimed, the provider is asked no more often about one account. */
const askEveryMs = 60_000;
const mostRemembered = 10_000;
/** What the provider says to a query where the claim is true. */
const confirmations: Partial<Record<Outcome, string>> = {
  unauthorized: 'upstream_unauthorized',
  refused: 'upstream_refused',
};
const nothingUsed = { turns: 0, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0 };

export function createClaims(context: PoolContext): Claims {
  const { clock } = context;
  const askedAt = createBoundedMap<string, number>(mostRemembered);

  const mayAsk: Claims['mayAsk'] = (account, question) => {
    // With another credential or team it is another question.
    const key = JSON.stringify([account.id, account.tokenVersion, account.teamUid, question]);
    const last = askedAt.get(key);
    if (last !== undefined && clock.monotonic() - last < askEveryMs) return false;
    askedAt.set(key, clock.monotonic());
    return true;
  };

  const isConfirmed = async (
    account: StoredAccount,
    { outcome }: ReportedTurn['signal'],
  ): Promise<boolean> => {
    if (!hasBearer(account, clock.now()) || !mayAsk(account, 'key')) return false;
    const finding: QuotaFinding = await context.probe(
      account.id,
      account.provider,
      providerAccountOf(context, account),
    );
    return finding.type === 'failure' && finding.code === confirmations[outcome] && isAboutAccount(finding);
  };

  return {
    mayAsk,
    async confirmed(turns, results) {
      const checked = results.map(async ({ shouldAskProvider, account }, index) => {
        const turn = turns[index];
        if (!shouldAskProvider || account === null || turn === undefined) return [];
        if (!(await isConfirmed(account, turn.signal))) return [];
        const { isClaim: _, ...signal } = turn.signal;
        return [{ ...turn, reportId: `${turn.reportId} confirmed`, signal, usage: nothingUsed }];
      });
      return (await Promise.all(checked)).flat();
    },
  };
}
