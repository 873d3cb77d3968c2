import { lendMarginMs } from '../account-state.ts';
import { candidateColumns, mostPassed } from './lease-rules.ts';
import type { LeaseDemand } from './store.ts';

/** How the account for a lease is found: by an index, in its order, over what others are at. */

/** Providers with a free account whose quota is spent: none of their free accounts may stand in for it. */
export const spentProviders = (now: string): string =>
  `SELECT provider FROM accounts WHERE free = 1 AND quota_spent = 1 AND state IN ('exhausted', 'cooldown')
     AND (state_until IS NULL OR state_until > ${now})`;

export interface ChoiceShape {
  readonly exclusive: boolean;
  readonly hasProvider: boolean;
  readonly count: number;
}

/** The values of every statement here begin with these. */
export function choiceValues(
  demand: LeaseDemand,
  provider: string | null,
  now: number,
  heldIds: readonly string[],
) {
  const { sessionId, model, exclude, owner, slots, prefer } = demand;
  return [
    sessionId,
    now,
    provider,
    model,
    [...exclude, ...heldIds],
    owner.isGateway ? 1 : 0,
    slots,
    prefer,
  ] as const;
}

/** Conditions on `accounts`: in the index, and fit for the demand. What comes first must match the index word by word. */
function conditions({ exclusive, hasProvider }: Omit<ChoiceShape, 'count'>) {
  const open = exclusive
    ? "state = 'active' AND holders = 0"
    : "state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0)";
  return {
    open: `${open} AND ${hasProvider ? 'accounts.provider = $3' : '$3::text IS NULL'}`,
    fit: `($4::text IS NULL OR models IS NULL OR jsonb_exists(models::jsonb, $4))
      AND accounts.id <> ALL ($5::text[])
      AND (lend = 'any' OR $6::integer = 1)
      AND (free = 0 OR accounts.provider NOT IN (${spentProviders('$2::bigint')}))
      AND (bearer_expires_at IS NULL OR bearer_expires_at > $2::bigint + ${lendMarginMs})
      AND ${exclusive ? '$7::integer >= 1' : 'capacity - shared_slots >= $7::integer'}`,
  };
}

/**
 * `pick`: the preferred account if it will do, then others until there are `count` of them. Locks them. `condition` may
 * refuse the whole choice. The count is written out, for the planner takes a tenth of the table for an unknown one.
 */
export function pickStatement(shape: ChoiceShape, condition = 'TRUE'): string {
  const { open, fit } = conditions(shape);
  const lock = 'FOR NO KEY UPDATE SKIP LOCKED';
  // Of one, no second is locked; of several, one too many does no harm for a moment.
  const isNeeded = shape.count === 1 ? 'NOT EXISTS (SELECT 1 FROM preferred)' : 'TRUE';
  return `preferred AS (
    SELECT id, tier, last_used FROM accounts WHERE id = $8 AND ${condition} AND ${open} AND ${fit} ${lock}
  ), others AS (
    SELECT id, tier, last_used FROM accounts
    WHERE ${isNeeded} AND ${condition} AND ${open} AND ${fit} AND ($8::text IS NULL OR id <> $8)
    ORDER BY tier, last_used, id LIMIT ${shape.count} ${lock}
  ), pick AS (
    (SELECT id FROM preferred UNION ALL (SELECT id FROM others ORDER BY tier, last_used, id)) LIMIT ${shape.count}
  )`;
}

/** After `pickStatement`: better placed accounts that would not do, as JSON; null where there are none. */
export function passedColumn(shape: ChoiceShape): string {
  const { open, fit } = conditions(shape);
  return `(SELECT json_agg(passed) FROM (
    SELECT ${candidateColumns
      .split(', ')
      .map((column) => `accounts.${column}`)
      .join(', ')}
    FROM accounts, (
      SELECT tier AS last_tier, last_used AS last_last_used, id AS last_id FROM others
      ORDER BY tier DESC, last_used DESC, id DESC LIMIT 1
    ) AS last
    WHERE ${open} AND NOT (${fit})
      AND (accounts.tier, accounts.last_used, accounts.id) < (last_tier, last_last_used, last_id)
    ORDER BY accounts.tier, accounts.last_used, accounts.id LIMIT ${mostPassed}
  ) AS passed) AS passed`;
}

/** Whether there are accounts that would do but were passed over because somebody is at them. */
export function openStatement(shape: ChoiceShape): string {
  const { open, fit } = conditions(shape);
  return `SELECT COUNT(*) AS accounts FROM (
    SELECT 1 FROM accounts WHERE ${open} AND ${fit} AND $1::text IS NOT NULL AND ($8::text IS NULL OR TRUE)
    LIMIT ${shape.count}
  ) AS open`;
}
