import { workerData } from 'node:worker_threads';
import { serveVerbs, type Verbs } from '../../db/verbs.ts';
import { openSqliteEntries } from './sqlite-entries.ts';

/** The thread that owns the keep's SQLite file. */
const { path, now, maxBytes, command } = workerData as {
  readonly path: string;
  readonly now: number;
  readonly maxBytes: number;
  readonly command: string;
};
serveVerbs(() => openSqliteEntries(path, now, maxBytes, command) as SqliteVerbs);

type SqliteVerbs = ReturnType<typeof openSqliteEntries> & Verbs;
