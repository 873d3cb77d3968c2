import type { Vault } from './vault.ts';

/** Facts whose value is sealed; a key rotation seals them anew. */
export const sealedFactPrefix = 'sealed:';
const field = 'fact';

export function sealFact(vault: Vault, name: string, value: unknown): string {
  return vault.seal(name, field, JSON.stringify(value));
}

/** Throws VaultError when the text was altered or sealed with another key. */
export function openSealedFact(vault: Vault, name: string, sealed: string): unknown {
  return JSON.parse(vault.open(name, field, sealed));
}

export function resealedFact(from: Vault, to: Vault, name: string, sealed: string): string {
  return to.seal(name, field, from.open(name, field, sealed));
}
