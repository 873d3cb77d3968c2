import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { lookForNewFile } from './config-watch.ts';

it('a configuration file that is made after the start is said to need a restart', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-watch-'));
  const file = join(folder, 'warp2api.yaml');
  const warn = vi.fn();
  const stop = lookForNewFile(file, { warn });
  onTestFinished(() => {
    stop();
    rmSync(folder, { recursive: true });
  });
  // Again and again: where the first look finds it, what counts is that it changes.
  let text = 'aliases: {}';
  await vi.waitFor(
    () => {
      writeFileSync(file, text);
      text += ' ';
      expect(warn).toHaveBeenCalledWith({ file }, expect.stringContaining('counts after a restart'));
    },
    { interval: 300 },
  );
});
