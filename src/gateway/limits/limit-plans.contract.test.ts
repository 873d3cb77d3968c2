import { expect, it } from 'vitest';
import type { Database } from '../../db/database.ts';
import { bothDatabases, opened } from '../usage/testing/ledger-databases.ts';
import { limitVerbs } from './limit-verbs.ts';

const slices = Array.from({ length: 2_000 }, (_, n) => ({
  keyId: `key_${n}`,
  name: 'requests 60',
  endsAt: null,
  isBudget: false,
  limit: 10,
  spent: 0,
  unknown: 0,
  keeps: 0,
  reserved: 0,
  needs: 1,
  isBusy: false,
}));

it.each(bothDatabases)('limits are looked up by key and name, in %s', async (_name, open) => {
  const { db } = await opened(open);
  await limitVerbs(db).exchangeLimits('one', slices);
  await db.writing.run('ANALYZE');
  const explain = open === bothDatabases[0][1] ? 'EXPLAIN QUERY PLAN' : 'EXPLAIN';
  const plans: string[] = [];
  const explained: Database = {
    isShared: db.isShared,
    reading: db.reading,
    writing: db.writing,
    transaction: (task) =>
      db.transaction((queries) =>
        task({
          ...queries,
          all: async (sql, ...values) => {
            plans.push(JSON.stringify(await queries.all(`${explain} ${sql}`, ...values)));
            return queries.all(sql, ...values);
          },
        }),
      ),
    close: () => db.close(),
  };
  await limitVerbs(explained).exchangeLimits('one', slices.slice(0, 20));
  expect(plans).toHaveLength(2);
  expect(plans[0]).toMatch(
    /key_limits_pkey.*key_id = \W*asked.*name = \W*asked|SEARCH used .*key_id=\? AND name=\?/,
  );
});
