import { randomUUID } from 'node:crypto';
import { AppError } from '../../core/errors.ts';
import type { Provider, ProviderAccount } from '../../core/provider.ts';
import { type OnRefusal, onlyOneCredential } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { ImportedAccount } from '../../pool-api/import-format.ts';
import { refusalOf } from '../../pool-api/readiness.ts';
import type { Basics } from '../base/basics.ts';
import { presentStanding } from '../base/present.ts';
import type { LendingStore } from '../lending/lending-store.ts';
import { applyQuota, freshStanding, nextProof, nextQuotaCheck } from '../standing/account-state.ts';
import { isOutOfService } from '../standing/standing.ts';
import { quotaFrom } from '../store/rules/rows.ts';
import type { AccountSettings, NewCredential, StandingChange, StoredAccount } from '../store/store.ts';
import { nextRefreshAfter, type Refresher } from '../tokens/refresh.ts';
import { hasBearer } from '../vault/vault.ts';
import type { Quota } from './quota.ts';
import { removeAccount } from './removal.ts';

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
  readonly sourceHandle?: string | undefined;
}

interface AddOptions {
  /** One that works goes into standby. */
  readonly isStandby?: boolean | undefined;
  /** With `reject` throws `credential_refused` for a credential that its provider refuses. */
  readonly onRefusal?: OnRefusal | undefined;
}

const firstRefreshMs = 10_000;
const probeLimitMs = 5_000;

/** How accounts come into the pool, whatever brings them. Every call throws PoolError. */
export class Adding {
  readonly #basics: Basics;
  readonly #quota: Quota;
  readonly #refresher: Refresher;
  readonly #lending: LendingStore;

  constructor(basics: Basics, quota: Quota, refresher: Refresher, lending: LendingStore) {
    this.#basics = basics;
    this.#quota = quota;
    this.#refresher = refresher;
    this.#lending = lending;
  }

  /**
   * Stores a new account and finds out whether it works: an API key is probed first; a refresh token is stored, turned
   * into a bearer (as far as that takes no longer than 10 s) and then probed. Answers however that went: see the
   * standing. Throws `account_exists`, `invalid_request` for a credential its provider cannot have, and with `reject`
   * `credential_refused` for one that its provider refuses, which is not kept then.
   */
  async insert(added: AddedAccount, given: GivenCredential, actor: string, options: AddOptions = {}) {
    const { isStandby = false, onRefusal = 'keep' } = options;
    const { store, clock, credentials } = this.#basics;
    const { provider, settings, source, sourceHandle } = added;
    const credential = this.check(provider, given);
    this.checkTeam(provider, settings.teamUid);
    const secret = secretOf(credential);
    const present = await this.holderOf(provider, credential);
    if (present !== null) throw accountExists(present, settings.teamUid);
    const id = `acc_${randomUUID()}`;
    const { kind } = credential;
    const proof =
      kind === 'api_key' ? await this.#prove({ id, provider }, withTeam(secret, settings.teamUid)) : unproved;
    if (proof.standing.state === 'reauth_required' && onRefusal === 'reject') {
      const refused = { ...proof, provider, credentialKind: kind };
      throw credentialRefused(refused, `The account was not added ${unlessKept}.`);
    }
    const isOnTrial = onRefusal === 'reject' && kind === 'refresh_token';
    const result = await store.addAccount(
      clock.now(),
      {
        ...settings,
        ...proof,
        standing: isStandby ? inStandby(proof.standing) : proof.standing,
        id,
        provider,
        source,
        credentialKind: kind,
        credential: credentials.seal(id, provider, secret),
        ...this.#bearerGiven(id, credential),
        sourceHandle,
      },
      actor,
    );
    const { teamUid } = settings;
    if (result.result === 'duplicate') throw accountExists({ id: result.id, credentialKind: kind, teamUid });
    const { account } = result;
    if (isOnTrial) return this.#bringUpOnTrial(account, actor);
    await this.#lending.endSandbox();
    return this.bringUp(account, actor);
  }

  /** The account with this credential, in its canonical form. */
  holderOf(provider: string, credential: GivenCredential): Promise<StoredAccount | null> {
    const { store, clock, credentials } = this.#basics;
    const fingerprint = credentials.fingerprint(provider, secretOf(credential));
    return store.accountOfCredential(clock.now(), provider, fingerprint);
  }

