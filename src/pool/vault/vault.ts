import { createHmac, hkdfSync } from 'node:crypto';
import type { ProviderAccount } from '../../core/provider.ts';
import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { sealText, unsealText } from '../../lib/secrets/sealed-bytes.ts';
import { isLendable } from '../standing/standing.ts';
import type { Credential, SealedBearer, StoredAccount } from '../store/store.ts';

/** What is wrong with the master key. The message may be shown to the operator; it holds no key. */
export class VaultError extends Error {
  override readonly name = 'VaultError';
}

/** Seals credentials at rest. What one account's field was sealed to cannot be opened as another's. */
export interface Vault {
  readonly keyId: string;
  seal(accountId: string, field: string, plain: string): string;
  /** Throws VaultError when the text was altered or belongs elsewhere. */
  open(accountId: string, field: string, sealed: string): string;
  /** The same credential gives the same digest; without the key it does not tell which. */
  fingerprint(provider: string, credential: string): string;
  /** A vault over another key that recognises the same credentials, and what it needs to know for that, sealed by it. */
  successor(masterKey: Uint8Array): { readonly vault: Vault; readonly fingerprintKey: string };
}

const formatVersion = 'v1';

/** What a rotated vault's fingerprint key is sealed as. */
const fingerprintSeal = ['vault', 'fingerprint_key'] as const;

/**
 * `masterKey` is 32 bytes. `sealedFingerprintKey` is what `successor` gave: fingerprints outlive the key they first came
 * from, or a credential the pool has would be taken for a new one.
 */
export function createVault(masterKey: Uint8Array, sealedFingerprintKey?: string): Vault {
  const derive = (purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', masterKey, new Uint8Array(), `warp2api ${purpose}`, 32));
  const sealKey = derive('seal');
  const keyId = derive('key id').toString('hex').slice(0, 16);
  const boundTo = (accountId: string, field: string): Buffer =>
    Buffer.from(JSON.stringify([accountId, field, keyId]));

  const sealing: Pick<Vault, 'seal' | 'open'> = {
    seal(accountId, field, plain) {
      return `${formatVersion}.${sealText(sealKey, plain, boundTo(accountId, field))}`;
    },
    open(accountId, field, sealed) {
      const [version, text] = sealed.split('.', 2);
      const what = `The sealed ${field} of account ${accountId}`;
      let plain: string | undefined;
      try {
        if (version === formatVersion) plain = unsealText(sealKey, text ?? '', boundTo(accountId, field));
      } catch (cause) {
        throw new VaultError(`${what} cannot be opened: it was altered.`, { cause });
      }
      if (plain === undefined) throw new VaultError(`${what} has an unknown format.`);
      return plain;
    },
  };
  const fingerprintKey =
    sealedFingerprintKey === undefined
      ? derive('fingerprint')
      : Buffer.from(sealing.open(...fingerprintSeal, sealedFingerprintKey), 'hex');

  return {
    keyId,
    ...sealing,
    fingerprint: (provider, credential) =>
      createHmac('sha256', fingerprintKey)
        .update(JSON.stringify([provider, credential]))
        .digest('hex'),
    successor(newKey) {
      const sealed = createVault(newKey).seal(...fingerprintSeal, fingerprintKey.toString('hex'));
      return { vault: createVault(newKey, sealed), fingerprintKey: sealed };
    },
  };
}

/** Facts whose value is sealed; a key rotation seals them again. */
export const sealedFactPrefix = 'sealed:';
const factField = 'fact';

export function sealFact(vault: Vault, name: string, value: unknown): string {
  return vault.seal(name, factField, JSON.stringify(value));
}

/** Throws VaultError when the text was altered or sealed with another key. */
export function openSealedFact(vault: Vault, name: string, sealed: string): unknown {
  return JSON.parse(vault.open(name, factField, sealed));
}

export function resealedFact(from: Vault, to: Vault, name: string, sealed: string): string {
  return to.seal(name, factField, from.open(name, factField, sealed));
}

/** What secrets are sealed as. */
export const credentialField = 'credential';
export const bearerField = 'bearer';
const longEnoughToHint = 20;

/** The secrets of accounts: sealed for the store, opened for their providers, and noted as secrets each time. */
export class Credentials {
  readonly #vault: Vault;
  readonly #secrets: KnownSecrets;

  constructor(vault: Vault, secrets: KnownSecrets) {
    this.#vault = vault;
    this.#secrets = secrets;
  }

  seal(id: string, provider: string, secret: string): Credential {
    return {
      sealed: this.#seal(id, credentialField, secret),
      fingerprint: this.#vault.fingerprint(provider, secret),
      hint: hintOf(secret),
    };
  }

  sealBearer(id: string, bearer: string, expiresAt: number): SealedBearer {
    return { sealed: this.#seal(id, bearerField, bearer), expiresAt };
  }

  fingerprint(provider: string, secret: string): string {
    return this.#vault.fingerprint(provider, secret);
  }

  /** The API key, or the refresh token. */
  secretOf({ id, sealedCredential }: StoredAccount): string {
    return this.#open(id, credentialField, sealedCredential);
  }

  /** What the provider takes. An account has a lease only once it has had a bearer. */
  bearerOf(account: StoredAccount): string {
    if (account.credentialKind === 'api_key') return this.secretOf(account);
    if (account.bearer === null) throw new Error(`account ${account.id} has no bearer yet`);
    return this.#open(account.id, bearerField, account.bearer.sealed);
  }

  providerAccount(account: StoredAccount): ProviderAccount {
    return { bearer: this.bearerOf(account), teamUid: account.teamUid ?? undefined };
  }

  #seal(id: string, field: string, secret: string): string {
    this.#secrets.use(secret);
    return this.#vault.seal(id, field, secret);
  }

  #open(id: string, field: string, sealed: string): string {
    const secret = this.#vault.open(id, field, sealed);
    this.#secrets.use(secret);
    return secret;
  }
}

/** It has something to show its provider, and that has not lapsed. */
export function hasBearer(account: StoredAccount, now: number): boolean {
  if (account.credentialKind === 'api_key') return true;
  return isLendable({ expiresAt: account.bearer?.expiresAt ?? null, refreshAt: null }, now);
}

function hintOf(secret: string): string {
  if (secret === '') return '';
  return secret.length >= longEnoughToHint ? secret.slice(-4) : '****';
}
