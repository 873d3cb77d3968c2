import { accountStates } from '../../../core/account-states.ts';
import type { AccountState } from '../../../pool-api/schema.ts';

/**
 * What the accounts are counted by: the state, and everything else that decides whether an account can be lent, in one
 * number. A released database has these numbers in it: new states and new flags go to the end.
 */
export const kindStates = accountStates;

export const kindBits = {
  rateLimited: 8,
  gatewayOnly: 16,
  free: 32,
  held: 64,
  halfOpen: 128,
  exclusivelyHeld: 256,
  /** Not one more shared slot. */
  full: 512,
  /** Only some models. */
  modelsLimited: 1024,
} as const;

export type Kind = { readonly state: AccountState } & {
  readonly [Flag in keyof typeof kindBits]: boolean;
};

/** Accounts of one provider that are alike in all that decides whether they can be lent. */
export interface KindCount {
  readonly provider: string;
  readonly number: number;
  readonly kind: Kind;
  readonly accounts: number;
}

const stateMask = 7;

const known = new Map<number, Kind>();

export function kindFrom(number: number): Kind {
  const found = known.get(number);
  if (found !== undefined) return found;
  const state = kindStates[number & stateMask];
  if (state === undefined) throw new Error(`${number} is no kind of account`);
  const flags = Object.entries(kindBits).map(([flag, bit]) => [flag, (number & bit) !== 0]);
  const kind = { state, ...(Object.fromEntries(flags) as Record<keyof typeof kindBits, boolean>) };
  known.set(number, kind);
  return kind;
}

/** The same account once it is active. */
export function asActive(number: number): number {
  return number - (number & stateMask) + kindStates.indexOf('active');
}

/** Has a place for one more shared turn. */
export function isAvailable(kind: Kind): boolean {
  return kind.state === 'active' && !kind.exclusivelyHeld && !kind.full && !(kind.halfOpen && kind.held);
}

/** How many accounts of each state a count holds; every state is named. */
export function noStates(): Record<AccountState, number> {
  return Object.fromEntries(accountStates.map((state) => [state, 0])) as Record<AccountState, number>;
}
