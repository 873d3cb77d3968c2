import type { PostgresValue, Queries } from '../../db/postgres.ts';
import type { SessionRow } from './rows.ts';
import { type HoldingRow, sessionPage } from './session-page.ts';
import type { SessionPage, StoreVerbs } from './store.ts';

export async function sessions(
  db: Queries,
  now: number,
  { limit, after, accountId }: Parameters<StoreVerbs['sessions']>[1],
): Promise<SessionPage> {
  // Some that have expired may still be there.
  const live = 'expires_at > $1';
  const ofAccount = `${live} AND id IN (SELECT session_id FROM leases WHERE account_id = $2)`;
  const where = accountId === undefined ? live : ofAccount;
  const values: PostgresValue[] = accountId === undefined ? [now] : [now, accountId];
  const counted = await db.get<{ total: number }>(
    `SELECT COUNT(*) AS total FROM sessions WHERE ${where}`,
    ...values,
  );
  const rows = await db.all<SessionRow>(
    `SELECT * FROM sessions WHERE ${where} AND id > $${values.length + 1}
     ORDER BY id LIMIT $${values.length + 2}`,
    ...values,
    after ?? '',
    limit + 1,
  );
  const holdings = await db.all<HoldingRow>(
    `SELECT session_id, account_id, email, slots FROM leases JOIN accounts ON accounts.id = account_id
     WHERE session_id = ANY($1::text[]) ORDER BY leases.created_at, account_id`,
    rows.slice(0, limit).map(({ id }) => id),
  );
  return sessionPage(rows, limit, counted?.total ?? 0, holdings);
}
