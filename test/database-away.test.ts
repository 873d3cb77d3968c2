import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { startPostgresServer } from '../src/db/testing/postgres-server.ts';
import { childEnvironment, type ServiceProcess, startProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

/** What an answer said. */
async function ask(service: ServiceProcess, path: string, body?: unknown) {
  const answer = await fetch(`${service.url}${path}`, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
  const said = (await answer.json()) as Record<string, never>;
  return {
    status: answer.status,
    retryAfter: Number(answer.headers.get('retry-after')),
    said,
  };
}

const turn = (service: ServiceProcess, content: string) =>
  ask(service, '/v1/chat/completions', userTurn('auto', content));

function folderForTest(): string {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-away-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A command, with what it wrote. It blocks this thread: nothing else is to be answered meanwhile. */
function command(words: readonly string[], environment: Record<string, string>, folder: string) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [resolve(import.meta.dirname, '../src/main.ts'), ...words],
    { cwd: folder, env: { ...childEnvironment, ...environment }, encoding: 'utf8', timeout: 60_000 },
  );
  return { code: status, output: stdout + stderr };
}

test('a frozen PostgreSQL fails what needs it within seconds, nothing else, and is forgotten once it is back', async () => {
  const database = await startPostgresServer();
  onTestFinished(() => database.dispose());
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment = (folder: string): Record<string, string> => ({
    DATA_DIR: folder,
    MASTER_KEY: 'a'.repeat(64),
    WARP_SERVER_URL: upstream.url,
    DATABASE_URL: database.url('postgres').replace('postgres@', 'postgres:hunter2@'),
    KEEP_URL: database.url('postgres'),
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    SHUTDOWN_SECONDS: '1',
  });
  const [warmFolder, coldFolder] = [folderForTest(), folderForTest()];
  const warm = await startProcess(
    ['serve'],
    { ...environment(warmFolder), WARP_API_KEY: 'wk-1.abc' },
    warmFolder,
  );
  const cold = await startProcess(
    ['serve', 'gateway'],
    { ...environment(coldFolder), USE_POOL_SERVICE: 'false' },
    coldFolder,
  );
  expect(await turn(warm, 'Hello')).toMatchObject({ status: 200 });
  const stored = (await ask(warm, '/v1/responses', { model: 'auto', input: 'Hello' })).said;
  await eventually(
    'it is stored',
    async () => (await ask(warm, `/v1/responses/${stored['id']}`)).status === 200,
  );

  database.freeze();
  // Who holds an account goes on, and resends what the gateway remembered.
  const messages = [
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'What was said' },
    { role: 'user', content: 'And then?' },
  ];
  expect(await ask(warm, '/v1/chat/completions', { model: 'auto', messages })).toMatchObject({ status: 200 });
  // Who holds none hears so, after the time that a restart may take.
  const unavailable = { status: 503, said: { error: { code: 'pool_unavailable' } } };
  const first = await turn(cold, 'Hello');
  expect(first).toMatchObject(unavailable);
  expect(first.retryAfter).toBeGreaterThan(0);
  await eventually('both say so', async () => {
    const healths = await Promise.all([ask(warm, '/health'), ask(cold, '/health')]);
    return healths.every(({ said }) => {
      const { pool, keep } = said as unknown as Record<'pool' | 'keep', { reachable: boolean }>;
      return !pool.reachable && !keep.reachable;
    });
  });
  expect(await turn(cold, 'Hello')).toMatchObject(unavailable);
  expect(await turn(warm, 'Again')).toMatchObject({ status: 200 });
  const kept = await ask(warm, `/v1/responses/${stored['id']}`);
  expect(kept).toMatchObject({ status: 503, said: { error: { code: 'storage_unavailable' } } });
  expect(kept.retryAfter).toBeGreaterThan(0);

  const listed = command(['account', 'list'], environment(warmFolder), warmFolder);
  expect(listed).toMatchObject({
    code: 1,
    output: expect.stringMatching(/database postgres at .*cannot be reached.*DATABASE_URL/),
  });
  const looked = command(['doctor'], environment(warmFolder), warmFolder);
  expect(looked).toMatchObject({
    code: 1,
    output: expect.stringMatching(/PROBLEM +database .*cannot be reached/),
  });
  const started = command(['serve', 'pool'], environment(folderForTest()), warmFolder);
  expect(started).toMatchObject({
    code: 1,
    output: expect.stringContaining('Cannot open the database postgres at'),
  });
  for (const { output } of [listed, looked, started]) expect(output).not.toMatch(/stop (it|every)|hunter2/);
  expect(await cold.kill('SIGTERM')).toBe(0);

  database.thaw();
  await eventually(
    'all is well again, without any call',
    async () => (await ask(warm, '/health')).said['status'] === 'ok',
  );
  expect(await ask(warm, `/v1/responses/${stored['id']}`)).toMatchObject({ status: 200 });
  await eventually('the reports of the outage have arrived', async () => {
    const poolUrl = /"url":"([^"]+)"[^\n]*the account pool listens/.exec(warm.output())?.[1];
    const text = await (await fetch(`${poolUrl}/metrics`)).text();
    const applied = /^warp2api_pool_reports_total\{.*"applied"\} (\d+)$/m.exec(text)?.[1];
    return Number(applied) === upstream.turns.length;
  });
  expect(warm.output().match(/cannot be reached/g)?.length).toBeLessThan(6);
  expect(await warm.kill('SIGTERM')).toBe(0);
});
