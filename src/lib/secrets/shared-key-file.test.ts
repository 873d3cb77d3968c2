import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, expect, it } from 'vitest';
import { KeyFileError, readSharedKey, sharedKey } from './shared-key-file.ts';

let path = '';
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), 'warp2api-key-')), 'data', 'gateway.key');
});

it('makes a key that only its owner can read, and finds it again', () => {
  expect(readSharedKey(path)).toBeUndefined();
  const key = sharedKey(path);
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  expect([sharedKey(path), readSharedKey(path)]).toEqual([key, key]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(path, '..'))).toEqual(['gateway.key']);
});

it('gives all processes that start together one key, under any umask', async () => {
  const module = JSON.stringify(join(import.meta.dirname, 'shared-key-file.ts'));
  const program = `process.umask(0); console.log((await import(${module})).sharedKey(${JSON.stringify(path)}))`;
  const run = promisify(execFile);
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => run(process.execPath, ['--input-type=module', '-e', program])),
  );
  expect([...new Set(answers.map(({ stdout }) => stdout.trim()))]).toEqual([sharedKey(path)]);
  expect([statSync(path).mode & 0o777, statSync(join(path, '..')).mode & 0o777]).toEqual([0o600, 0o700]);
});

it.each<[string, () => void, RegExp]>([
  ['open to others', () => chmodSync(path, 0o644), /gateway\.key is readable by others.*delete it/],
  ['empty', () => truncateSync(path), /holds no complete key.*delete it/],
  ['cut off', () => truncateSync(path, 40), /holds no complete key/],
  ['without its last character', () => truncateSync(path, 64), /holds no complete key/],
  ['larger', () => writeFileSync(path, 'a'.repeat(100_000)), /holds no complete key/],
])('refuses a file that is %s, and leaves it as it is', (_name, damage, message) => {
  sharedKey(path);
  damage();
  const before = readFileSync(path);
  expect(() => sharedKey(path)).toThrow(KeyFileError);
  expect(() => sharedKey(path)).toThrow(message);
  expect(readFileSync(path)).toEqual(before);
});

it.each([0o660, 0o640])('closes a file of mode %o, as volumes of Kubernetes leave it', (mode) => {
  const key = sharedKey(path);
  chmodSync(path, mode);
  expect(sharedKey(path)).toBe(key);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it('follows no link and reads no folder', () => {
  sharedKey(path);
  const link = `${path}.link`;
  symlinkSync(path, link);
  expect(() => sharedKey(link)).toThrow(/is a symbolic link/);
  const dangling = `${path}.dangling`;
  symlinkSync('/nowhere/at/all', dangling);
  expect(() => sharedKey(dangling)).toThrow(/is a symbolic link/);
  const folder = `${path}.folder`;
  mkdirSync(folder, { mode: 0o700 });
  expect(() => sharedKey(folder)).toThrow(/is not a plain file/);
});

it('answers nothing where no file can be made', () => {
  expect(sharedKey('/proc/nowhere/gateway.key')).toBeUndefined();
  expect(existsSync('/proc/nowhere')).toBe(false);
});
