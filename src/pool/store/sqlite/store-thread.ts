import { workerData } from 'node:worker_threads';
import { serveVerbs } from '../../../db/verbs.ts';
import { openSqliteStore } from './sqlite-store.ts';

/** The thread that owns the pool's SQLite file. */
const { path, now, command } = workerData as {
  readonly path: string;
  readonly now: number;
  readonly command: string;
};
serveVerbs(() => openSqliteStore(path, now, { auditsLeases: true }, command));
