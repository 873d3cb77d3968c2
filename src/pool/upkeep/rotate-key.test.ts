import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { grantField, type LoginRecord, loginPrefix, loginRecord } from '../logins/login-record.ts';
import { openMemoryStore, openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { testAccount } from '../testing/test-pool.ts';
import { openVault } from '../vault/open-vault.ts';
import {
  bearerField,
  credentialField,
  openSealedFact,
  sealedFactPrefix,
  sealFact,
  type Vault,
} from '../vault/vault.ts';
import { type RotationStep, rotateKey } from './rotate-key.ts';

const ids = ['acc_1', 'acc_2', 'acc_3'];

async function fill(store: Store, vault: Vault): Promise<void> {
  for (const id of ids) {
    const credential = {
      sealed: vault.seal(id, credentialField, `secret of ${id}`),
      fingerprint: vault.fingerprint('warp', `secret of ${id}`),
      hint: '****',
    };
    const bearer = { sealed: vault.seal(id, bearerField, `bearer of ${id}`), expiresAt: 1000 };
    await store.addAccount(0, testAccount(id, { credential, ...(id === 'acc_2' ? { bearer } : {}) }), 'test');
  }
}

async function secretsIn(store: Store, vault: Vault): Promise<string[]> {
  const { secrets } = await store.sealedSecrets(0, 100);
  return secrets.flatMap(({ accountId, credential, bearer }) => [
    vault.open(accountId, credentialField, credential),
    ...(bearer === null ? [] : [vault.open(accountId, bearerField, bearer)]),
  ]);
}

const expected = ['secret of acc_1', 'secret of acc_2', 'bearer of acc_2', 'secret of acc_3'];

describe('a key rotation', () => {
  it('seals everything anew, still knows each credential, and keeps the former key for old backups', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'master.key');
    const store = openMemoryStore(0, { auditsLeases: true });
    const place = { defaultKeyFile };
    const before = await openVault({ store, ...place, now: 0 });
    await fill(store, before);
    const formerKey = readFileSync(defaultKeyFile, 'utf8');
    const rotation = await rotateKey({ store, vault: before, place, now: 5, actor: 'local' });
    expect(rotation).toMatchObject({ accounts: 3, formerKeyId: before.keyId, keyFile: defaultKeyFile });

    const after = await openVault({ store, ...place, now: 6 });
    expect(after.keyId).toBe(rotation.keyId);
    expect(await secretsIn(store, after)).toEqual(expected);
    await expect(secretsIn(store, before)).rejects.toThrow(/cannot be opened/);
    const fingerprint = after.fingerprint('warp', 'secret of acc_3');
    expect((await store.accountOfCredential(7, 'warp', fingerprint))?.id).toBe('acc_3');
    expect(readFileSync(`${defaultKeyFile}.old`, 'utf8')).toBe(formerKey);
    expect(existsSync(`${defaultKeyFile}.next`)).toBe(false);
    for (const file of [defaultKeyFile, `${defaultKeyFile}.old`]) {
      expect(statSync(file).mode & 0o777).toBe(0o600);
    }
    const [entry] = await store.auditTrail({ limit: 1 });
    expect(entry).toMatchObject({ actor: 'local', action: 'key-rotated', detail: { accounts: 3 } });

    // And once more: fingerprints outlive every key.
    await rotateKey({ store, vault: after, place, now: 8, actor: 'local' });
    const third = await openVault({ store, ...place, now: 9 });
    expect(third.fingerprint('warp', 'x')).toBe(before.fingerprint('warp', 'x'));
    expect(await secretsIn(store, third)).toEqual(expected);
  });

  it.each<[RotationStep, 'before' | 'after', boolean]>([
    ['next-key-written', 'before', false],
    ['secrets-resealed', 'after', true],
    ['key-in-place', 'after', false],
  ])('that is killed at %s leaves everything readable at the next start', async (step, which, hasNotice) => {
    const folder = temporaryFolder();
    const path = join(folder, 'accounts.db');
    const defaultKeyFile = join(folder, 'master.key');
    const options = { clock: systemClock, onLost() {} };
    let store = await openStore(path, options);
    const before = await openVault({ store, defaultKeyFile, now: 0 });
    await fill(store, before);
    await store.close();

    const child = fork(new URL('../testing/rotation-child.ts', import.meta.url), [folder, step], {
      execArgv: [],
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    store = await openStore(path, options);
    const notices: string[] = [];
    const onNotice = (message: string) => void notices.push(message);
    const vault = await openVault({ store, defaultKeyFile, now: 0, onNotice });
    expect(vault.keyId === before.keyId).toBe(which === 'before');
    expect(notices.length > 0).toBe(hasNotice);
    expect(await secretsIn(store, vault)).toEqual(expected);
    // Nothing that was left lying about hinders the next one.
    await rotateKey({ store, vault, place: { defaultKeyFile }, now: 0, actor: 'test' });
    expect(await secretsIn(store, await openVault({ store, defaultKeyFile, now: 0 }))).toEqual(expected);
    await store.close();
  });

  it('whose key file was lost on the way takes up the one that was to come', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'master.key');
    const store = openMemoryStore(0, { auditsLeases: true });
    const vault = await openVault({ store, defaultKeyFile, now: 0 });
    await fill(store, vault);
    const stop = new Error('stopped here');
    const rotating = rotateKey({
      store,
      vault,
      place: { defaultKeyFile },
      now: 0,
      actor: 'test',
      onStep(step) {
        if (step === 'secrets-resealed') throw stop;
      },
    });
    await expect(rotating).rejects.toBe(stop);
    rmSync(defaultKeyFile);
    expect(await secretsIn(store, await openVault({ store, defaultKeyFile, now: 0 }))).toEqual(expected);
  });

  it('of a key in the environment says where the new one is, and the old value is refused with what to do', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'master.key');
    const store = openMemoryStore(0, { auditsLeases: true });
    const place = { masterKey: 'ab'.repeat(32), defaultKeyFile };
    const vault = await openVault({ store, ...place, now: 0 });
    await fill(store, vault);
    const rotation = await rotateKey({ store, vault, place, now: 0, actor: 'test' });
    expect(rotation).toMatchObject({ isInEnvironment: true, keyFile: `${defaultKeyFile}.next` });
    await expect(openVault({ store, ...place, now: 0 })).rejects.toThrow(
      /before the rotation: set it to the key in/,
    );
    const masterKey = readFileSync(rotation.keyFile, 'utf8').trim();
    const opened = await openVault({ store, masterKey, defaultKeyFile, now: 0 });
    expect(await secretsIn(store, opened)).toEqual(expected);
  });

  it('takes logins under way along: what was granted is handed out only once', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'master.key');
    const store = openMemoryStore(0, { auditsLeases: true });
    const place = { defaultKeyFile };
    const vault = await openVault({ store, ...place, now: 0 });
    const record: LoginRecord = {
      id: 'login_1',
      provider: 'warp',
      actor: 'local',
      status: 'pending',
      userCode: 'ABCD',
      verificationUri: 'https://example.com',
      verificationUriComplete: null,
      expiresAt: 1000,
      intervalMs: 5000,
      nextPollAt: 0,
      failures: 0,
      deviceCode: null,
      grant: vault.seal('login_1', grantField, 'what was granted'),
      account: {
        label: null,
        capacity: 1,
        models: null,
        free: false,
        lend: 'any',
        tier: 0,
        teamUid: null,
        standby: false,
      },
      replaces: null,
      accountId: null,
      error: null,
      finishedAt: null,
    };
    await store.remember(`${loginPrefix}login_1`, JSON.stringify(record));
    await rotateKey({ store, vault, place, now: 0, actor: 'test' });
    const after = loginRecord.parse(JSON.parse((await store.remembered(`${loginPrefix}login_1`)) ?? ''));
    const opened = await openVault({ store, ...place, now: 0 });
    expect(opened.open('login_1', grantField, after?.grant ?? '')).toBe('what was granted');
    expect(after).toEqual({ ...record, grant: after?.grant });
  });

  it('takes along what sources keep until it is an account', async () => {
    const defaultKeyFile = join(temporaryFolder(), 'master.key');
    const store = openMemoryStore(0, { auditsLeases: true });
    const place = { defaultKeyFile };
    const vault = await openVault({ store, ...place, now: 0 });
    const name = `${sealedFactPrefix}delivery:more:1`;
    await store.remember(name, sealFact(vault, name, { text: 'handed out once' }));
    await rotateKey({ store, vault, place, now: 0, actor: 'test' });
    const opened = await openVault({ store, ...place, now: 0 });
    const sealed = (await store.remembered(name)) ?? '';
    expect(openSealedFact(opened, name, sealed)).toEqual({ text: 'handed out once' });
    expect(() => openSealedFact(vault, name, sealed)).toThrow(/cannot be opened/);
  });

  it('takes a key of its owner, but not the present one', async () => {
    const folder = temporaryFolder();
    const defaultKeyFile = join(folder, 'master.key');
    const newKeyFile = join(folder, 'mine');
    const store = openMemoryStore(0, { auditsLeases: true });
    const vault = await openVault({ store, defaultKeyFile, now: 0 });
    await fill(store, vault);
    const rotate = (file: string) =>
      rotateKey({ store, vault, place: { defaultKeyFile }, newKeyFile: file, now: 0, actor: 'test' });
    await expect(rotate(defaultKeyFile)).rejects.toThrow(/needs another one/);
    await expect(rotate(newKeyFile)).rejects.toThrow(/cannot be read/);
    writeFileSync(newKeyFile, 'cd'.repeat(32), { mode: 0o600 });
    await rotate(newKeyFile);
    expect(readFileSync(defaultKeyFile, 'utf8').trim()).toBe('cd'.repeat(32));
  });
});
