import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { openSqlite } from '../../db/sqlite.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { GatewayDatabase } from './gateway-database.ts';
import { gatewayMigrations } from './gateway-verbs.ts';

let folder: string;
let file: string;
let log: string;
let clock: ManualClock;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-gateway-database-'));
  file = join(folder, 'usage.db');
  onTestFinished(() => rmSync(folder, { recursive: true }));
  log = '';
  clock = createManualClock();
});

async function open(): Promise<GatewayDatabase> {
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const logger = createLogger('INFO', destination);
  const database = await GatewayDatabase.open({ url: `sqlite:${file}`, clock, logger });
  onTestFinished(() => database.close());
  return database;
}

it('starts without a file that another process holds, says so once, and opens it when it is free', async () => {
  const holder = openSqlite(file, gatewayMigrations('sqlite'), 0, { command: 'the other gateway' });
  const database = await open();
  expect(database.isReachable).toBe(false);
  await expect(database.ask(async () => 'answered')).rejects.toMatchObject({ code: 'database_unreachable' });
  await clock.advance(11_000);
  expect(log.match(/the other gateway/g)).toHaveLength(1);

  holder.close();
  await clock.advance(5_000);
  await expect.poll(() => database.isReachable).toBe(true);
  expect(await database.ask(async () => 'answered')).toBe('answered');
  expect(log).toContain('can be used again');
});

it('refuses to start on a file of a newer release', async () => {
  const later = gatewayMigrations('sqlite').length + 1;
  const migrations = [
    ...gatewayMigrations('sqlite'),
    { version: later, name: 'later', sql: 'CREATE TABLE later (id)' },
  ];
  openSqlite(file, migrations, 0).close();
  await expect(open()).rejects.toMatchObject({ code: 'database_too_new' });
});
