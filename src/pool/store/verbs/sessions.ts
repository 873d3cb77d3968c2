import type { Queries } from '../../../db/database.ts';
import type { SessionRow } from '../rules/rows.ts';

interface HoldingRow {
  readonly session_id: string;
  readonly account_id: string;
  readonly email: string | null;
  readonly slots: number;
}

/** Sessions by their id, after `after`; all, or those that hold an account. */
export async function sessions(
  db: Queries,
  now: number,
  query: {
    readonly limit: number;
    readonly after?: string | undefined;
    readonly accountId?: string | undefined;
  },
) {
  const { limit, after, accountId } = query;
  // Some that have expired may still be there.
  const live = 'expires_at > $1';
  const ofAccount = `${live} AND id IN (SELECT session_id FROM leases WHERE account_id = $2)`;
  const where = accountId === undefined ? live : ofAccount;
  const values = accountId === undefined ? [now] : [now, accountId];
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
  const page = rows.slice(0, limit);
  const holdings = await db.all<HoldingRow>(
    `SELECT session_id, account_id, email, slots FROM leases JOIN accounts ON accounts.id = account_id
     WHERE session_id = ANY ($1) ORDER BY leases.created_at, account_id`,
    page.map(({ id }) => id),
  );
  const bySession = Map.groupBy(holdings, (row) => row.session_id);
  return {
    sessions: page.map((row) => ({
      id: row.id,
      keyId: row.key_id,
      isGateway: row.is_gateway === 1,
      isExclusive: row.exclusive === 1,
      provider: row.provider,
      ttlMs: row.ttl_ms,
      expiresAt: row.expires_at,
      createdAt: row.created_at,
      leases: (bySession.get(row.id) ?? []).map((held) => ({
        accountId: held.account_id,
        email: held.email,
        slots: held.slots,
      })),
    })),
    total: counted?.total ?? 0,
    /** The id of the last one, where more follow. */
    nextAfter: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
  };
}
