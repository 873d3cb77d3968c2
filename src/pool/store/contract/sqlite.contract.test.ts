import { join } from 'node:path';
import { systemClock } from '../../../lib/clock.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { openMemoryStore, openStore } from '../open-store.ts';
import { describeRefreshes } from './store.contract.refresh.ts';
import { describeStore } from './store.contract.ts';

for (const describeContract of [describeStore, describeRefreshes]) {
  describeContract('a SQLite store in memory', async () => openMemoryStore(0, { auditsLeases: true }));

  describeContract(
    'a SQLite store in a file, on its own thread',
    () =>
      openStore(`sqlite:${join(temporaryFolder(), 'accounts.db')}`, {
        clock: systemClock,
        onLost: (error) => {
          throw error;
        },
      }),
    // Each starts a thread. Its rules are those of the store in memory, which the many runs are for.
    10,
  );
}
