import type { ProviderAccount } from '../../core/provider.ts';
import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { isLendable } from '../standing/token-standing.ts';
import type { Credential, SealedBearer, StoredAccount } from '../store/store.ts';
import type { Vault } from './vault.ts';

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

  /** A credential as it is stored. */
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

  /** An account that has a bearer, as its provider needs it. */
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
