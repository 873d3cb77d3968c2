import { isUtf8 } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, relative, resolve } from 'node:path';
import { errorCode } from './errors.ts';

/**
 * Makes a folder and those above it, the new ones for their owner alone. Throws with a message that names the place at fault, and
 * the setting that would name another.
 * Node's own recursive way never returns where the system makes no folders, such as below /proc.
 */
export function makeFolder(path: string, setting?: string): void {
  const folder = resolve(path);
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found?.isDirectory()) return;
  if (found) throw new Error(`${folder} is a file, and a folder is needed there.`);
  makeFolder(dirname(folder), setting);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    // Another process may have been quicker.
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
    const reason = errorCode(cause) ?? String(cause);
    const elsewhere = setting === undefined ? 'choose' : `set ${setting} to`;
    throw new Error(
      `The folder ${folder} cannot be made (${reason}): make it, or ${elsewhere} a place this user may write to.`,
      { cause },
    );
  }
}

/**
 * Makes a file of a secret, its owner's alone, that is there whole or not at all, whatever ends the process or fills the disk
 * meanwhile, and that survives a power cut once its folder is synced. Throws with code EEXIST where there is one: it stays as it is.
 */
export function makeSecretFile(path: string, text: string): void {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const options = { mode: 0o600, flag: 'wx', flush: true } as const;
  try {
    writeFileSync(draft, text, options);
    try {
      linkSync(draft, path);
    } catch (error) {
      // Some file systems have no hard links. A file that is cut off here is refused when it is read.
      if (errorCode(error) === 'EEXIST') throw error;
      writeFileSync(path, text, options);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

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

/** Text files as editors write them: in UTF-8, or in UTF-16 with a byte order mark, as some on Windows do. */

/** The text without its byte order mark. Bytes that are not valid become U+FFFD. */
export function decodeText(bytes: Uint8Array): string {
  return new TextDecoder(charsetOf(bytes)).decode(bytes);
}

/** A text file, whole. Throws when it cannot be read, or is neither UTF-8 nor UTF-16 with a byte order mark. */
export function readTextFile(path: string): string {
  const bytes = readFileSync(path);
  if (charsetOf(bytes) === 'utf-8' && !isUtf8(bytes))
    throw new Error('it is not valid UTF-8: save it as UTF-8');
  return decodeText(bytes);
}

function charsetOf([first, second]: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  return first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
}

/** Makes what was written to a file survive a power cut. */
export function syncFile(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes a rename or a new file in this file's folder durable. */
export function syncFolder(path: string): void {
  // Windows opens no folders, and needs none of this.
  if (process.platform === 'win32') return;
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
