import type { ReportItem } from '../pool-api/schema.ts';
import { isAboutAccount } from './account-state.ts';
import { type Caller, type PoolContext, providerAccountOf } from './pool-context.ts';

/**
 * Only the vendor's own answer takes a key out of service: when a program reports that its key was rejected, the vendor is
 * asked. If it accepts the key, the account is unchanged; if it gives no answer, the report counts as a failure, which is at
 * most a short rest. The gateway's reports are believed, because it reads the vendor's answers itself.
 */
export async function checkRejections(
  context: PoolContext,
  caller: Caller,
  reports: readonly ReportItem[],
): Promise<readonly ReportItem[]> {
  if (caller.isGateway) return reports;
  return Promise.all(
    reports.map(async (item) => {
      if (item.outcome !== 'unauthorized') return item;
      const account = await context.lending().account(context.clock.now(), item.account_id);
      if (account?.credentialKind !== 'api_key' || account.tokenVersion !== item.token_version) return item;
      const finding = await context.probe(account.id, account.provider, providerAccountOf(context, account));
      if (finding.type === 'answer') return { ...item, outcome: 'cancelled' as const };
      const isRejected = finding.code === 'upstream_unauthorized' && isAboutAccount(finding);
      return isRejected ? item : { ...item, outcome: 'unavailable' as const };
    }),
  );
}
