import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { openSqlite } from '../../db/sqlite.ts';
import { SqliteDatabase } from '../../db/sqlite-database.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { gatewayMigrations } from '../database/gateway-verbs.ts';
import { keyVerbs } from './key-verbs.ts';
import { type AskedKey, ManagedKeys } from './managed-keys.ts';

it('says that the disk is full and which file has no room, and works on once there is space', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-keys-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'usage.db');
  const sqlite = openSqlite(path, gatewayMigrations('sqlite'), 0);
  onTestFinished(() => sqlite.close());
  const verbs = keyVerbs(new SqliteDatabase(sqlite));
  const keys = new ManagedKeys({
    database: { isShared: false, ask: (question) => question(verbs) },
    running: { endOf: () => {} },
    clock: systemClock,
    logger: createLogger('INFO', { write: () => {} }),
  });
  const asked: AskedKey = {
    name: 'ci',
    owner: null,
    models: ['x'.repeat(100_000)],
    providers: null,
    labels: null,
    limits: { budgets: [] },
    expiresAt: null,
  };
  const pages = sqlite.get<{ page_count: number }>('PRAGMA page_count')?.page_count;
  sqlite.get(`PRAGMA max_page_count = ${pages}`);
  const error = await keys.create(asked).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'storage_unavailable', status: 503 });
  expect(String(error)).toContain(path);
  expect(String(error)).toMatch(/disk is full.*Look whether its disk has space/);
  sqlite.get('PRAGMA max_page_count = 1000000');
  expect(await keys.create(asked)).toMatchObject({ key: { name: 'ci' } });
});
