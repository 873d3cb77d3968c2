import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeFolder } from './make-folder.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'warp2api-folder-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

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
  expect(() => makeFolder(join(root, 'dangling'))).toThrow(
    `${join(root, 'dangling')} cannot be made (EEXIST)`,
  );
  if (existsSync('/proc/self')) {
    expect(() => makeFolder('/proc/warp2api/data')).toThrow(
      'The folder /proc/warp2api cannot be made (ENOENT)',
    );
  }
});
