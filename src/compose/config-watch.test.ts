import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
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
  // The first look finds nothing.
  await setTimeout(500);
  writeFileSync(file, 'aliases: {}');
  await vi.waitFor(() =>
    expect(warn).toHaveBeenCalledWith({ file }, expect.stringContaining('counts after a restart')),
  );
});
