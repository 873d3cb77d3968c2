import { applyQuota, type QuotaCause, type QuotaFinding } from '../../standing/account-state.ts';
import { checksAfter, nextCheckOf, remainingOf } from '../rules/checks.ts';
import { type AccountRow, accountFrom, quotaFrom, standingFrom } from '../rules/rows.ts';
import type { StoredAccount } from '../store.ts';
import { lockAccount, saveStanding, type Transaction, updateAccount } from './transaction.ts';

/** How long an instance that claimed an account's check has it alone. */
const checkTakesMs = 5 * 60_000;

/** Applies what the provider answered about an account's quota. Null when the account is gone. */
export async function recordQuota(
  tx: Transaction,
  id: string,
  finding: QuotaFinding,
  cause: QuotaCause,
): Promise<{ readonly account: StoredAccount } | null> {
  const row = await lockAccount(tx, id);
  if (row === undefined) return null;
  const quota = finding.type === 'answer' ? quotaFrom(finding.answer, tx.now) : null;
  const known =
    quota === null
      ? row
      : await updateAccount(tx, id, {
          quota: JSON.stringify(quota),
          quota_remaining: remainingOf(quota),
          probe: 'proved',
        });
  const after = await saveStanding(tx, known, applyQuota(standingFrom(row), finding, cause, tx.now));
  const checks = checksAfter(after.checks, row.quota, quota);
  const nextCheckAt = nextCheckOf(id, standingFrom(after), after.probe, checks, tx.now);
  return { account: accountFrom(await updateAccount(tx, id, { next_check_at: nextCheckAt, checks })) };
}

/** Accounts whose quota check is due. Each is handed out once: its next check is moved on before the provider is asked. */
export async function claimQuotaChecks({ db, now }: Transaction, limit: number): Promise<StoredAccount[]> {
  const due = await db.all<AccountRow>(
    `SELECT * FROM accounts WHERE next_check_at IS NOT NULL AND next_check_at <= $1
     ORDER BY next_check_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
    now,
    limit,
  );
  await db.run(
    'UPDATE accounts SET next_check_at = $1, checks = checks + 1 WHERE id = ANY ($2)',
    now + checkTakesMs,
    due.map(({ id }) => id),
  );
  return due.map(accountFrom);
}
