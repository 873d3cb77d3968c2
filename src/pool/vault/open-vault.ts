import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import {
  closeFile,
  decodeText,
  isOpenToGroupAlone,
  makeFolder,
  makeSecretFile,
  opennessOf,
  syncFolder,
} from '../../lib/files.ts';
import type { Store } from '../store/store.ts';
import { createVault, type Vault, VaultError } from './vault.ts';

export interface VaultPlace {
  /** MASTER_KEY: 64 hex digits, or base64 of 32 bytes. */
  readonly masterKey?: string | undefined;
  /** MASTER_KEY_FILE: must exist. */
  readonly masterKeyFile?: string | undefined;
  /** Used when neither is given; made when the store is new. Usually DATA_DIR/master.key. */
  readonly defaultKeyFile: string;
}

export interface OpenVaultOptions extends VaultPlace {
  readonly store: Store;
  readonly now: number;
  /** Gets what the operator should know, such as a repair or an unsafe mode of a file. */
  readonly onNotice?: (message: string) => void;
}

export const keyIdFact = 'vault_key_id';
export const fingerprintKeyFact = 'fingerprint_key';

/** The file the key is in, or where a new one would go while it is in the environment. */
export function keyFileOf({ masterKeyFile, defaultKeyFile }: VaultPlace): string {
  return masterKeyFile ?? defaultKeyFile;
}

/**
 * The vault over the configured key. The store remembers which key its accounts were sealed with. A rotation that was
 * interrupted is finished here. Throws VaultError when the key is another one, or when a store with accounts has lost
 * its key: none is ever generated beside accounts.
 */
export async function openVault(options: OpenVaultOptions): Promise<Vault> {
  const { store } = options;
  const rememberedId = await store.remembered(keyIdFact);
  const { total } = await store.stats(options.now);
  if (options.masterKey === undefined) finishRotation(options, rememberedId);
  // Another pool on the same database may have its key already and be about to use it.
  const isTaken = total > 0 || (store.isShared && rememberedId !== null);
  const masterKey = readMasterKey(options, isTaken);
  const { keyId } = createVault(masterKey);
  if (rememberedId === keyId) {
    return createVault(masterKey, (await store.remembered(fingerprintKeyFact)) ?? undefined);
  }
  if (rememberedId !== null && isTaken) throw misfit(options, total, rememberedId);
  // Nothing is sealed yet: this key is the store's from now on, and fingerprints start over.
  const stale = await store.remembered(fingerprintKeyFact);
  if (stale !== null) await store.swapRemembered(fingerprintKeyFact, stale, null);
  // Of pools that start together on a new database one is the first; the others must have the same key.
  if (!(await store.swapRemembered(keyIdFact, rememberedId, keyId))) return openVault(options);
  return createVault(masterKey);
}

/** Puts the next key in the place of the present one, which is kept as `.old` for backups made with it. */
export function takeNextKey(path: string): void {
  if (existsSync(path)) {
    const old = `${path}.old`;
    rmSync(old, { force: true });
    copyFileSync(path, old);
  }
  renameSync(nextKeyFile(path), path);
  syncFolder(path);
}

/** A rotation that stored the new seals, and then could not put its key in place. */
function finishRotation(options: OpenVaultOptions, rememberedId: string | null): void {
  const path = keyFileOf(options);
  const next = nextKeyFile(path);
  if (rememberedId === null || !existsSync(next)) return;
  const fits = (file: string): boolean =>
    existsSync(file) && createVault(readKeyFile(file)).keyId === rememberedId;
  if (fits(path) || !fits(next)) return;
  takeNextKey(path);
  options.onNotice?.(`A key rotation was interrupted; it is finished now: ${path} holds the new key.`);
}

function misfit(options: OpenVaultOptions, total: number, rememberedId: string): VaultError {
  const next = nextKeyFile(keyFileOf(options));
  const isRotated = existsSync(next) && createVault(readKeyFile(next)).keyId === rememberedId;
  return new VaultError(
    isRotated
      ? `MASTER_KEY is the key from before the rotation: set it to the key in ${next}, and then delete that file.`
      : total > 0
        ? `The master key does not fit: the ${total} accounts in the store were sealed with another one. ` +
          'Set MASTER_KEY or MASTER_KEY_FILE to the key they were added with.'
        : 'The master key does not fit: another pool uses this database with another one. ' +
          'Set MASTER_KEY or MASTER_KEY_FILE to the same key for all of them; if there is no other pool, make a new database.',
  );
}

function readMasterKey(options: OpenVaultOptions, hasAccounts: boolean): Uint8Array {
  if (options.masterKey !== undefined) return parseKey(options.masterKey, 'MASTER_KEY');
  if (options.masterKeyFile !== undefined) return readKeyFile(options.masterKeyFile, options.onNotice);
  const path = options.defaultKeyFile;
  if (existsSync(path)) return readKeyFile(path, options.onNotice);
  if (hasAccounts) {
    throw new VaultError(
      `The master key ${path} is missing, and the store holds accounts sealed with it. ` +
        'Restore that file, or set MASTER_KEY or MASTER_KEY_FILE to the key; a new one could not open them.',
    );
  }
  const key = newKey();
  writeKeyFile(path, key);
  return key;
}

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
    makeSecretFile(path, `${Buffer.from(key).toString('hex')}\n`);
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
function parseKey(text: string, source: string): Uint8Array {
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
