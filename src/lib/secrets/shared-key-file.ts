import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from '../errors.ts';
import { isOpenToGroupAlone, makeFolder, makeSecretFile } from '../files.ts';

/** The file holds no usable key; the message says what its owner has to do. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
}

/**
 * A key that the processes of one user on one machine share through a file, which the first of them makes. The file is
 * complete or does not exist, and is never overwritten. Throws KeyFileError for a key that others may know or that is damaged.
 * Undefined where this user can neither read nor make the file.
 */
export function sharedKey(path: string): string | undefined {
  const present = readSharedKey(path);
  if (present !== undefined) return present;
  try {
    makeFolder(dirname(path));
    makeSecretFile(path, `${randomBytes(32).toString('hex')}\n`);
  } catch {
    // Another process was faster, or this one may not write here: what can be read below decides.
  }
  return readSharedKey(path);
}

/** The key in an existing file. Throws KeyFileError. */
export function readSharedKey(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | noFollow | constants.O_NONBLOCK);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ELOOP' || code === 'EMLINK') throw unsafe(path, 'is a symbolic link');
    return undefined;
  }
  try {
    let found = fstatSync(file);
    if (!found.isFile()) throw unsafe(path, 'is not a plain file');
    if (process.getuid !== undefined && found.uid !== process.getuid()) {
      throw new KeyFileError(
        `${path} belongs to another user: run the services as one user, or set the same GATEWAY_KEY for all of them.`,
      );
    }
    if (process.platform !== 'win32' && isOpenToGroupAlone(found.mode)) {
      fchmodSync(file, found.mode & 0o700);
      found = fstatSync(file);
    }
    if (process.platform !== 'win32' && (found.mode & 0o077) !== 0) {
      throw unsafe(path, 'is readable by others, who may know its key by now');
    }
    const key = found.size > mostBytes ? '' : readFileSync(file, 'latin1');
    if (!/^[0-9a-f]{64}\n$/.test(key)) throw unsafe(path, 'holds no complete key');
    return key.trim();
  } finally {
    closeSync(file);
  }
}

const mostBytes = 1024;
const noFollow = constants.O_NOFOLLOW ?? 0;

function unsafe(path: string, fault: string): KeyFileError {
  return new KeyFileError(
    `${path} ${fault}: stop the services, delete it and start them again, which makes a new one; or set GATEWAY_KEY.`,
  );
}
