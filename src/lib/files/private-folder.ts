import { accessSync, chmodSync, constants, realpathSync, type Stats, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, relative } from 'node:path';

const byOthers = 0o077;

/**
 * Removes other users' access to a folder of secrets, if this user owns it. Returns what its owner has to do if that is not
 * possible, or not right: a folder that other programs use as well stays as it is.
 */
export function closeFolder(path: string, setting: string): string | undefined {
  const found = look(path);
  if (found === undefined || !isOpen(found)) return undefined;
  const shared = sharedPlace(realpathSync(path));
  if (shared !== undefined) {
    return `${setting} is ${path}, ${shared}, which other users may read: give ${setting} a folder of its own.`;
  }
  // A volume of Kubernetes belongs to root, and its group is what lets this user in.
  const isGroups = found.uid !== process.getuid?.() && isOpenToGroupAlone(found.mode);
  return isGroups || takeAway(path, found)
    ? undefined
    : `Other users may read ${path}: run chmod 700 ${path} as its owner.`;
}

/** Removes other users' access to a file, if this user owns it. `bits` are removed from its mode. */
export function closeFile(path: string, bits = byOthers): void {
  const found = look(path);
  if (found?.isFile() && isOpen(found)) takeAway(path, found, bits);
}

/** Whether other users may read or change what is there, as far as its own mode says. */
export function isOpenToOthers(path: string): boolean {
  const found = look(path);
  return found !== undefined && isOpen(found);
}

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

function look(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function isOpen({ mode }: Stats): boolean {
  return process.platform !== 'win32' && (mode & byOthers) !== 0;
}

function takeAway(path: string, { mode, uid }: Stats, bits = byOthers): boolean {
  if (uid !== process.getuid?.()) return false;
  try {
    chmodSync(path, mode & 0o777 & ~bits);
    return true;
  } catch {
    // A mount may be read-only, or know no modes.
    return false;
  }
}

/** What else a folder is used for: closing it would lock others out of their files. */
function sharedPlace(path: string): string | undefined {
  if (path === process.cwd()) return 'the working folder';
  if (path === homedir() || ['/home', '/Users'].includes(dirname(path))) return 'a home folder';
  if (isSystemPlace(path) || isAbove(path, process.cwd()) || isAbove(path, homedir())) {
    return 'a folder that other programs need';
  }
  return undefined;
}

const systemPlaces =
  /^\/(?:bin|boot|dev|etc|home|lib|lib64|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|Users|usr(?:\/(?:bin|include|lib|lib64|libexec|local|sbin|share|src))?|var(?:\/(?:backups|cache|lib|local|lock|log|mail|opt|run|spool|tmp|www))?)?$/;

function isSystemPlace(path: string): boolean {
  return systemPlaces.test(path);
}

function isAbove(path: string, other: string): boolean {
  const way = relative(path, other);
  return way !== '' && way !== '..' && !way.startsWith('../');
}
