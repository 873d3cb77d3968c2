import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Store } from './store/store.ts';

/** What is wrong with the master key. The message may be shown to the operator; it holds no key. */
export class VaultError extends Error {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'VaultError';
  }
}

/** Seals credentials at rest. What one account's field was sealed to cannot be opened as another's. */
export interface Vault {
  readonly keyId: string;
  seal(accountId: string, field: string, plain: string): string;
  /** Throws VaultError when the text was altered or belongs elsewhere. */
  open(accountId: string, field: string, sealed: string): string;
  /** The same credential gives the same digest; without the key nobody can tell which. */
  fingerprint(provider: string, credential: string): string;
}

const formatVersion = 'v1';
const nonceBytes = 12;
const tagBytes = 16;
const keyIdName = 'vault_key_id';

/** `masterKey` is 32 bytes. */
export function createVault(masterKey: Uint8Array): Vault {
  const derive = (purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', masterKey, new Uint8Array(), `warp2api ${purpose}`, 32));
  const sealKey = derive('seal');
  const fingerprintKey = derive('fingerprint');
  const keyId = derive('key id').toString('hex').slice(0, 16);
  const boundTo = (accountId: string, field: string): Buffer =>
    Buffer.from(JSON.stringify([accountId, field, keyId]));

  return {
    keyId,
    seal(accountId, field, plain) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', sealKey, nonce, { authTagLength: tagBytes });
      cipher.setAAD(boundTo(accountId, field));
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return `${formatVersion}.${Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url')}`;
    },
    open(accountId, field, sealed) {
      const [version, text] = sealed.split('.', 2);
      const bytes = Buffer.from(text ?? '', 'base64url');
      if (version !== formatVersion || bytes.length < nonceBytes + tagBytes) {
        throw new VaultError(`The sealed ${field} of account ${accountId} has an unknown format.`);
      }
      const decipher = createDecipheriv('aes-256-gcm', sealKey, bytes.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(boundTo(accountId, field));
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      try {
        const body = decipher.update(bytes.subarray(nonceBytes, -tagBytes));
        return Buffer.concat([body, decipher.final()]).toString('utf8');
      } catch (error) {
        throw new VaultError(
          `The sealed ${field} of account ${accountId} cannot be opened: it was altered.`,
          {
            cause: error,
          },
        );
      }
    },
    fingerprint: (provider, credential) =>
      createHmac('sha256', fingerprintKey)
        .update(JSON.stringify([provider, credential]))
        .digest('hex'),
  };
}

export interface OpenVaultOptions {
  readonly store: Store;
  /** MASTER_KEY: 64 hex digits, or base64 of 32 bytes. */
  readonly masterKey?: string;
  /** MASTER_KEY_FILE: must exist. */
  readonly masterKeyFile?: string;
  /** Used when neither is given; made when the store is new. Usually DATA_DIR/master.key. */
  readonly defaultKeyFile: string;
  readonly now: number;
}

/**
 * The vault over the configured key. The store remembers which key its accounts were sealed with. Throws VaultError
 * when that is another one, or when a store with accounts has lost its key: none is ever generated beside accounts.
 */
export async function openVault(options: OpenVaultOptions): Promise<Vault> {
  const { store } = options;
  const rememberedId = await store.remembered(keyIdName);
  const { total } = await store.stats(options.now);
  const vault = createVault(readMasterKey(options, total > 0));
  if (rememberedId !== null && rememberedId !== vault.keyId && total > 0) {
    throw new VaultError(
      `The master key does not fit: the ${total} accounts in the store were sealed with another one. ` +
        'Set MASTER_KEY or MASTER_KEY_FILE to the key they were added with.',
    );
  }
  if (rememberedId !== vault.keyId) await store.remember(keyIdName, vault.keyId);
  return vault;
}

function readMasterKey(options: OpenVaultOptions, hasAccounts: boolean): Uint8Array {
  if (options.masterKey !== undefined) return parseKey(options.masterKey, 'MASTER_KEY');
  if (options.masterKeyFile !== undefined) return readKeyFile(options.masterKeyFile);
  const path = options.defaultKeyFile;
  if (existsSync(path)) return readKeyFile(path);
  if (hasAccounts) {
    throw new VaultError(
      `The master key ${path} is missing, and the store holds accounts sealed with it. ` +
        'Restore that file, or set MASTER_KEY or MASTER_KEY_FILE to the key; a new one could not open them.',
    );
  }
  const key = randomBytes(32);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${key.toString('hex')}\n`, { mode: 0o600, flag: 'wx', flush: true });
  } catch (error) {
    throw new VaultError(`The master key file ${path} cannot be written: ${reasonOf(error)}.`, {
      cause: error,
    });
  }
  return key;
}

function readKeyFile(path: string): Uint8Array {
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new VaultError(`The master key file ${path} cannot be read: ${reasonOf(error)}.`, { cause: error });
  }
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new VaultError(`The master key file ${path} is open to others; run: chmod 600 ${path}`);
  }
  return parseKey(text, path);
}

function parseKey(text: string, source: string): Uint8Array {
  const key = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(key)) return Buffer.from(key, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(key)) {
    const bytes = Buffer.from(key, 'base64');
    if (bytes.length === 32) return bytes;
  }
  throw new VaultError(`${source} does not hold a key: 32 bytes as 64 hex digits or base64 are needed.`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
