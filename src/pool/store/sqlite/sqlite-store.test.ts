import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { openSqlite } from '../../../db/sqlite.ts';
import { SqliteDatabase } from '../../../db/sqlite-database.ts';
import { systemClock } from '../../../lib/clock.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import { openStore } from '../open-store.ts';
import { choiceStatement, choiceValues } from '../verbs/choice.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';
import { migrations, openSqliteStore } from './sqlite-store.ts';

const options = { clock: systemClock, onLost: () => {} };

describe('the SQLite file', () => {
  it('is held by one process, and a second opener is told at once by which', async () => {
    const path = join(temporaryFolder(), 'accounts.db');
    const store = await openStore(`sqlite:${path}`, options);
    const second = openStore(path, options);
    await expect(second).rejects.toMatchObject({ code: 'database_in_use' });
    await expect(second).rejects.toThrow(`process ${process.pid}`);
    await store.close();
    expect(existsSync(`${path}.holder`)).toBe(false);
    await (await openStore(path, options)).close();
  });

  it('says that its disk is full, changes nothing, and works on once there is space', () => {
    const path = join(temporaryFolder(), 'accounts.db');
    const database = openSqlite(path, migrations, 0);
    database.run('CREATE TABLE filler (text TEXT)');
    const pages = database.get<{ page_count: number }>('PRAGMA page_count')?.page_count ?? 0;
    const fill = () =>
      database.transaction(() => database.run('INSERT INTO filler VALUES (?)', 'x'.repeat(100_000)));
    database.get(`PRAGMA max_page_count = ${pages + 1}`);
    expect(fill).toThrow(
      expect.objectContaining({
        code: 'database_unusable',
        message: expect.stringContaining('disk has space'),
      }),
    );
    database.get('PRAGMA max_page_count = 1000000');
    expect(database.get('SELECT count(*) AS count FROM filler')).toEqual({ count: 0 });
    fill();
    database.close();
  });

  it('is refused when a newer release has migrated it', async () => {
    const path = join(temporaryFolder(), 'accounts.db');
    await openSqliteStore(path, 0, { auditsLeases: true }).close();
    const database = new DatabaseSync(path);
    database.exec("INSERT INTO schema_migrations VALUES (99, 'from the future', 0)");
    database.close();
    expect(() => openSqliteStore(path, 0, { auditsLeases: true })).toThrow(/version 99/);
  });

  it('is refused, and left as it is, when it is of before the first step that this release knows', () => {
    const path = join(temporaryFolder(), 'accounts.db');
    const first = { version: 1, name: 'accounts, sessions, leases', sql: 'CREATE TABLE meta (name TEXT)' };
    openSqlite(path, [first], 0).close();
    expect(() => openSqliteStore(path, 0, { auditsLeases: true })).toThrow(
      expect.objectContaining({
        code: 'database_unusable',
        message: expect.stringMatching(/version 1, .* 3 on/),
      }),
    );
    const left = openSqlite(path, [first], 0);
    expect(left.all("SELECT name FROM sqlite_master WHERE name IN ('meta', 'accounts')")).toEqual([
      { name: 'meta' },
    ]);
    left.close();
  });

  it('keeps standings, leases and counters over a restart', async () => {
    const path = join(temporaryFolder(), 'accounts.db');
    const first = openSqliteStore(path, 0, { auditsLeases: true });
    await first.addAccount(0, testAccount('acc_1'), 'test');
    await first.addAccount(0, testAccount('acc_2'), 'test');
    await first.ensureLeases(0, testDemand('mine'));
    const signal = { outcome: 'rate_limited' as const, tokenVersion: 1, retryAfterMs: 50_000 };
    const usage = { turns: 1, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0 };
    const turn = { reportId: 'r', accountId: 'acc_1', fence: 1, signal, usage };
    await first.report(0, { sessionId: 'mine', keyId: 'key-1', turns: [turn] });
    const before = [await first.stats(1), await first.account(1, 'acc_1')];
    await first.close();
    const second = openSqliteStore(path, 0, { auditsLeases: true });
    expect([await second.stats(1), await second.account(1, 'acc_1')]).toEqual(before);
    await second.close();
  });

  it('loses no account and keeps no lease for ever when its process is killed at any moment', async () => {
    const path = join(temporaryFolder(), 'accounts.db');
    for (let round = 0; round < 4; round += 1) {
      const child = fork(new URL('../testing/hammer.ts', import.meta.url), [path, String(round)], {
        execArgv: [],
      });
      let added: string[] = [];
      child.on('message', (ids: string[]) => {
        added = ids;
      });
      while (added.length < 5 + round * 7) await once(child, 'message');
      child.kill('SIGKILL');
      await once(child, 'exit');
      const db = openSqlite(path, migrations, Date.now());
      expect(db.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
      const store = storeVerbs(new SqliteDatabase(db), { auditsLeases: true });
      for (const id of added) expect(await store.account(Date.now(), id)).not.toBeNull();
      const later = Date.now() + 3_600_000;
      const stats = await store.stats(later);
      expect(stats).toMatchObject({ inUse: 0, sessions: 0 });
      expect(stats.total).toBe((await store.accounts(later, { limit: 1000 })).total);
      expect(stats.available).toBe(stats.total);
      await store.close();
    }
  });
});

describe('the choice of an account', () => {
  it('reads an index in its order and never the whole pool', async () => {
    const db = new SqliteDatabase(openSqlite(':memory:', migrations, 0));
    for (const [exclusive, hasProvider, hasPreferred] of [0, 1, 2, 3, 4, 5, 6, 7].map(bits)) {
      const statement = choiceStatement({ exclusive, hasProvider, hasPreferred, count: 2 });
      const demand = testDemand('s', { exclusive, prefer: hasPreferred ? 'acc' : null });
      const rows = await db.reading.all<{ detail: string }>(
        `EXPLAIN QUERY PLAN ${statement}`,
        ...choiceValues(demand, hasProvider ? 'warp' : null, 0, []),
      );
      const plan = rows.map(({ detail }) => detail).join('\n');
      const index = `accounts_${exclusive ? 'unheld' : 'shareable'}${hasProvider ? '_by_provider' : ''}`;
      expect(plan).toMatch(new RegExp(`accounts USING (COVERING )?INDEX ${index}\\b`));
      // Only the few that were found are sorted, the preferred one first.
      expect(plan.match(/TEMP B-TREE/g) ?? []).toHaveLength(hasPreferred ? 1 : 0);
      expect(plan).not.toMatch(/SCAN accounts(?! USING (COVERING )?INDEX)/);
    }
    await db.close();
  });
});

function bits(number: number): readonly [boolean, boolean, boolean] {
  return [(number & 1) > 0, (number & 2) > 0, (number & 4) > 0];
}
