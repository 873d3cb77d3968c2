import { openPostgresStore } from './postgres.ts';
import { describeRefreshes } from './store.contract.refresh.ts';
import { describeStore } from './store.contract.ts';
import { emptyDatabase, freshDatabase } from './testing/postgres-database.ts';

const url = await freshDatabase();

for (const describeContract of [describeStore, describeRefreshes]) {
  describeContract('a PostgreSQL store', async () => {
    await emptyDatabase(url);
    return openPostgresStore(url, { auditsLeases: true });
  });
}
