import { PoolError } from '../../pool-api/errors.ts';
import type { ImportedAccount } from '../../pool-api/import-format.ts';
import { type AddedAccount, type Adding, type GivenCredential, secretOf } from '../adding.ts';
import type { Logins } from '../logins.ts';
import type { PoolContext } from '../pool-context.ts';
import type { StoredAccount } from '../store/store.ts';
import type { Admission } from './source.ts';

/** Brings accounts into the pool, whoever offers them. */
export interface Adopt {
  /** Probed, sealed, stored. Throws only when the pool itself is at fault. */
  (
    added: AddedAccount,
    credential: GivenCredential,
    actor: string,
    options?: { readonly isStandby?: boolean },
  ): Promise<Exclude<Admission, { result: 'no_room' }>>;
  /** Why this cannot be an account of its provider, without asking it; null when it may be one. */
  faultOf(account: ImportedAccount): string | null;
}

/** What sources work with. */
export interface SourceTools {
  readonly context: PoolContext;
  readonly adopt: Adopt;
  readonly logins: Pick<Logins, 'startLogin' | 'getLogin'>;
}

export function createAdopt(context: PoolContext, adding: Adding): Adopt {
  const { store, clock, vault } = context;

  const idOf = async (provider: string, credential: GivenCredential): Promise<string> => {
    const checked = adding.check(provider, credential);
    const print = vault.fingerprint(provider, secretOf(checked));
    return (await store.accountOfCredential(clock.now(), provider, print))?.id ?? '';
  };

  const faultOf: Adopt['faultOf'] = (account) => {
    try {
      adding.check(account.provider, credentialOf(account));
      adding.checkTeam(account.provider, account.team_uid);
      return null;
    } catch (error) {
      if (error instanceof PoolError) return context.secrets.redact(error.message);
      throw error;
    }
  };

  const adopt = async (...[added, credential, actor, options = {}]: Parameters<Adopt>) => {
    try {
      const account = await adding.insert(added, credential, actor, options);
      return admissionOf(account);
    } catch (error) {
      if (!(error instanceof PoolError)) throw error;
      if (error.code === 'account_exists') {
        return { result: 'duplicate' as const, id: await idOf(added.provider, credential) };
      }
      if (error.code !== 'invalid_request') throw error;
      return { result: 'failed' as const, reason: context.secrets.redact(error.message) };
    }
  };
  return Object.assign(adopt, { faultOf });
}

/** How an account that has just been tried counts. */
export function admissionOf(account: StoredAccount): Exclude<Admission, { result: 'no_room' }> {
  const { state, reason, evidence } = account.standing;
  if (state !== 'reauth_required' && state !== 'disabled') return { result: 'added', id: account.id };
  return { result: 'rejected', id: account.id, reason: rejection(reason, evidence) };
}

function rejection(reason: string | null, evidence: Readonly<Record<string, unknown>> | null): string {
  const answer = evidence?.['quota_query'];
  const said =
    typeof answer === 'object' && answer !== null && 'message' in answer ? `: ${String(answer.message)}` : '';
  return `the provider does not take the credential (${reason ?? 'rejected'}${said})`;
}

/** The line's credential. Throws when the schema let one through without any. */
export function credentialOf(account: Pick<ImportedAccount, 'api_key' | 'refresh_token'>): GivenCredential {
  if (account.api_key !== undefined) return { kind: 'api_key', key: account.api_key };
  if (account.refresh_token !== undefined) {
    return { kind: 'refresh_token', refreshToken: account.refresh_token };
  }
  throw new Error('the schema lets no account through without a credential');
}
