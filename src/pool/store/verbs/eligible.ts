import type { Queries } from '../../../db/database.ts';
import { type CandidateRow, candidateColumns, reasonFor } from '../rules/leasing.ts';
import { modelsFrom } from '../rules/rows.ts';
import type { LeaseDemand } from '../store.ts';
import { providersWithSpentFreeQuota } from './choice.ts';
import { kindCounts } from './counts.ts';
import { countReasons } from './shortage.ts';

/** Of those in service, and of the others. */
const mostNamed = 50;

/** How the accounts of one provider stand to a demand: what a refusal says, without lending any. */
export async function eligible(
  db: Queries,
  now: number,
  demand: LeaseDemand & { readonly provider: string },
) {
  const { provider } = demand;
  const question = {
    demand,
    provider,
    missing: 1,
    excluded: new Set<string>(),
    counted: new Set<string>(),
    spent: await providersWithSpentFreeQuota(db, now),
  };
  const { matching, reasons, open } = await countReasons(db, question, []);
  const all = (await kindCounts(db, provider)).reduce((sum, { accounts }) => sum + accounts, 0);
  const active = await db.all<CandidateRow>(
    `SELECT ${candidateColumns} FROM accounts WHERE provider = $1 AND state = 'active'
     ORDER BY tier, last_used, id LIMIT ${mostNamed}`,
    provider,
  );
  const resting = await db.all<CandidateRow>(
    `SELECT ${candidateColumns} FROM accounts /* INDEXED BY accounts_by_provider */
     WHERE provider = $1 AND state <> 'active' ORDER BY seq LIMIT ${mostNamed}`,
    provider,
  );
  return {
    matching,
    others: all - matching,
    counts: { ...(open > 0 && { open }), ...reasons },
    accounts: [...active, ...resting].map((row) => ({
      id: row.id,
      label: row.label,
      models: modelsFrom(row.models),
      standing: reasonFor(row, question),
    })),
  };
}
