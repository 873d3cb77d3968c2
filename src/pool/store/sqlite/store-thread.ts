import { workerData } from 'node:worker_threads';
import { openSqlite } from '../../../db/sqlite.ts';
import { withCopies } from '../../../db/sqlite-copies.ts';
import { serveVerbs } from '../../../db/verbs.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';
import { migrations } from './sqlite-store.ts';

/** The thread that owns the pool's SQLite file. */
const { path, now, command } = workerData as {
  readonly path: string;
  readonly now: number;
  readonly command: string;
};
serveVerbs(() =>
  withCopies(path, openSqlite(path, migrations, now, { command, reserves: true }), (db) =>
    storeVerbs(db, { auditsLeases: true }),
  ),
);
