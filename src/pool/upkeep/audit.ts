import { givenFields } from '../../core/null-fields.ts';
import { type AuditAnswer, auditQuery } from '../../pool-api/schema.ts';
import { parse } from '../base/parse.ts';
import { isoTime } from '../base/present.ts';
import type { Store } from '../store/store.ts';

/** The trail of changes and forced actions, for the pool's owner: the newest first, page by page. Throws PoolError. */
export async function auditTrail(store: Store, query: unknown): Promise<AuditAnswer> {
  const { limit, before, account_id: accountId } = parse(auditQuery, givenFields(query));
  const entries = await store.auditTrail({
    limit,
    ...(before === undefined ? {} : { before }),
    ...(accountId === undefined ? {} : { accountId }),
  });
  const last = entries.at(-1);
  return {
    success: true,
    entries: entries.map((entry) => ({
      seq: entry.seq,
      at: isoTime(entry.at),
      actor: entry.actor,
      action: entry.action,
      account_id: entry.accountId,
      detail: { ...entry.detail },
    })),
    next_before: entries.length < limit || last === undefined ? null : last.seq,
  };
}
