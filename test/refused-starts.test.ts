import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';

const bin = resolve(import.meta.dirname, '../bin/warp2api.js');

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-refused-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs the program to its end. */
async function run(words: readonly string[], environment: Record<string, string>) {
  const child = spawn(process.execPath, [bin, ...words], {
    env: { PATH: process.env['PATH'], PORT: '0', POOL_SERVICE_PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code, out, err };
}

test('a port that is taken is one plain message, and so in a log file', async () => {
  const folder = temporaryFolder();
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const { port } = other.address() as { port: number };
  const log = join(folder, 'service.log');
  const environment = { DATA_DIR: join(folder, 'data'), PORT: String(port), LOG_FILE: log };
  const message = `127.0.0.1:${port} is in use by another program: stop that program, or choose another PORT.`;
  expect(await run(['serve'], environment)).toEqual({ code: 1, out: '', err: `warp2api: ${message}\n` });
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  expect(JSON.parse(lines.at(-1) ?? '')).toEqual({ level: 'fatal', time: expect.any(String), msg: message });
});

test('an address that is not of this machine ends the program with one line', async () => {
  const folder = temporaryFolder();
  const environment = { DATA_DIR: folder, ADMIN_KEY: 'key-of-the-owner', POOL_SERVICE_HOST: 'fe80::1' };
  const { code, err } = await run(['serve', 'pool'], environment);
  const message =
    /^warp2api: fe80::1 is no address of this machine: set POOL_SERVICE_HOST to one that is\..*\n$/;
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(message) });
});

test('a DATA_DIR that is a file, and a certificate that cannot be written, end the program with one line', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  const data = await run(['serve'], { DATA_DIR: file });
  expect(data).toEqual({
    code: 1,
    out: '',
    err: `warp2api: ${file} is a file, and a folder is needed there.\n`,
  });
  const certificate = join(file, 'certificate.pem');
  const sandbox = await run(['sandbox', '--port', '0', '--certificate', certificate], {});
  expect(sandbox).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^warp2api: .* cannot be written \(ENOTDIR\): give .*\n$/),
  });
});

test.runIf(process.platform === 'linux')(
  'a command whose output cannot be written says so in one line',
  async () => {
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    const child = spawn(process.execPath, [bin, 'settings'], {
      cwd: temporaryFolder(),
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', full, 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [err, [code]] = await Promise.all([text(child.stderr ?? Readable.from([])), once(child, 'exit')]);
    expect({ code, err }).toEqual({
      code: 1,
      err: 'warp2api: The output cannot be written (ENOSPC): look whether its disk has space.\n',
    });
  },
);

test('a database of client keys that a newer release has changed ends the program with one line', async () => {
  const folder = temporaryFolder();
  const database = new DatabaseSync(join(folder, 'usage.db'));
  database.exec(`CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT, applied_at INTEGER);
    INSERT INTO schema_migrations VALUES (99, 'later', 0)`);
  database.close();
  const { code, err } = await run(['serve'], { DATA_DIR: folder, LOG_FILE: join(folder, 'service.log') });
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^warp2api: .* version 99, .*\n$/) });
});
