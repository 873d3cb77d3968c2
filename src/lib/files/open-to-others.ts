import { accessSync, constants, statSync } from 'node:fs';

/** As Kubernetes leaves what is in a volume with `fsGroup`, each time that a pod starts. */
export function isOpenToGroupAlone(mode: number): boolean {
  return (mode & 0o070) !== 0 && (mode & 0o007) === 0;
}

/**
 * Whether other users may read or change a file of secrets. `fixed`: they may, but this user could not change that, as
 * where a container gets its secrets: the mount is read-only, or the file is another user's or has no write permission.
 */
export function opennessOf(path: string): 'closed' | 'open' | 'fixed' {
  const { mode } = statSync(path);
  if (process.platform === 'win32' || (mode & 0o077) === 0) return 'closed';
  if ((mode & 0o222) === 0) return 'fixed';
  try {
    accessSync(path, constants.W_OK);
    return 'open';
  } catch {
    return 'fixed';
  }
}
