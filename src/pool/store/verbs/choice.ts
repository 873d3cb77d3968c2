import type { Queries } from '../../../db/database.ts';
import { lendMarginMs } from '../../standing/standing.ts';
import { type CandidateRow, candidateColumns, mostPassed, type Need, passedOver } from '../rules/leasing.ts';
import { type AccountRow, asJson } from '../rules/rows.ts';
import type { LeaseDemand, Skip } from '../store.ts';

/** How the account for a lease is found: by an index, in its order, past what other transactions have locked. */

/** Providers with a free account whose quota is spent: none of their free accounts may replace it. */
export const spentProviders = (now: string): string =>
  `SELECT provider FROM accounts /* INDEXED BY accounts_free_spent */
     WHERE free = 1 AND quota_spent = 1 AND state IN ('exhausted', 'cooldown')
     AND (state_until IS NULL OR state_until > ${now})`;

export interface ChoiceShape {
  readonly exclusive: boolean;
  readonly hasProvider: boolean;
  readonly hasPreferred: boolean;
  readonly count: number;
}

/** Where a picked account stood before, and whether one that stood before it would not do. */
export interface PickedRow {
  readonly id: string;
  readonly tier: number;
  readonly picked_at: number;
  readonly passes: number | null;
}

/** The values of every statement here begin with these. */
export function choiceValues(
  demand: LeaseDemand,
  provider: string | null,
  now: number,
  heldIds: readonly string[],
) {
  const { sessionId, model, exclude, owner, slots, prefer, labels } = demand;
  return [
    sessionId,
    now,
    provider,
    model,
    [...exclude, ...heldIds],
    owner.isGateway ? 1 : 0,
    slots,
    prefer,
    asJson(labels),
  ] as const;
}

const order = 'tier, last_used, id';

/** Conditions on `accounts`: in the index, and fit for the demand. What comes first must match the index word by word. */
function conditions({ exclusive, hasProvider, hasPreferred }: ChoiceShape) {
  const open = exclusive
    ? "state = 'active' AND holders = 0"
    : "state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0)";
  const index = `accounts_${exclusive ? 'unheld' : 'shareable'}${hasProvider ? '_by_provider' : ''}`;
  return {
    accounts: `accounts /* INDEXED BY ${index} */`,
    open: `${open} AND ${hasProvider ? 'provider = $3' : 'capacity >= 1 AND $3::text IS NULL'}`,
    fit: `($4::text IS NULL OR models IS NULL OR jsonb_exists(models::jsonb, $4))
      AND ($9::text IS NULL OR jsonb_exists($9::jsonb, label))
      AND id <> ALL ($5::text[])
      AND (lend = 'any' OR $6::integer = 1)
      AND (free = 0 OR provider NOT IN (${spentProviders('$2::bigint')}))
      AND (bearer_expires_at IS NULL OR bearer_expires_at > $2::bigint + ${lendMarginMs})
      AND ${exclusive ? '$7::integer >= 1' : 'capacity - shared_slots >= $7::integer'}
      AND $1::text IS NOT NULL ${hasPreferred ? '' : 'AND $8::text IS NULL'}`,
  };
}

/**
 * `pick`: the preferred account if it will do, then others until there are `count` of them. Locks them. `condition` may
 * refuse the whole choice. The count is written out, for the planner takes a tenth of the table for an unknown one.
 */
export function pickStatement(shape: ChoiceShape, condition = 'TRUE'): string {
  const { accounts, open, fit } = conditions(shape);
  const { count, hasPreferred } = shape;
  const lock = 'FOR NO KEY UPDATE SKIP LOCKED';
  const inOrder = (extra: string): string =>
    `SELECT id, tier, last_used FROM ${accounts} WHERE ${condition} AND ${open} AND ${fit} ${extra}
     ORDER BY ${order} LIMIT ${count} ${lock}`;
  if (!hasPreferred) return `pick AS (${inOrder('')})`;
  // Of one, no second is locked; of several, one too many does no harm for a moment.
  const isNeeded = count === 1 ? 'AND NOT EXISTS (SELECT 1 FROM preferred)' : '';
  return `preferred AS (
    SELECT id, tier, last_used FROM accounts WHERE id = $8 AND ${condition} AND ${open} AND ${fit} ${lock}
  ), others AS (${inOrder(`AND id <> $8 ${isNeeded}`)}), pick AS (
    SELECT id, tier, last_used FROM (
      SELECT 0 AS place, id, tier, last_used FROM preferred
      UNION ALL SELECT 1 AS place, id, tier, last_used FROM others
    ) AS found ORDER BY place, ${order} LIMIT ${count}
  )`;
}

