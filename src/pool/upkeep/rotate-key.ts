import { existsSync, rmSync } from 'node:fs';
import { loginPrefix, resealedLogin } from '../logins/login-record.ts';
import type { SealedSecret, Store } from '../store/store.ts';
import {
  fingerprintKeyFact,
  keyFileOf,
  keyIdFact,
  newKey,
  nextKeyFile,
  readKeyFile,
  takeNextKey,
  type VaultPlace,
  writeKeyFile,
} from '../vault/open-vault.ts';
import {
  bearerField,
  credentialField,
  resealedFact,
  sealedFactPrefix,
  type Vault,
  VaultError,
} from '../vault/vault.ts';

export interface RotateOptions {
  /** Held by this process alone. */
  readonly store: Store;
  /** Over the present key. */
  readonly vault: Vault;
  readonly place: VaultPlace;
  /** Takes the new key from this file instead of making one. */
  readonly newKeyFile?: string | undefined;
  readonly now: number;
  readonly actor: string;
  /** For tests that end the process between two steps. */
  readonly onStep?: (step: RotationStep) => void;
}

export type RotationStep = 'next-key-written' | 'secrets-resealed' | 'key-in-place';

export type Rotation = Awaited<ReturnType<typeof rotateKey>>;

const pageSize = 1000;

/**
 * Seals every secret of the store again, under another master key. The new key is on the disk before the first secret
 * needs it, and all secrets change in one transaction: whatever moment this is cut off at, one of the two keys beside
 * each other opens everything, and the next start finds out which. Throws VaultError.
 */
export async function rotateKey(options: RotateOptions) {
  const { store, vault, place, onStep = () => {} } = options;
  const path = keyFileOf(place);
  const next = nextKeyFile(path);
  const key = options.newKeyFile === undefined ? newKey() : readKeyFile(options.newKeyFile);
  const { vault: newVault, fingerprintKey } = vault.successor(key);
  if (newVault.keyId === vault.keyId) {
    throw new VaultError(`${options.newKeyFile} holds the present key; a rotation needs another one.`);
  }
  // The present key fits, or this vault would not be open: what lies there is of a rotation that never took effect.
  if (existsSync(next)) rmSync(next);
  writeKeyFile(next, key);
  onStep('next-key-written');

  const again: Again = (id, field, sealed) => newVault.seal(id, field, vault.open(id, field, sealed));
  const resealed = await resealAccounts(store, again);
  // Of pending logins: what was granted is handed out only once. And what sources keep until it is an account.
  const logins = (await store.rememberedUnder(loginPrefix)).flatMap(({ name, value: text }) => {
    const value = resealedLogin(text, again);
    return value === null ? [] : [{ name, value }];
  });
  const facts = (await store.rememberedUnder(sealedFactPrefix)).map(({ name, value }) => ({
    name,
    value: resealedFact(vault, newVault, name, value),
  }));
  await store.replaceSealed(
    options.now,
    resealed,
    [
      { name: keyIdFact, value: newVault.keyId },
      { name: fingerprintKeyFact, value: fingerprintKey },
      ...logins,
      ...facts,
    ],
    {
      actor: options.actor,
      action: 'key-rotated',
      accountId: null,
      detail: { from: vault.keyId, to: newVault.keyId, accounts: resealed.length },
    },
  );
  onStep('secrets-resealed');

  const isInEnvironment = place.masterKey !== undefined;
  if (!isInEnvironment) takeNextKey(path);
  onStep('key-in-place');
  return {
    accounts: resealed.length,
    keyId: newVault.keyId,
    formerKeyId: vault.keyId,
    keyFile: isInEnvironment ? next : path,
    /** The key is configured as MASTER_KEY, which only its owner can change. */
    isInEnvironment,
  };
}

type Again = (id: string, field: string, sealed: string) => string;

async function resealAccounts(store: Store, again: Again): Promise<SealedSecret[]> {
  const all: SealedSecret[] = [];
  let after: number | null = 0;
  while (after !== null) {
    const { secrets, nextAfter }: Awaited<ReturnType<Store['sealedSecrets']>> = await store.sealedSecrets(
      after,
      pageSize,
    );
    for (const { accountId, credential, bearer } of secrets) {
      all.push({
        accountId,
        credential: again(accountId, credentialField, credential),
        bearer: bearer === null ? null : again(accountId, bearerField, bearer),
      });
    }
    after = nextAfter;
  }
  return all;
}
