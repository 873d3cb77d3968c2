import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { childEnvironment, startProcess } from './support/process.ts';
import { eventually } from './support/services.ts';

/** A folder to work in, and the program under a umask that takes nothing away. */
async function workplace() {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-modes-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const entry = join(folder, 'openly.mjs');
  const main = resolve(import.meta.dirname, '../src/main.ts');
  writeFileSync(entry, `process.umask(0);\nawait import(${JSON.stringify(main)});\n`);
  const environment: Record<string, string> = {
    PORT: '0',
    POOL_SERVICE_PORT: String(await findFreePort()),
    WARP_SERVER_URL: upstream.url,
    SHUTDOWN_SECONDS: '0',
    DATA_DIR: 'own/data',
    LOG_FILE: 'own/logs/service.log',
  };
  // Not synchronously: the sandbox of this process has to answer.
  const command = async (...words: string[]): Promise<string> => {
    const env = { ...childEnvironment, ...environment };
    const child = spawn(process.execPath, [entry, ...words], { cwd: folder, env });
    return (await text(child.stdout)) + (await text(child.stderr));
  };
  return { folder, entry, environment, command };
}

/** What lies below a folder, and how open it is to others. */
function openIn(folder: string): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return ['.', ...all].flatMap((name) => {
    // It may have been removed meanwhile.
    const mode = statSync(join(folder, name), { throwIfNoEntry: false })?.mode ?? 0;
    return (mode & 0o007) === 0 && (name.includes('logs') || (mode & 0o077) === 0)
      ? []
      : [`${name} ${(mode & 0o777).toString(8)}`];
  });
}

const serve = async (mode: string, { entry, environment, folder }: Awaited<ReturnType<typeof workplace>>) => {
  // The log goes to a file, so that a service tells where it listens by answering.
  const { LOG_FILE: _, ...plain } = environment;
  const service = await startProcess(['serve', mode], plain, folder, entry);
  await eventually('it answers', async () => (await fetch(`${service.url}/health`)).ok);
  await service.kill('SIGTERM');
};

test.each<[string, (place: Awaited<ReturnType<typeof workplace>>) => unknown]>([
  ['a pool', (place) => serve('pool', place)],
  ['a gateway', (place) => serve('gateway', place)],
  ['a command', async ({ command }) => expect(await command('account', 'list')).toMatch(/account/)],
  [
    'doctor',
    async ({ command }) => expect(await command('doctor')).toMatch(/ok.*private files|private files.*ok/),
  ],
])('what %s makes is its owner’s alone, and a folder that was open is closed', async (_who, run) => {
  const place = await workplace();
  await run(place);
  expect(openIn(join(place.folder, 'own'))).toEqual([]);
  const data = join(place.folder, 'own', 'data');
  for (const name of readdirSync(data).filter((name) => name.endsWith('.db')))
    chmodSync(join(data, name), 0o666);
  chmodSync(data, 0o777);
  await run(place);
  expect(openIn(join(place.folder, 'own'))).toEqual([]);
});

test('a data folder that is the working folder stays as it is, and what is in it is closed', async () => {
  const place = await workplace();
  chmodSync(place.folder, 0o755);
  place.environment['DATA_DIR'] = '.';
  const found = await place.command('doctor');
  expect(found).toMatch(
    /DATA_DIR is .*, the working folder, which other users may read: give DATA_DIR a folder/,
  );
  expect(statSync(place.folder).mode & 0o777).toBe(0o755);
  expect(statSync(join(place.folder, 'accounts.db')).mode & 0o777).toBe(0o600);
  expect(statSync(join(place.folder, 'master.key')).mode & 0o777).toBe(0o600);
});

test('a file that is no database keeps its mode when DATABASE_URL names it', async () => {
  const place = await workplace();
  const file = join(place.folder, 'passwd');
  writeFileSync(file, 'root:x:0:0:root:/root:/bin/sh\n');
  chmodSync(file, 0o644);
  place.environment['DATABASE_URL'] = `sqlite:${file}`;
  expect(await place.command('status')).toMatch(/cannot be used: file is not a database/);
  expect(statSync(file).mode & 0o777).toBe(0o644);
});

test('doctor names files of secrets that others may read', async () => {
  const place = await workplace();
  place.environment['DATA_DIR'] = '.';
  chmodSync(place.folder, 0o755);
  mkdirSync(join(place.folder, 'logs'));
  writeFileSync(join(place.folder, 'logs', 'warp2api.log'), '');
  chmodSync(join(place.folder, 'logs'), 0o755);
  chmodSync(join(place.folder, 'logs', 'warp2api.log'), 0o644);
  expect(await place.command('doctor')).toMatch(
    /other users may read 1 files; run: chmod go-rwx \S*warp2api\.log/,
  );
});
