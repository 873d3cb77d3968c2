import { workerData } from 'node:worker_threads';
import { serveVerbs } from '../../db/verbs.ts';
import { openSqliteVerbs } from './sqlite-verbs.ts';

/** The thread that owns the gateway's SQLite file of keys and usage. */
const { path, now, command } = workerData as {
  readonly path: string;
  readonly now: number;
  readonly command: string;
};
serveVerbs(() => openSqliteVerbs(path, now, command));
