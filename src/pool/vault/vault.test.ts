import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openMemoryStore } from '../store/open-store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { testAccount } from '../testing/test-pool.ts';
import { openVault } from './open-vault.ts';
import { createVault, VaultError } from './vault.ts';

const key = new Uint8Array(32).fill(1);

describe('a vault', () => {
  it('opens what earlier releases stored', () => {
    const sealed = 'v1.rWcEnzOuibolcvW0RyN_RkEpNXBOq2uHk4yuzvdiscEYXsEG';
    expect(createVault(new Uint8Array(32).fill(7)).open('acc', 'refresh_token', sealed)).toBe('a secret');
  });

  it('opens what it sealed, for the same account and field only', () => {
    const vault = createVault(key);
    const sealed = vault.seal('acc_1', 'credential', 'wk-secret');
    expect(sealed).not.toContain('secret');
    expect(vault.open('acc_1', 'credential', sealed)).toBe('wk-secret');
    expect(vault.seal('acc_1', 'credential', 'wk-secret')).not.toBe(sealed);
    expect(() => vault.open('acc_2', 'credential', sealed)).toThrow(VaultError);
    expect(() => vault.open('acc_1', 'other', sealed)).toThrow(VaultError);
    expect(() => vault.open('acc_1', 'credential', `${sealed.slice(0, -2)}AA`)).toThrow(VaultError);
    expect(() => vault.open('acc_1', 'credential', 'v9.abc')).toThrow(/unknown format/);
    expect(() => createVault(key.map(() => 2)).open('acc_1', 'credential', sealed)).toThrow(VaultError);
  });

  it('recognises a credential again without the key being readable', () => {
    const vault = createVault(key);
    expect(vault.fingerprint('warp', 'a')).toBe(vault.fingerprint('warp', 'a'));
    expect(vault.fingerprint('warp', 'a')).not.toBe(vault.fingerprint('openai', 'a'));
    expect(vault.fingerprint('warp', 'a')).not.toBe(createVault(key.map(() => 2)).fingerprint('warp', 'a'));
  });
});

describe('opening the vault', () => {
  const emptyStore = () => openMemoryStore(0, { auditsLeases: true });
  const usedStore = async () => {
    const store = emptyStore();
    await store.addAccount(0, testAccount('acc_1'), 'test');
    return store;
  };

  it('makes a key file nobody else can read when the store is new, and finds it again', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'data', 'master.key');
    const store = emptyStore();
    const vault = await openVault({ store, defaultKeyFile, now: 0 });
    expect(statSync(defaultKeyFile).mode & 0o777).toBe(0o600);
    expect((await openVault({ store, defaultKeyFile, now: 0 })).keyId).toBe(vault.keyId);
    const masterKey = Buffer.from(readFileSync(defaultKeyFile, 'utf8').trim(), 'hex').toString('base64');
    expect((await openVault({ store, masterKey, defaultKeyFile, now: 0 })).keyId).toBe(vault.keyId);
  });

  it('makes no key beside a store that holds accounts', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'master.key');
    await expect(openVault({ store: await usedStore(), defaultKeyFile, now: 0 })).rejects.toThrow(
      /is missing/,
    );
    expect(existsSync(defaultKeyFile)).toBe(false);
  });

  it('refuses a key that does not fit the accounts', async () => {
    const store = await usedStore();
    const defaultKeyFile = '/nowhere';
    await openVault({ store, masterKey: 'ab'.repeat(32), defaultKeyFile, now: 0 });
    const other = openVault({ store, masterKey: 'cd'.repeat(32), defaultKeyFile, now: 0 });
    await expect(other).rejects.toThrow(/does not fit/);
  });

  it('refuses a key file open to others, a missing one and one without a key', async () => {
    const masterKeyFile = join(temporaryFolder(), 'key');
    const open = () => openVault({ store: emptyStore(), masterKeyFile, defaultKeyFile: '/nowhere', now: 0 });
    await expect(open()).rejects.toThrow(/cannot be read.*openssl rand -hex 32 > /);
    writeFileSync(masterKeyFile, 'ab'.repeat(32), { mode: 0o644 });
    chmodSync(masterKeyFile, 0o644);
    await expect(open()).rejects.toThrow(/chmod 600/);
    writeFileSync(masterKeyFile, 'too short');
    chmodSync(masterKeyFile, 0o600);
    await expect(open()).rejects.toThrow(/32 bytes/);
    writeFileSync(masterKeyFile, Buffer.alloc(32, 0xfe));
    await expect(open()).rejects.toThrow(/32 bytes as 64 hex digits or base64/);
  });

  it('closes a key file that only its group may read, as volumes of Kubernetes leave it', async () => {
    const masterKeyFile = join(temporaryFolder(), 'key');
    writeFileSync(masterKeyFile, 'ab'.repeat(32));
    chmodSync(masterKeyFile, 0o660);
    const notices: string[] = [];
    const onNotice = (message: string) => notices.push(message);
    await openVault({ store: emptyStore(), masterKeyFile, defaultKeyFile: '/nowhere', now: 0, onNotice });
    expect(notices).toEqual([expect.stringContaining('was open to its group')]);
    expect(statSync(masterKeyFile).mode & 0o777).toBe(0o600);
  });

  it.each([0o444, 0o440, 0o400])('takes a key file of mode %o, as containers mount it', async (mode) => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, '..data'));
    writeFileSync(join(folder, '..data', 'key'), `\ufeff${'ab'.repeat(32)}\r\n`);
    chmodSync(join(folder, '..data', 'key'), mode);
    symlinkSync(join('..data', 'key'), join(folder, 'key'));
    const notices: string[] = [];
    const onNotice = (message: string) => notices.push(message);
    const masterKeyFile = join(folder, 'key');
    const place = { store: emptyStore(), masterKeyFile, defaultKeyFile: '/nowhere', now: 0, onNotice };
    const { keyId } = await openVault(place);
    const masterKey = 'ab'.repeat(32);
    expect((await openVault({ ...place, store: emptyStore(), masterKey })).keyId).toBe(keyId);
    expect(notices).toEqual(mode === 0o400 ? [] : [expect.stringContaining('may read the master key')]);
    expect(statSync(masterKeyFile).mode & 0o777).toBe(mode);
  });
});
