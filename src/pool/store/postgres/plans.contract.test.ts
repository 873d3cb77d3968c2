import { expect, it, onTestFinished } from 'vitest';
import { openPostgres, type Postgres } from '../../../db/postgres.ts';
import { testDemand } from '../../testing/test-pool.ts';
import { freshDatabase } from '../testing/postgres-database.ts';
import { type ChoiceShape, choiceValues, firstStatement } from '../verbs/choice.ts';
import { isDueQuery } from '../verbs/housekeeping.ts';
import { planning } from './postgres-store.ts';
import { endStatement, takeStatement } from './shortcuts.ts';

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

async function openLarge(accounts: number): Promise<Postgres> {
  const db = await openPostgres(await freshDatabase(), { connections: 1, settings: planning });
  onTestFinished(() => db.close());
  await db.writing.script(
    `INSERT INTO accounts (id, provider, capacity, free, lend, tier, state, streaks, state_since, probe, source,
      credential_kind, credential, credential_fingerprint, credential_hint, created_at, updated_at)
     SELECT 'acc_' || n, 'warp', 16, 0, 'any', 0, 'active', '{}', 0, 'proved', 'api', 'api_key', 'sealed', 'f' || n, '', 0, 0
     FROM generate_series(1, ${accounts}) AS n`,
  );
  await db.writing.script('ANALYZE');
  return db;
}

/** What a statement reads of the tables when it runs as the service runs it: with a plan for any values. */
async function run(db: Postgres, sql: string, values: readonly unknown[]) {
  await db.writing.script('SET plan_cache_mode = force_generic_plan');
  const row = await db.writing.get<{ 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }>(
    `EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`,
    ...(values as Parameters<Postgres['writing']['get']>[1][]),
  );
  const nodes: PlanNode[] = [];
  const walk = (node: PlanNode): void => {
    nodes.push(node);
    for (const child of node.Plans ?? []) walk(child);
  };
  for (const { Plan } of row?.['QUERY PLAN'] ?? []) walk(Plan);
  const scans = nodes.filter((node) => node['Node Type'].endsWith('Scan') && 'Relation Name' in node);
  expect(nodes.length).toBeGreaterThan(1);
  expect(nodes.map((node) => node['Node Type'])).not.toContain('Seq Scan');
  return {
    indexes: new Set(scans.map((node) => node['Index Name'])),
    rowsRead: scans.reduce(
      (sum, node) =>
        sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'],
      0,
    ),
  };
}

const shapes = [true, false].flatMap((exclusive) =>
  [true, false].flatMap((hasProvider) =>
    [true, false].map((hasPreferred): ChoiceShape => ({ exclusive, hasProvider, hasPreferred, count: 1 })),
  ),
);

it('an allocation reads a handful of rows by its index, of 20,000 accounts as of 20', async () => {
  const large = await openLarge(20_000);
  const small = await openLarge(20);
  for (const [number, shape] of shapes.entries()) {
    const { exclusive, hasProvider, hasPreferred } = shape;
    const demand = testDemand(`s-${number}`, { exclusive, prefer: hasPreferred ? 'gone' : null });
    const values = [
      ...choiceValues(demand, hasProvider ? 'warp' : null, 5, []),
      ...['key', true, 60_000, 60_005],
    ];
    const { indexes, rowsRead } = await run(large, takeStatement(shape), values);
    const index = `accounts_${exclusive ? 'unheld' : 'shareable'}${hasProvider ? '_by_provider' : ''}`;
    expect(indexes).toContain(index);
    expect(rowsRead).toBeLessThan(12);
    expect((await run(small, takeStatement(shape), values)).rowsRead).toBe(rowsRead);

    const first = await run(large, firstStatement(shape), [hasProvider ? 'warp' : null]);
    expect(first.indexes).toEqual(new Set([index]));
    expect(first.rowsRead).toBeLessThanOrEqual(60);
    expect((await run(large, endStatement, [`s-${number}`, 6, null])).rowsRead).toBeLessThan(12);
  }
});

it('a look for what is over reads no row that is not', async () => {
  const db = await openLarge(20_000);
  expect((await run(db, isDueQuery, [5])).rowsRead).toBe(0);
});
