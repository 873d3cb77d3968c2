import { workerData } from 'node:worker_threads';
import { openSqlite } from '../../db/sqlite.ts';
import { withCopies } from '../../db/sqlite-copies.ts';
import { serveVerbs } from '../../db/verbs.ts';
import { gatewayMigrations, gatewayVerbs } from './gateway-verbs.ts';

/** The thread that owns the gateway's SQLite file of keys and usage. */
const { path, now, command } = workerData as {
  readonly path: string;
  readonly now: number;
  readonly command: string;
};
serveVerbs(() =>
  withCopies(path, openSqlite(path, gatewayMigrations('sqlite'), now, { command }), gatewayVerbs),
);
