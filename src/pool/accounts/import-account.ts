import { PoolError } from '../../pool-api/errors.ts';
import type { Basics } from '../base/basics.ts';
import { isOutOfService } from '../standing/standing.ts';
import type { StoredAccount } from '../store/store.ts';
import type { AddedAccount, Adding, GivenCredential } from './adding.ts';

/** What became of one account that a source offered. */
export type Admission =
  | { readonly result: 'added'; readonly id: string }
  /** The pool has this credential already. */
  | { readonly result: 'duplicate'; readonly id: string }
  /** The provider does not take the credential; the account is kept, out of service. */
  | { readonly result: 'rejected'; readonly id: string; readonly reason: string }
  /** It cannot be an account at all, or could not be tried now; nothing was kept. */
  | { readonly result: 'failed'; readonly reason: string }
  /** No more accounts are wanted: nothing was done. */
  | { readonly result: 'no_room' };

type Imported = Exclude<Admission, { result: 'no_room' }>;

/** Brings an account into the pool: probed, sealed, stored. Throws only when the pool itself is at fault. */
export async function importAccount(
  { basics, adding }: { readonly basics: Basics; readonly adding: Adding },
  added: AddedAccount,
  credential: GivenCredential,
  actor: string,
  isStandby = false,
): Promise<Imported> {
  try {
    return admissionOf(await adding.insert(added, credential, actor, { isStandby }));
  } catch (error) {
    if (!(error instanceof PoolError)) throw error;
    if (error.code === 'account_exists') {
      const present = await adding.holderOf(added.provider, adding.check(added.provider, credential));
      return { result: 'duplicate', id: present?.id ?? '' };
    }
    if (error.code !== 'invalid_request') throw error;
    return { result: 'failed', reason: basics.secrets.redact(error.message) };
  }
}

/** How an account that has just been tried counts. */
export function admissionOf(account: StoredAccount): Imported {
  const { reason, evidence } = account.standing;
  if (!isOutOfService(account.standing)) return { result: 'added', id: account.id };
  const answer = evidence?.['quota_query'];
  const said =
    typeof answer === 'object' && answer !== null && 'message' in answer ? `: ${String(answer.message)}` : '';
  const why = `the provider does not take the credential (${reason ?? 'rejected'}${said})`;
  return { result: 'rejected', id: account.id, reason: why };
}
