import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openPostgresStore } from '../store/postgres/postgres-store.ts';
import { emptyDatabase, freshDatabase } from '../store/testing/postgres-database.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { startTestPool } from '../testing/test-pool.ts';
import { FileSource } from './import-file.ts';

const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;
const url = await freshDatabase();

/** Pools as several machines run them: each with its own connections, over one database and one folder. */
async function instancesOver(folder: string, count: number, maxPoolSize: number) {
  await emptyDatabase(url);
  return Promise.all(
    Array.from({ length: count }, async () => {
      const store = await openPostgresStore(url, { auditsLeases: true });
      return startTestPool(
        { minPoolSize: 0, maxPoolSize },
        {
          store,
          sources: (tools) => [new FileSource({ type: 'file', name: 'drop', path: folder }, tools)],
        },
      );
    }),
  );
}

describe('several instances on one PostgreSQL database', () => {
  it.each([7, 20, 60])(
    'never bring in more than %i accounts together, and no line twice',
    async (maxPoolSize) => {
      const folder = temporaryFolder();
      const instances = await instancesOver(folder, 3, maxPoolSize);
      for (const name of ['a', 'b', 'c']) {
        const path = join(folder, `${name}.jsonl`);
        const lines = Array.from({ length: 15 }, (_, number) => {
          const label = `${name}${number}`;
          return JSON.stringify({ provider: 'warp', api_key: `wk-${label}`, label });
        });
        writeFileSync(path, lines.join('\n'), { mode: 0o600 });
        utimesSync(path, 0, 0.001);
      }
      const answers = await Promise.all(
        instances.flatMap(({ pool }) => [
          pool.replenish(owner, { count: 5 }),
          pool.replenish(owner, { count: 30 }),
        ]),
      );
      const [first] = instances;
      const inPool = async () => (await first?.pool.list({ limit: 1000 }))?.accounts ?? [];
      const added = answers.reduce((sum, answer) => sum + answer.added, 0);
      expect(await inPool()).toHaveLength(added);
      expect(added).toBeLessThanOrEqual(maxPoolSize);
      expect(answers.filter(({ failed }) => failed > 0)).toEqual([]);

      // What others had promised and not used is there again, and their files are read on by whoever comes.
      await first?.pool.replenish(owner, { count: 100 });
      const labels = (await inPool()).map((account) => account.label);
      expect(new Set(labels).size).toBe(labels.length);
      expect(labels).toHaveLength(Math.min(maxPoolSize, 45));
      if (maxPoolSize >= 45) {
        expect(readdirSync(folder).every((name) => name.endsWith('.done'))).toBe(true);
        expect(await first?.store.rememberedUnder('taking:')).toEqual([]);
      }
      for (const { pool } of instances) await pool.close();
    },
  );
});