  /** The credential in its canonical form; throws `invalid_request`. */
  check(providerName: string, credential: GivenCredential): GivenCredential {
    // It may be refused in words that repeat it.
    this.#basics.secrets.use(secretOf(credential));
    const provider = providerNamed(this.#basics, providerName);
    if (credential === noCredential) {
      if (provider.takesNoKey) return credential;
      const message = `"api_key" is not valid: ${onlyOneCredential}.`;
      throw new PoolError('invalid_request', message, { param: 'api_key' });
    }
    if (credential.kind === 'api_key') return { ...credential, key: normalized(provider, credential.key) };
    const param = 'refresh_token';
    if (provider.tokens === undefined) {
      const usual = `Provider "${providerName}" knows no refresh tokens: give api_key.`;
      throw new PoolError('invalid_request', provider.missing?.tokens ?? usual, { param });
    }
    const refreshToken = credential.refreshToken.trim();
    if (refreshToken === '') throw new PoolError('invalid_request', '"refresh_token" is empty.', { param });
    return { ...credential, refreshToken };
  }

  /** Throws `invalid_request` for a team where the provider's accounts have none. */
  checkTeam(providerName: string, teamUid: string | null | undefined): void {
    if (teamUid === null || teamUid === undefined) return;
    if (providerNamed(this.#basics, providerName).hasTeams) return;
    const message = `Accounts of "${providerName}" have no teams: leave team_uid out.`;
    throw new PoolError('invalid_request', message, { param: 'team_uid' });
  }

  /** Why this cannot be an account of its provider, without asking it; null when it may be one. */
  faultOf(account: ImportedAccount): string | null {
    try {
      this.check(account.provider, credentialIn(account));
      this.checkTeam(account.provider, account.team_uid);
      return null;
    } catch (error) {
      if (error instanceof PoolError) return this.#basics.secrets.redact(error.message);
      throw error;
    }
  }

  /** What replaces an account's credential in `changeAccount`; throws when it is another account's, or of another kind. */
  async replacement(account: StoredAccount, given: GivenCredential): Promise<NewCredential> {
    const { id, provider, credentialKind } = account;
    if (given.kind !== credentialKind) {
      const has = credentialKind === 'api_key' ? 'an API key' : 'a refresh token';
      const message = `This account has ${has}: give ${credentialKind}.`;
      throw new PoolError('invalid_request', message, { param: given.kind });
    }
    const present = await this.holderOf(provider, given);
    if (present !== null && present.id !== id) throw accountExists(present);
    const { credentials } = this.#basics;
    return { ...credentials.seal(id, provider, secretOf(given)), ...this.#bearerGiven(id, given) };
  }

  /**
   * A fresh start: of an API key after a probe, of a refresh token before its next refresh; then call `bringUp`. With
   * `reject` throws `credential_refused` for a refused key.
   */
  async freshStart(
    account: StoredAccount,
    credential: GivenCredential | null,
    { isStandby = false, onRefusal = 'keep' }: AddOptions = {},
  ): Promise<StandingChange> {
    const inPlace = (change: StandingChange): StandingChange =>
      isStandby ? { ...change, standing: inStandby(change.standing) } : change;
    if (account.credentialKind === 'refresh_token') return inPlace(unproved);
    const as =
      credential === null
        ? this.#basics.credentials.providerAccount(account)
        : withTeam(secretOf(credential), account.teamUid);
    const proof = await this.#prove(account, as);
    if (credential && proof.standing.state === 'reauth_required' && onRefusal === 'reject')
      throw credentialRefused({ ...account, ...proof }, `The account keeps the one it has ${unlessKept}.`);
    return inPlace(proof);
  }

  /**
   * Gets a refresh-token account its bearer and probes it. Other accounts are answered as they are. With `reject` throws
   * `credential_refused` for one that its provider refuses, which is kept.
   */
  async bringUp(account: StoredAccount, actor: string, onRefusal: OnRefusal = 'keep') {
    if (account.credentialKind === 'api_key') return account;
    const proven = await this.#probeBearer(await this.#withBearer(account, actor), actor);
    if (onRefusal === 'keep' || !isOutOfService(proven.standing)) return proven;
    throw credentialRefused(
      proven,
      'The account has it in place of the former one and needs one that works.',
    );
  }

  /**
   * A refresh token can be tried only once it is stored. A refused one goes again; after a refresh that worked the pool may
   * have the only copy of the next token, so that such an account is kept whatever is wrong with it.
   */
  async #bringUpOnTrial(account: StoredAccount, actor: string): Promise<StoredAccount> {
    const present = await this.#withBearer(account, actor);
    if (isOutOfService(present.standing)) {
      await removeAccount(this.#basics, account.id, actor);
      throw credentialRefused(present, `The account was not added ${unlessKept}.`);
    }
    await this.#lending.endSandbox();
    const proven = await this.#probeBearer(present, actor);
    if (!isOutOfService(proven.standing)) return proven;
    const kept = `Its refresh token has been exchanged for another one already, so it is kept as account ${account.id}.`;
    throw credentialRefused(proven, kept);
  }

  async #withBearer(account: StoredAccount, actor: string): Promise<StoredAccount> {
    if (isOutOfService(account.standing) || hasBearer(account, this.#basics.clock.now())) return account;
    const present = await this.#refresher.refreshSoon(account.id, { force: false, actor }, firstRefreshMs);
    return present ?? account;
  }

  async #probeBearer(account: StoredAccount, actor: string): Promise<StoredAccount> {
    if (isOutOfService(account.standing) || !hasBearer(account, this.#basics.clock.now())) return account;
    if (account.standing.state === 'standby') return this.#probeStandby(account, actor);
    return (await this.#quota.check(account, 'proof', probeLimitMs)) ?? account;
  }

  /** Standby accounts are not judged by outcomes, so what the probe says is written for them. */
  async #probeStandby(account: StoredAccount, actor: string): Promise<StoredAccount> {
    const { store, clock, credentials } = this.#basics;
    const proof = await this.#prove(account, credentials.providerAccount(account));
    const standing = inStandby(proof.standing);
    const audit = { actor, action: 'account-probed', detail: { status: standing.state } };
    const change = { standing: { ...proof, standing } };
    const result = await store.changeAccount(clock.now(), account.id, change, audit);
    return result === null ? account : result.account;
  }

  /** How an account stands after its first question to the provider. */
  async #prove(
    account: Pick<StoredAccount, 'id' | 'provider'>,
    as: ProviderAccount,
  ): Promise<StandingChange> {
    const finding = await this.#quota.probe(account, as);
    const now = this.#basics.clock.now();
    const standing = applyQuota(freshStanding, finding, 'proof', now);
    if (finding.type === 'answer') {
      const quota = quotaFrom(finding.answer, now);
      return { standing, probe: 'proved', quota, nextCheckAt: nextQuotaCheck(standing, 0, now) };
    }
    const nextCheckAt = standing.state === 'active' ? nextProof(0, now) : nextQuotaCheck(standing, 0, now);
    return { standing, probe: 'unproved', quota: null, nextCheckAt };
  }

  #bearerGiven(id: string, credential: GivenCredential) {
    if (credential.kind === 'api_key' || credential.grant === undefined) return {};
    const { clock, credentials, random } = this.#basics;
    const { bearer, expiresAt } = credential.grant;
    const issuedAt = clock.now();
    const token = { issuedAt, expiresAt, opensAt: issuedAt, isLastUsable: false, random };
    return {
      bearer: credentials.sealBearer(id, bearer, expiresAt),
      nextRefreshAt: nextRefreshAfter(token),
    };
  }
}

/** Before its provider could be asked. */
const unproved: StandingChange = {
  standing: freshStanding,
  probe: 'unproved',
  quota: null,
  nextCheckAt: null,
};

const unlessKept = '(--keep, or "on_refusal": "keep" over HTTP, does it anyway)';

function credentialRefused(
  account: Pick<StoredAccount, 'provider' | 'credentialKind' | 'standing'> & Partial<StoredAccount>,
  outcome: string,
): PoolError {
  const { credentialKind, provider, standing } = account;
  const kind = credentialKind === 'api_key' ? 'API key' : 'refresh token';
  const why = refusalOf(presentStanding(standing, account.refreshFailure ?? null));
  const advice = `Check that it is whole, still valid, and one of ${provider}.`;
  const message = `${provider} refuses this ${kind}: ${why}. ${outcome} ${advice}`;
  return new PoolError('credential_refused', message, { param: credentialKind });
}

function inStandby(standing: StandingChange['standing']): StandingChange['standing'] {
  return standing.state === 'active' ? { ...standing, state: 'standby' } : standing;
}

/** Of an account that has none. */
const noCredential: GivenCredential = { kind: 'api_key', key: '' };

/** The credential of an account that a request or a line gives. */
export function credentialIn(given: Pick<ImportedAccount, 'api_key' | 'refresh_token'>): GivenCredential {
  if (given.api_key !== undefined) return { kind: 'api_key', key: given.api_key };
  if (given.refresh_token !== undefined) return { kind: 'refresh_token', refreshToken: given.refresh_token };
  return noCredential;
}

export function secretOf(credential: GivenCredential): string {
  return credential.kind === 'api_key' ? credential.key : credential.refreshToken;
}

function providerNamed({ providers }: Basics, name: string): Provider {
  const provider = providers.get(name);
  if (provider !== undefined) return provider;
  const known = [...providers.keys()].join(', ');
  throw new PoolError(
    'invalid_request',
    `There is no provider "${name}"; known are: ${known}. Others, and Azure OpenAI, are entries of providers in warp2api.yaml.`,
    { param: 'provider' },
  );
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
  const state =
    standing && isOutOfService(standing)
      ? ` It is ${standing.state}: "warp2api account enable ${id}" tries it again.`
      : '';
  const message = `The pool has this credential already, as account ${id}.${state}${advice}`;
  return new PoolError('account_exists', message, { param: present.credentialKind });
}
