import { openPostgresStore } from '../postgres/postgres-store.ts';
import { emptyDatabase, freshDatabase } from '../testing/postgres-database.ts';
import { describeRefreshes } from './store.contract.refresh.ts';
import { describeStore } from './store.contract.ts';

const url = await freshDatabase();

for (const describeContract of [describeStore, describeRefreshes]) {
  describeContract('a PostgreSQL store', async () => {
    await emptyDatabase(url);
    return openPostgresStore(url, { auditsLeases: true });
  });
}
