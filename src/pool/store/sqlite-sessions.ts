import type { SessionRow } from './rows.ts';
import { type HoldingRow, sessionPage } from './session-page.ts';
import { reap, type Work } from './sqlite-work.ts';
import type { SessionPage, StoreVerbs } from './store.ts';

export function sessions(
  work: Work,
  { limit, after, accountId }: Parameters<StoreVerbs['sessions']>[1],
): SessionPage {
  reap(work);
  const { db } = work;
  const ofAccount = 'id IN (SELECT session_id FROM leases WHERE account_id = ?)';
  const where = accountId === undefined ? 'TRUE' : ofAccount;
  const values = accountId === undefined ? [] : [accountId];
  const counted = db.get<{ total: number }>(
    `SELECT COUNT(*) AS total FROM sessions WHERE ${where}`,
    ...values,
  );
  const rows = db.all<SessionRow>(
    `SELECT * FROM sessions WHERE ${where} AND id > ? ORDER BY id LIMIT ?`,
    ...values,
    after ?? '',
    limit + 1,
  );
  const holdings = db.all<HoldingRow>(
    `SELECT session_id, account_id, email, slots FROM leases JOIN accounts ON accounts.id = account_id
     WHERE session_id IN (SELECT value FROM json_each(?)) ORDER BY leases.created_at, account_id`,
    JSON.stringify(rows.slice(0, limit).map(({ id }) => id)),
  );
  return sessionPage(rows, limit, counted?.total ?? 0, holdings);
}
