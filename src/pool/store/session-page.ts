import type { SessionRow } from './rows.ts';
import type { SessionPage } from './store.ts';

/** What a session holds, with the session it belongs to. */
export interface HoldingRow {
  readonly session_id: string;
  readonly account_id: string;
  readonly email: string | null;
  readonly slots: number;
}

/** A page of at most `limit` sessions; `rows` may have one more, which says that more follow. */
export function sessionPage(
  rows: readonly SessionRow[],
  limit: number,
  total: number,
  holdings: readonly HoldingRow[],
): SessionPage {
  const page = rows.slice(0, limit);
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
    total,
    nextAfter: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
  };
}
