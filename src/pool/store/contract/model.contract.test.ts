import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { systemClock } from '../../../lib/clock.ts';
import { openMemoryStore, openStore } from '../open-store.ts';
import { openPostgresStore } from '../postgres/postgres-store.ts';
import type { Store } from '../store.ts';
import { emptyDatabase, freshDatabase } from '../testing/postgres-database.ts';
import { describeModel } from './store.contract.model.ts';

describeModel(
  'a SQLite store in memory',
  {
    open: async () => openMemoryStore(0, { auditsLeases: true }),
    // Its memory is all it has.
    reopen: async (store) => store,
  },
  100,
);

const folder = mkdtempSync(join(tmpdir(), 'warp2api-model-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const openFile = (): Promise<Store> =>
  openStore(`sqlite:${join(folder, `${files}.db`)}`, {
    clock: systemClock,
    onLost: (error) => {
      throw error;
    },
  });
describeModel(
  'a SQLite store in a file',
  {
    open() {
      files += 1;
      return openFile();
    },
    async reopen(store) {
      await store.close();
      return openFile();
    },
  },
  15,
);

const url = await freshDatabase();
const openPostgres = (): Promise<Store> => openPostgresStore(url, { auditsLeases: true });
describeModel(
  'a PostgreSQL store',
  {
    async open() {
      await emptyDatabase(url);
      return openPostgres();
    },
    async reopen(store) {
      await store.close();
      return openPostgres();
    },
  },
  25,
);
