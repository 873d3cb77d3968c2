import type { Queries } from '../../../db/database.ts';
import type { AuditEntry, StoreVerbs } from '../store.ts';

type Trail = Awaited<ReturnType<StoreVerbs['auditTrail']>>;
type Row = Omit<Trail[number], 'detail'> & { readonly detail: string };

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

/** The audit trail, the newest first. */
export async function auditTrail(
  db: Queries,
  { before = Number.MAX_SAFE_INTEGER, limit, accountId }: Parameters<StoreVerbs['auditTrail']>[0],
): Promise<Trail> {
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
