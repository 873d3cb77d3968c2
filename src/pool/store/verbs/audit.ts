import type { Queries } from '../../../db/database.ts';
import type { AuditEntry } from '../store.ts';

export interface Written {
  readonly seq: number;
  readonly at: number;
}
type Row = Written & Omit<AuditEntry, 'detail'> & { readonly detail: string };

export async function writeAudit(db: Queries, now: number, entry: AuditEntry): Promise<void> {
  await db.run(
    'INSERT INTO audit (at, actor, action, account_id, detail) VALUES ($1, $2, $3, $4, $5)',
    now,
    entry.actor,
    entry.action,
    entry.accountId,
    JSON.stringify(entry.detail),
  );
}

/** The newest first; `before` is the `seq` of the last one seen. */
export async function auditTrail(
  db: Queries,
  query: {
    readonly limit: number;
    readonly before?: number | undefined;
    readonly accountId?: string | undefined;
  },
): Promise<readonly (Written & AuditEntry)[]> {
  const { before = Number.MAX_SAFE_INTEGER, limit, accountId } = query;
  const ofAccount = accountId === undefined ? '' : 'AND account_id = $3';
  const rows = await db.all<Row>(
    `SELECT seq, at, actor, action, account_id AS "accountId", detail FROM audit
     WHERE seq < $1 ${ofAccount} ORDER BY seq DESC LIMIT $2`,
    before,
    limit,
    ...(accountId === undefined ? [] : [accountId]),
  );
  return rows.map((row) => ({ ...row, detail: JSON.parse(row.detail) as Record<string, unknown> }));
}
