import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { closeFile, closeFolder, isOpenToOthers, makeFolder, makeSecretFile } from './files.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'warp2api-files-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const modeOf = (path: string): number => statSync(path).mode & 0o777;

it('takes a folder away from others, also through a link, and says nothing of one that is missing or closed', () => {
  const folder = join(root, 'data');
  expect(closeFolder(folder, 'DATA_DIR')).toBeUndefined();
  mkdirSync(folder);
  const link = join(root, 'link');
  symlinkSync(folder, link);
  for (const [way, mode] of [
    [folder, 0o777],
    [folder, 0o750],
    [link, 0o705],
  ] as const) {
    chmodSync(folder, mode);
    expect(closeFolder(way, 'DATA_DIR')).toBeUndefined();
    expect(modeOf(folder)).toBe(0o700);
  }
});

it.each([process.cwd(), join(process.cwd(), '..'), homedir(), '/', '/usr', '/usr/lib', '/tmp', '/var/log'])(
  'leaves %s as it is, and says what to do',
  (folder) => {
    if (!isOpenToOthers(folder)) return;
    const before = modeOf(folder);
    expect(closeFolder(folder, 'DATA_DIR')).toMatch(
      /other users may read: give DATA_DIR a folder of its own/,
    );
    expect(modeOf(folder)).toBe(before);
  },
);

it('has nothing to say of another user’s folder that only its group may use, and leaves it as it is', () => {
  vi.spyOn(process, 'getuid').mockReturnValue(statSync(root).uid + 1);
  onTestFinished(() => void vi.restoreAllMocks());
  for (const [mode, advice] of [
    [0o770, undefined],
    [0o775, expect.stringContaining('as its owner')],
  ] as const) {
    chmodSync(root, mode);
    expect(closeFolder(root, 'DATA_DIR')).toEqual(advice);
    expect(modeOf(root)).toBe(mode);
  }
});

it('takes a file away from others, or only some of its mode', () => {
  const file = join(root, 'file');
  writeFileSync(file, '');
  chmodSync(file, 0o664);
  closeFile(file, 0o007);
  expect(modeOf(file)).toBe(0o660);
  closeFile(file);
  expect(modeOf(file)).toBe(0o600);
  closeFile(join(root, 'missing'));
});

it('makes a folder and those above it for their owner alone, and finds it there the next time', () => {
  const folder = join(root, 'a', 'b');
  makeFolder(folder);
  for (const made of [folder, join(root, 'a')]) expect(statSync(made).mode & 0o777).toBe(0o700);
  makeFolder(folder);
});

it('says which place is a file', () => {
  writeFileSync(join(root, 'file'), '');
  expect(() => makeFolder(join(root, 'file', 'below'))).toThrow(`${join(root, 'file')} is a file`);
});

it('says which folder cannot be made, and comes back from places where none can be', () => {
  symlinkSync(join(root, 'nowhere', 'else'), join(root, 'dangling'));
  expect(() => makeFolder(join(root, 'dangling'), 'DATA_DIR')).toThrow(
    `${join(root, 'dangling')} cannot be made (EEXIST): make it, or set DATA_DIR to a place this user may write to.`,
  );
  if (existsSync('/proc/self')) {
    expect(() => makeFolder('/proc/warp2api/data')).toThrow(
      'The folder /proc/warp2api cannot be made (ENOENT)',
    );
  }
});

it('makes a file of a secret whole, and leaves the one that is there', () => {
  const file = join(root, 'key');
  makeSecretFile(file, 'first');
  expect(() => makeSecretFile(file, 'second')).toThrow(expect.objectContaining({ code: 'EEXIST' }));
  expect([readFileSync(file, 'utf8'), readdirSync(root)]).toEqual(['first', ['key']]);
  if (process.platform !== 'win32') expect(modeOf(file)).toBe(0o600);
});

// Windows and macOS have no way to take a process its disk.
it.skipIf(process.platform !== 'linux')('makes none on a disk that takes nothing', () => {
  const module = JSON.stringify(join(import.meta.dirname, 'files.ts'));
  const file = JSON.stringify(join(root, 'key'));
  const program = `const { makeSecretFile } = await import(${module});
    try { makeSecretFile(${file}, 'text'); } catch (error) { process.exit(error.code === 'EFBIG' ? 7 : 8); }`;
  const words = ['--fsize=0', process.execPath, '--input-type=module', '--eval', program];
  // What Node would keep of its compiled code is a file, too.
  const env = { PATH: process.env['PATH'], NODE_DISABLE_COMPILE_CACHE: '1' };
  expect(spawnSync('prlimit', words, { env }).status).toBe(7);
  expect(readdirSync(root)).toEqual([]);
});
