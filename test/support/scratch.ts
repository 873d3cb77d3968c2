import { chmodSync, existsSync, globSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

const inMemory = '/dev/shm';
/** All that the tests hold at once, several times over. Containers often have 64 MB there. */
const neededBytes = 4 * 1024 ** 3;

/** Before the tests: what they write lies in memory where the system has enough for it. Waiting for the disk is a seventh of the run. */
export default function setup(): (() => void) | undefined {
  for (const left of globSync(join(inMemory, 'w2a-*'))) {
    // A run that was killed could not clear up.
    if (!existsSync(`/proc/${left.split('-')[1]}`)) rmSync(left, { recursive: true, force: true });
  }
  if (freeBytes(inMemory) < neededBytes) return;
  const folder = mkdtempSync(join(inMemory, `w2a-${process.pid}-`));
  // PostgreSQL runs as another user.
  chmodSync(folder, 0o755);
  // The tests' processes inherit it.
  process.env['TMPDIR'] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}

function freeBytes(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    // There is none on this system.
    return 0;
  }
}