/** Columns beside `pick`'s: where the account stood, and whether the first of all would not do. */
export function placeColumns(shape: ChoiceShape): string {
  const { accounts, open, fit } = conditions(shape);
  return `pick.last_used AS picked_at,
    (SELECT CASE WHEN ${fit} THEN 0 ELSE 1 END FROM ${accounts} WHERE ${open} ORDER BY ${order} LIMIT 1) AS passes`;
}

/** Picks and locks accounts, and answers where they stood. */
export const choiceStatement = (shape: ChoiceShape): string =>
  `WITH ${pickStatement(shape)} SELECT pick.id, pick.tier, ${placeColumns(shape)} FROM pick`;

/** The first accounts in the order of choice, whether they would do or not. */
export function firstStatement(shape: ChoiceShape): string {
  const { accounts, open } = conditions(shape);
  return `SELECT ${candidateColumns}, tier, last_used FROM ${accounts}
    WHERE ${open.replace('$3', '$1')} ORDER BY ${order} LIMIT ${3 * mostPassed}`;
}

/** Whether there are accounts that would do but were passed over because they are locked. */
export function openStatement(shape: ChoiceShape): string {
  const { open, fit } = conditions(shape);
  return `SELECT COUNT(*) AS accounts FROM (
    SELECT 1 FROM accounts WHERE ${open} AND ${fit} ${shape.hasPreferred ? 'AND ($8::text IS NULL OR TRUE)' : ''}
    ORDER BY ${order} LIMIT ${shape.count}
  ) AS open`;
}

const written = new Map<string, string>();

/** The statement of a shape, put together once. */
export function statementOf(shape: ChoiceShape, write: (shape: ChoiceShape) => string): string {
  const key = `${write.name} ${shape.exclusive} ${shape.hasProvider} ${shape.hasPreferred} ${shape.count}`;
  let statement = written.get(key);
  if (statement === undefined) {
    statement = write(shape);
    written.set(key, statement);
  }
  return statement;
}

export async function providersWithSpentFreeQuota(db: Queries, now: number): Promise<ReadonlySet<string>> {
  const rows = await db.all<{ provider: string }>(spentProviders('$1'), now);
  return new Set(rows.map((row) => row.provider));
}

/** Better placed accounts that would not do. Asked only where there are any. */
export async function skipsOf(
  db: Queries,
  now: number,
  { question, heldIds }: Need,
  shape: ChoiceShape,
  picked: readonly PickedRow[],
): Promise<Skip[]> {
  const { prefer } = question.demand;
  const passes = picked[0]?.passes === 1;
  if (!passes && prefer === null) return [];
  const chosen = new Set(picked.map(({ id }) => id));
  const isPreferredPassed =
    prefer !== null && picked.length > 0 && !chosen.has(prefer) && !heldIds.has(prefer);
  if (!isPreferredPassed && !passes) return [];
  const preferred = isPreferredPassed
    ? await db.all<CandidateRow>(`SELECT ${candidateColumns} FROM accounts WHERE id = $1`, prefer)
    : [];
  const first = passes
    ? await db.all<CandidateRow & Pick<AccountRow, 'tier' | 'last_used'>>(
        firstStatement(shape),
        question.provider,
      )
    : [];
  const better = first.filter(
    (row) =>
      row.id !== prefer &&
      !heldIds.has(row.id) &&
      !chosen.has(row.id) &&
      picked.some((one) => isBefore([row.tier, row.last_used, row.id], [one.tier, one.picked_at, one.id])),
  );
  const spent = await providersWithSpentFreeQuota(db, now);
  return passedOver([...preferred, ...better], { ...question, spent });
}

function isBefore(one: readonly [number, number, string], other: readonly [number, number, string]): boolean {
  const at = one.findIndex((value, index) => value !== other[index]);
  const [mine, theirs] = [one[at], other[at]];
  return mine !== undefined && theirs !== undefined && mine < theirs;
}
