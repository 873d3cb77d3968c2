import { randomUUID } from 'node:crypto';
import { AppError } from '../core/errors.ts';
import type { Provider, ProviderAccount, TokenGrant } from '../core/provider.ts';
import { PoolError } from '../pool-api/errors.ts';
import { applyQuota, freshStanding, nextProof, nextQuotaCheck, type QuotaFinding } from './account-state.ts';
import { bearerField, hasBearer, type PoolContext, providerAccountOf } from './pool-context.ts';
import { nextRefreshAfter } from './refresh-times.ts';
import { quotaFrom } from './store/quota-row.ts';
import type { AccountSettings, NewStoredAccount, StandingChange, StoredAccount } from './store/store.ts';

/** What an account is known by at its provider. */
export type GivenCredential =
  | { readonly kind: 'api_key'; readonly key: string }
  | {
      readonly kind: 'refresh_token';
      readonly refreshToken: string;
      /** What a login has just brought along with it: saves the first refresh. */
      readonly grant?: Pick<TokenGrant, 'bearer' | 'expiresAt'>;
    };

export interface AddedAccount {
  readonly provider: string;
  /** Who brought it: `api`, `env`, a source's name. */
  readonly source: string;
  readonly settings: AccountSettings;
  /** Names the credential to the source that made it. */
  readonly sourceHandle?: string;
}

/** How accounts come into the pool, whoever brings them. Every call throws PoolError. */
export interface Adding {
  /**
   * Stores a new account and finds out whether it works: an API key is probed first; a refresh token is stored, turned
   * into a bearer (as far as that takes no longer than 10 s) and then probed. Answers however that went: see the
   * standing. Throws `account_exists`, and `invalid_request` for a credential its provider cannot have.
   */
  insert(
    added: AddedAccount,
    credential: GivenCredential,
    actor: string,
    isStandby: boolean,
  ): Promise<StoredAccount>;
  /** The credential in its canonical form; throws `invalid_request`. */
  check(provider: string, credential: GivenCredential): GivenCredential;
  /** Throws `invalid_request` for a team where the provider's accounts have none. */
  checkTeam(provider: string, teamUid: string | null | undefined): void;
  /** What replaces an account's credential in `changeAccount`; throws when it is another account's, or of another kind. */
  replacement(
    account: StoredAccount,
    credential: GivenCredential,
  ): Promise<NonNullable<Parameters<PoolContext['store']['changeAccount']>[2]['credential']>>;
  /**
   * A fresh start: of an API key after a probe, of a refresh token before its next refresh; then call `bringUp`.
   * `isStandby`: an account that works goes into standby.
   */
  freshStart(
    account: StoredAccount,
    credential: GivenCredential | null,
    options?: { readonly isStandby: boolean },
  ): Promise<StandingChange>;
  /** Gets a refresh-token account its bearer and probes it. Other accounts are answered as they are. */
  bringUp(account: StoredAccount, actor: string): Promise<StoredAccount>;
}

const firstRefreshMs = 10_000;
const probeLimitMs = 5_000;

