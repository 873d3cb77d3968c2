/**
 * Both services on a disk that fills up and gets room again: `node torture/full-disk.ts FOLDER`, where FOLDER is a small
 * file system of its own (`mount -t tmpfs -o size=6m tmpfs FOLDER`). Prints what `/health` says before, during and after, what
 * calls are answered, and fails where an account is lost, the process ends or a turn is not answered.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startSandbox } from '../sandbox/index.ts';

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('Usage: node torture/full-disk.ts FOLDER');
const { blocks, bsize } = statfsSync(folder);
// It is filled to the last byte, and so would be the disk of this machine.
if (blocks * bsize > 1024 ** 3)
  throw new Error(`${folder} is no small file system: mount one of a few megabytes there.`);
const [gatewayPort, poolPort] = [18_918, 18_919];
const [gateway, pool] = [`http://127.0.0.1:${gatewayPort}`, `http://127.0.0.1:${poolPort}`];
const upstream = await startSandbox();
const service = spawn(process.execPath, [join(import.meta.dirname, '..', 'src', 'main.ts'), 'serve'], {
  env: {
    PATH: process.env['PATH'],
    PORT: String(gatewayPort),
    POOL_SERVICE_PORT: String(poolPort),
    DATA_DIR: folder,
    LOG_FILE: join(folder, 'service.log'),
    LOG_MAX_MB: '1',
    LOG_KEEP: '1',
    KEEP_MAX_MB: '1',
    WARP_SERVER_URL: upstream.url,
  },
  stdio: ['ignore', 'inherit', 'inherit'],
});
let hasEnded = false;
service.once('exit', () => (hasEnded = true));

async function call(url: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

const faults: string[] = [];
let turns = 0;
async function turn(when: string): Promise<void> {
  turns += 1;
  const messages = [{ role: 'user', content: `Turn ${turns}` }];
  const { status, body } = await call(`${gateway}/v1/chat/completions`, { model: 'auto', messages });
  console.log(when, 'turn', status, status === 200 ? '' : JSON.stringify(body));
  if (status !== 200) faults.push(`${when}: a turn was answered ${status}`);
}

async function add(when: string, key: string): Promise<number> {
  const { status, body } = await call(`${pool}/api/accounts`, { provider: 'warp', api_key: key });
  console.log(when, 'add', status, status === 201 ? '' : JSON.stringify(body));
  return status;
}

async function health(when: string): Promise<void> {
  for (const [name, url] of Object.entries({ gateway, pool })) {
    const { status, body } = await call(`${url}/health`);
    console.log(when, name, status, JSON.stringify(body));
  }
}

async function count(): Promise<number> {
  const { body } = await call(`${pool}/api/accounts`);
  return (body['accounts'] as unknown[]).length;
}

const filler = join(folder, 'filler');
function fill(): void {
  const fd = openSync(filler, 'a');
  try {
    for (let size = 65_536; size >= 1; size = size === 1 ? 0 : Math.floor(size / 8)) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(size, 1));
      } catch {
        // Smaller pieces may still have room.
      }
    }
  } finally {
    closeSync(fd);
  }
}

try {
  for (let tries = 0; tries < 100; tries += 1) {
    await wait(200);
    if (await call(`${gateway}/health`).catch(() => undefined)) break;
  }
  for (const name of ['a', 'b', 'c']) await add('before', `wk-1.${name}`);
  await turn('before');
  await wait(500);
  await health('before');
  fill();
  let added = 3;
  for (let round = 0; round < 8; round += 1) {
    await turn('full');
    if ((await add('full', `wk-1.full${round}`)) === 201) added += 1;
    fill();
  }
  await wait(7_000);
  await health('full');
  // Leases of the gateway end after 120 seconds unless they are renewed.
  for (let round = 0; round < 14; round += 1) {
    await wait(10_000);
    await turn('full');
  }
  await health('full');
  if (hasEnded) faults.push('the process ended');
  rmSync(filler);
  await wait(12_000);
  await turn('after');
  await wait(500);
  await health('after');
  if ((await add('after', 'wk-1.after')) === 201) added += 1;
  if ((await count()) !== added) faults.push(`${added} accounts were added, ${await count()} are there`);
} finally {
  rmSync(filler, { force: true });
  service.kill('SIGTERM');
  await upstream.close();
}
console.log(faults.length === 0 ? 'no fault' : faults.join('\n'));
process.exitCode = faults.length === 0 ? 0 : 1;
