import { randomUUID } from 'node:crypto';
import { AppError } from '../core/errors.ts';
import type { Provider, ProviderAccount } from '../core/provider.ts';
import { PoolError } from '../pool-api/errors.ts';
import { refusalOf } from '../pool-api/refusal.ts';
import type { OnRefusal } from '../pool-api/schema.ts';
import { applyQuota, freshStanding, nextProof, nextQuotaCheck, type QuotaFinding } from './account-state.ts';
import { bearerField, hasBearer, type PoolContext, providerAccountOf } from './pool-context.ts';
import { presentStanding } from './present.ts';
import { nextRefreshAfter } from './refresh-times.ts';
import { removeFromPool } from './removal.ts';
import { quotaFrom } from './store/quota.ts';
import type { AccountSettings, NewStoredAccount, StandingChange, StoredAccount } from './store/store.ts';

/** What an account is known by at its provider. */
export type GivenCredential =
  | { readonly kind: 'api_key'; readonly key: string }
  | {
      readonly kind: 'refresh_token';
      readonly refreshToken: string;
      /** What a login has just brought along with it: saves the first refresh. */
      readonly grant?: { readonly bearer: string; readonly expiresAt: number };
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
   * standing. Throws `account_exists`, `invalid_request` for a credential its provider cannot have, and with `reject`
   * `credential_refused` for one that its provider refuses, which is not kept then.
   */
  insert(
    added: AddedAccount,
    credential: GivenCredential,
    actor: string,
    options?: { readonly isStandby?: boolean | undefined; readonly onRefusal?: OnRefusal | undefined },
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
   * `isStandby`: an account that works goes into standby. With `reject` throws `credential_refused` for a refused key.
   */
  freshStart(
    account: StoredAccount,
    credential: GivenCredential | null,
    options?: { readonly isStandby?: boolean; readonly onRefusal?: OnRefusal | undefined },
  ): Promise<StandingChange>;
  /**
   * Gets a refresh-token account its bearer and probes it. Other accounts are answered as they are. With `reject` throws
   * `credential_refused` for one that its provider refuses, which is kept.
   */
  bringUp(account: StoredAccount, actor: string, onRefusal?: OnRefusal | undefined): Promise<StoredAccount>;
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

  const addRow = async (
    account: NewStoredAccount,
    actor: string,
    isOnTrial: boolean,
  ): Promise<StoredAccount> => {
    const result = await store.addAccount(clock.now(), account, actor);
    if (result.result === 'duplicate')
      throw accountExists({
        id: result.id,
        credentialKind: account.credentialKind,
        teamUid: account.teamUid,
      });
    if (!isOnTrial) await onRealAccount();
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

  const withBearer = async (account: StoredAccount, actor: string): Promise<StoredAccount> => {
    if (isOut(account) || hasBearer(account, clock.now())) return account;
    const present = await context.refreshSoon(account.id, { force: false, actor }, firstRefreshMs);
    return present ?? account;
  };

  const probeBearer = async (account: StoredAccount, actor: string): Promise<StoredAccount> => {
    if (isOut(account) || !hasBearer(account, clock.now())) return account;
    if (account.standing.state === 'standby') return probeStandby(account, actor);
    return (await context.checkQuota(account, 'proof', probeLimitMs)) ?? account;
  };

  const bringUp: Adding['bringUp'] = async (account, actor, onRefusal = 'keep') => {
    if (account.credentialKind === 'api_key') return account;
    const proven = await probeBearer(await withBearer(account, actor), actor);
    if (onRefusal === 'keep' || !isOut(proven)) return proven;
    throw credentialRefused(
      proven,
      'The account has it in place of the former one and needs one that works.',
    );
  };

  /**
   * A refresh token can be tried only once it is stored. A refused one goes again; after a refresh that worked the pool may
   * have the only copy of the next token, so that such an account is kept whatever is wrong with it.
   */
  const bringUpOnTrial = async (account: StoredAccount, actor: string): Promise<StoredAccount> => {
    const present = await withBearer(account, actor);
    if (isOut(present)) {
      await removeFromPool(context, account.id, actor);
      throw credentialRefused(present, `The account was not added ${unlessKept}.`);
    }
    await onRealAccount();
    const proven = await probeBearer(present, actor);
    if (!isOut(proven)) return proven;
    const kept = `Its refresh token has been exchanged for another one already, so it is kept as account ${account.id}.`;
    throw credentialRefused(proven, kept);
  };

  return {
    check,
    checkTeam,
    bringUp,

    async insert(added, given, actor, { isStandby = false, onRefusal = 'keep' } = {}) {
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
      const { kind } = credential;
      const { state } = proof.standing;
      if (state === 'reauth_required' && onRefusal === 'reject')
        throw credentialRefused(
          { ...proof, provider, credentialKind: kind },
          `The account was not added ${unlessKept}.`,
        );
      const isOnTrial = onRefusal === 'reject' && kind === 'refresh_token';
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
        isOnTrial,
      );
      return isOnTrial ? bringUpOnTrial(account, actor) : bringUp(account, actor);
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

    async freshStart(account, credential, { isStandby = false, onRefusal = 'keep' } = {}) {
      const inPlace = (change: StandingChange): StandingChange =>
        isStandby ? { ...change, standing: inStandby(change.standing) } : change;
      if (account.credentialKind === 'refresh_token') return inPlace(unproved);
      const as =
        credential === null
          ? providerAccountOf(context, account)
          : withTeam(secretOf(credential), account.teamUid);
      const proof = proved(await context.probe(account.id, account.provider, as), clock.now());
      if (credential && proof.standing.state === 'reauth_required' && onRefusal === 'reject')
        throw credentialRefused({ ...account, ...proof }, `The account keeps the one it has ${unlessKept}.`);
      return inPlace(proof);
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

function isOut({ standing }: StoredAccount): boolean {
  return standing.state === 'disabled' || standing.state === 'reauth_required';
}

const unlessKept = '(--keep, or "on_refusal": "keep" over HTTP, does it anyway)';

function credentialRefused(
  account: Pick<StoredAccount, 'provider' | 'credentialKind' | 'standing'> & Partial<StoredAccount>,
  outcome: string,
): PoolError {
  const { credentialKind, provider, standing } = account;
  const kind = credentialKind === 'api_key' ? 'API key' : 'refresh token';
  const why = refusalOf(presentStanding(standing, account.refreshFailure ?? null));
  const advice = `Check that it is whole, still valid, and one of ${provider}.`;
  return new PoolError(
    'credential_refused',
    `${provider} refuses this ${kind}: ${why}. ${outcome} ${advice}`,
    {
      param: credentialKind,
    },
  );
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
  present: Pick<StoredAccount, 'id' | 'credentialKind' | 'teamUid'> & Partial<StoredAccount>,
  teamUid: string | null = present.teamUid,
): PoolError {
  const advice =
    teamUid === present.teamUid ? '' : ' Change its team_uid, or create a second key for the other team.';
  const { id, standing } = present;
  const isOutOfService = standing?.state === 'reauth_required' || standing?.state === 'disabled';
  const state = isOutOfService
    ? ` It is ${standing.state}: "warp2api account enable ${id}" tries it again.`
    : '';
  const message = `The pool has this credential already, as account ${id}.${state}${advice}`;
  return new PoolError('account_exists', message, { param: present.credentialKind });
}
