import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { PostgresServer } from '../../../db/testing/postgres-server.ts';

/** Before the tests: a socket at which they get the PostgreSQL server that they share. It starts when the first one asks. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-tests-'));
  const path = join(folder, 'postgres.sock');
  let server: Promise<PostgresServer> | undefined;
  const start = async (): Promise<PostgresServer> =>
    (await import('./template-database.ts')).startSharedServer();
  const socket = createServer(async (connection) => {
    // A worker that dies while it waits is the run's to report.
    connection.on('error', () => {});
    server ??= start();
    connection.end(await server.then(({ url }) => url('postgres'), String));
  });
  await new Promise<void>((resolve, reject) => socket.once('error', reject).listen(path, resolve));
  project.provide('postgresSocket', path);
  return async () => {
    socket.close();
    rmSync(folder, { recursive: true });
    await (await server)?.dispose();
  };
}
