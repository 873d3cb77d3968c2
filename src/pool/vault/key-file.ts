import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import { makeFolder } from '../../lib/files/make-folder.ts';
import { closeFile, isOpenToGroupAlone, opennessOf } from '../../lib/files/private-folder.ts';
import { decodeText } from '../../lib/files/read-text.ts';
import { syncFolder } from '../../lib/files/sync.ts';
import { VaultError } from './vault.ts';

/** The master key outside the program: 32 bytes as text, in the environment or in a file that only its owner can read. */

/** Reads a key file; `onNotice` gets what its owner should know. Throws VaultError. */
export function readKeyFile(path: string, onNotice: (message: string) => void = () => {}): Uint8Array {
  let text: string;
  let openness: ReturnType<typeof opennessOf>;
  try {
    if (opennessOf(path) === 'open' && isOpenToGroupAlone(statSync(path).mode)) {
      closeFile(path);
      if (opennessOf(path) === 'closed')
        onNotice(`The master key file ${path} was open to its group, and is its owner's alone now.`);
    }
    openness = opennessOf(path);
    text = decodeText(readFileSync(path));
  } catch (error) {
    const advice = adviceOn(error, path);
    throw new VaultError(`The master key file ${path} cannot be read: ${errorMessage(error)}.${advice}`, {
      cause: error,
    });
  }
  if (openness === 'open') {
    throw new VaultError(`The master key file ${path} is open to others; run: chmod 600 ${path}`);
  }
  if (openness === 'fixed') {
    onNotice(
      `Every user who reaches ${path} may read the master key: mount it with mode 0400 where you can.`,
    );
  }
  return parseKey(text, path);
}

/** Writes a key to a new file, so that it survives a power cut once this returns. Throws VaultError. */
export function writeKeyFile(path: string, key: Uint8Array): void {
  try {
    makeFolder(dirname(path));
    writeFileSync(path, `${Buffer.from(key).toString('hex')}\n`, { mode: 0o600, flag: 'wx', flush: true });
    syncFolder(path);
  } catch (error) {
    throw new VaultError(`The master key file ${path} cannot be written: ${errorMessage(error)}.`, {
      cause: error,
    });
  }
}

export function newKey(): Uint8Array {
  return randomBytes(32);
}

/** 64 hex digits, or base64 of 32 bytes. Throws VaultError, naming where it came from. */
export function parseKey(text: string, source: string): Uint8Array {
  const key = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(key)) return Buffer.from(key, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(key)) {
    const bytes = Buffer.from(key, 'base64');
    if (bytes.length === 32) return bytes;
  }
  throw new VaultError(`${source} does not hold a key: 32 bytes as 64 hex digits or base64 are needed.`);
}

/** Where a rotation puts the key that is to come. */
export const nextKeyFile = (path: string): string => `${path}.next`;

function adviceOn(error: unknown, path: string): string {
  const code = errorCode(error);
  if (code === 'ENOENT') {
    return ` Put the key there, or make a first one: (umask 077; openssl rand -hex 32 > ${path})`;
  }
  return code === 'EACCES' ? ' Give it to the user that runs this.' : '';
}
