import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { startProcess } from './support/process.ts';
import { eventually } from './support/services.ts';

async function poolOverFolder(minPoolSize: number) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-drop-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const drop = join(folder, 'drop');
  mkdirSync(drop);
  writeFileSync(join(folder, 'warp2api.yaml'), 'sources: [{type: file, path: drop}]\n');
  const environment = {
    DATA_DIR: folder,
    POOL_SERVICE_PORT: '0',
    WARP_SERVER_URL: upstream.url,
    MIN_POOL_SIZE: String(minPoolSize),
    MAX_POOL_SIZE: '1000',
  };
  const start = () => startProcess(['serve', 'pool'], environment, folder);
  return { folder, drop, upstream, start };
}

const labels = async (url: string): Promise<string[]> => {
  const answer = await fetch(`${url}/api/accounts?limit=1000`);
  const { accounts } = (await answer.json()) as { accounts: { label: string }[] };
  return accounts.map((account) => account.label).sort();
};
const lines = (names: readonly string[]) =>
  names
    .map((label) => `${JSON.stringify({ provider: 'warp', api_key: `wk-${label}.abc`, label })}\n`)
    .join('');

test('a dropped file fills the pool within seconds, and a bad line does not keep the others out', async () => {
  const { drop, start } = await poolOverFolder(3);
  const pool = await start();
  writeFileSync(join(drop, 'team.jsonl'), `${lines(['a', 'b'])}no json wk-secret\n${lines(['c', 'd'])}`);
  await eventually('three accounts are in', async () => (await labels(pool.url)).length === 3);
  const answer = await fetch(`${pool.url}/api/accounts/replenish`, { method: 'POST', body: '{"count": 1}' });
  expect(await answer.json()).toMatchObject({ added: 1 });
  expect(await labels(pool.url)).toEqual(['a', 'b', 'c', 'd']);
  expect(readdirSync(drop).sort()).toEqual([
    'team.jsonl.rejected',
    expect.stringMatching(/^team\.jsonl\.taken-.*\.done$/),
    'team.jsonl.untaken',
  ]);
  expect(pool.output()).toMatch(/others on this machine may read this file/);
  expect(pool.output()).not.toMatch(/wk-secret|wk-a/);
});

test('a pool killed again and again while it takes a file loses no line and takes none twice', async () => {
  const { drop, upstream, start } = await poolOverFolder(0);
  const names = Array.from({ length: 60 }, (_, number) => `n${String(number).padStart(2, '0')}`);
  writeFileSync(join(drop, 'a.jsonl'), lines(names.slice(0, 30)), { mode: 0o600 });
  writeFileSync(join(drop, 'b.jsonl'), lines(names.slice(30)), { mode: 0o600 });
  await new Promise((resolve) => setTimeout(resolve, 2100));
  const asked = () => upstream.operations.length;
  const replenish = (url: string) =>
    fetch(`${url}/api/accounts/replenish`, { method: 'POST', body: '{"count": 100}' }).catch(() => undefined);

  // Before the first line is an account, and in the middle of either file.
  for (const more of [1, 8, 25]) {
    const pool = await start();
    const until = asked() + more;
    const broken = replenish(pool.url);
    await eventually('lines are being tried', () => asked() >= until);
    await pool.kill('SIGKILL');
    await broken;
  }
  const pool = await start();
  await replenish(pool.url);
  expect(await labels(pool.url)).toEqual(names);
  expect(readdirSync(drop).every((name) => name.endsWith('.done'))).toBe(true);
});