export function createAdding(context: PoolContext, onRealAccount: () => Promise<void>): Adding {
  const { store, clock, vault } = context;

  const holderOf = (provider: string, secret: string): Promise<StoredAccount | null> =>
    store.accountOfCredential(clock.now(), provider, vault.fingerprint(provider, secret));

  const bearerGiven = (id: string, credential: GivenCredential) => {
    if (credential.kind === 'api_key' || credential.grant === undefined) return {};
    const { bearer, expiresAt } = credential.grant;
    const issuedAt = clock.now();
    const times = { issuedAt, expiresAt, opensAt: issuedAt, isLastUsable: false, random: context.random };
    return {
      bearer: { sealed: vault.seal(id, bearerField, bearer), expiresAt },
      nextRefreshAt: nextRefreshAfter(times),
    };
  };

  const check: Adding['check'] = (providerName, credential) => {
    // It may be refused in words that repeat it.
    context.secrets.use(secretOf(credential));
    const provider = providerNamed(context, providerName);
    if (credential.kind === 'api_key') return { ...credential, key: normalized(provider, credential.key) };
    if (provider.tokens === undefined) {
      throw new PoolError(
        'invalid_request',
        provider.missing?.tokens ?? `Provider "${providerName}" knows no refresh tokens: give api_key.`,
        { param: 'refresh_token' },
      );
    }
    const refreshToken = credential.refreshToken.trim();
    if (refreshToken === '') {
      throw new PoolError('invalid_request', '"refresh_token" is empty.', { param: 'refresh_token' });
    }
    return { ...credential, refreshToken };
  };

  const checkTeam: Adding['checkTeam'] = (providerName, teamUid) => {
    if (teamUid === null || teamUid === undefined) return;
    const { hasTeams } = providerNamed(context, providerName);
    if (hasTeams) return;
    const message = `Accounts of "${providerName}" have no teams: leave team_uid out.`;
    throw new PoolError('invalid_request', message, { param: 'team_uid' });
  };

  const addRow = async (account: NewStoredAccount, actor: string): Promise<StoredAccount> => {
    const result = await store.addAccount(clock.now(), account, actor);
    if (result.result === 'duplicate') throw accountExists({ ...account, id: result.id });
    await onRealAccount();
    context.tell(result.changes);
    return result.account;
  };

  /** Standby accounts are not judged by outcomes, so what the probe says is written for them. */
  const probeStandby = async (account: StoredAccount, actor: string): Promise<StoredAccount> => {
    const finding = await context.probe(account.id, account.provider, providerAccountOf(context, account));
    const proof = proved(finding, clock.now());
    const standing = inStandby(proof.standing);
    const audit = { actor, action: 'account-probed', detail: { status: standing.state } };
    const result = await store.changeAccount(
      clock.now(),
      account.id,
      { standing: { ...proof, standing } },
      audit,
    );
    if (result === null) return account;
    context.tell(result.changes);
    return result.account;
  };

  const bringUp: Adding['bringUp'] = async (account, actor) => {
    if (account.credentialKind === 'api_key') return account;
    const isOut = (one: StoredAccount): boolean =>
      one.standing.state === 'disabled' || one.standing.state === 'reauth_required';
    if (isOut(account)) return account;
    const present = hasBearer(account, clock.now())
      ? account
      : ((await context.refreshSoon(account.id, { force: false, actor }, firstRefreshMs)) ?? account);
    if (isOut(present) || !hasBearer(present, clock.now())) return present;
    if (present.standing.state === 'standby') return probeStandby(present, actor);
    return (await context.checkQuota(present, 'proof', probeLimitMs)) ?? present;
  };

  return {
    check,
    checkTeam,
    bringUp,

    async insert(added, given, actor, isStandby) {
      const { provider, settings, source, sourceHandle } = added;
      const credential = check(provider, given);
      checkTeam(provider, settings.teamUid);
      const secret = secretOf(credential);
      const present = await holderOf(provider, secret);
      if (present !== null) throw accountExists(present, settings.teamUid);
      const id = `acc_${randomUUID()}`;
      const proof =
        credential.kind === 'api_key'
          ? proved(await context.probe(id, provider, withTeam(secret, settings.teamUid)), clock.now())
          : unproved;
      const account = await addRow(
        {
          ...settings,
          ...proof,
          standing: isStandby ? inStandby(proof.standing) : proof.standing,
          id,
          provider,
          source,
          credentialKind: credential.kind,
          credential: context.credentialOf(id, provider, secret),
          ...bearerGiven(id, credential),
          ...(sourceHandle === undefined ? {} : { sourceHandle }),
        },
        actor,
      );
      return bringUp(account, actor);
    },

    async replacement(account, given) {
      if (given.kind !== account.credentialKind) {
        const field = account.credentialKind;
        throw new PoolError(
          'invalid_request',
          `This account has ${field === 'api_key' ? 'an API key' : 'a refresh token'}: give ${field}.`,
          { param: given.kind },
        );
      }
      const secret = secretOf(given);
      const present = await holderOf(account.provider, secret);
      if (present !== null && present.id !== account.id) throw accountExists(present);
      return {
        ...context.credentialOf(account.id, account.provider, secret),
        ...bearerGiven(account.id, given),
      };
    },

    async freshStart(account, credential, { isStandby } = { isStandby: false }) {
      const inPlace = (change: StandingChange): StandingChange =>
        isStandby ? { ...change, standing: inStandby(change.standing) } : change;
      if (account.credentialKind === 'refresh_token') return inPlace(unproved);
      const as =
        credential === null
          ? providerAccountOf(context, account)
          : withTeam(secretOf(credential), account.teamUid);
      return inPlace(proved(await context.probe(account.id, account.provider, as), clock.now()));
    },
  };
}

/** Before anybody could be asked. */
const unproved: StandingChange = {
  standing: freshStanding,
  probe: 'unproved',
  quota: null,
  nextCheckAt: null,
};

/** How an account stands after its first question to the provider. */
function proved(finding: QuotaFinding, now: number): StandingChange {
  const standing = applyQuota(freshStanding, finding, 'proof', now);
  const probe = finding.type === 'answer' ? 'proved' : 'unproved';
  const isDoubtful = probe === 'unproved' && standing.state === 'active';
  return {
    standing,
    probe,
    quota: finding.type === 'answer' ? quotaFrom(finding.answer, now) : null,
    nextCheckAt: isDoubtful ? nextProof(0, now) : nextQuotaCheck(standing, 0, now),
  };
}

function inStandby(standing: StandingChange['standing']): StandingChange['standing'] {
  return standing.state === 'active' ? { ...standing, state: 'standby' } : standing;
}

export function secretOf(credential: GivenCredential): string {
  return credential.kind === 'api_key' ? credential.key : credential.refreshToken;
}

function providerNamed(context: PoolContext, name: string): Provider {
  const provider = context.providers.get(name);
  if (provider !== undefined) return provider;
  const known = [...context.providers.keys()].join(', ');
  throw new PoolError('invalid_request', `There is no provider "${name}"; known are: ${known}.`, {
    param: 'provider',
  });
}

function normalized(provider: Provider, key: string): string {
  try {
    return provider.normalizeApiKey(key);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new PoolError('invalid_request', error.message, { cause: error, param: 'api_key' });
  }
}

function withTeam(bearer: string, teamUid: string | null): ProviderAccount {
  return { bearer, teamUid: teamUid ?? undefined };
}

/** One credential is one account, whichever team it bills: both would be refused, limited and refreshed together. */
function accountExists(
  present: Pick<StoredAccount, 'id' | 'credentialKind' | 'teamUid'>,
  teamUid: string | null = present.teamUid,
): PoolError {
  const advice =
    teamUid === present.teamUid ? '' : ' Change its team_uid, or create a second key for the other team.';
  const message = `The pool has this credential already, as account ${present.id}.${advice}`;
  return new PoolError('account_exists', message, { param: present.credentialKind });
}
