import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errorCode } from '../errors.ts';

/**
 * Makes a folder and those above it, the new ones for their owner alone. Throws with a message that names the place at fault.
 * Node's own recursive way never returns where the system makes no folders, such as below /proc.
 */
export function makeFolder(path: string): void {
  const folder = resolve(path);
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found?.isDirectory()) return;
  if (found) throw new Error(`${folder} is a file, and a folder is needed there.`);
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    // Another process may have been quicker.
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
    const reason = errorCode(cause) ?? String(cause);
    throw new Error(
      `The folder ${folder} cannot be made (${reason}): make it, or choose a place this user may write to.`,
      { cause },
    );
  }
}
