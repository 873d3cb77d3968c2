import { randomUUID } from 'node:crypto';
import { AppError } from '../core/errors.ts';
import type { Provider } from '../core/provider.ts';
import { PoolError } from '../pool-api/errors.ts';
import {
  type Account,
  type AccountAnswer,
  type AccountDetailsAnswer,
  accountChange,
  defaultCapacity,
  type ListAnswer,
  listQuery,
  newAccount,
} from '../pool-api/schema.ts';
import { applyQuota, freshStanding, nextProof, nextQuotaCheck, type QuotaFinding } from './account-state.ts';
import { parse } from './parse.ts';
import { bearerOf, type Caller, credentialField, type PoolContext } from './pool-context.ts';
import { isoTime, lendableNow, presentAccount } from './present.ts';
import { removeFromPool } from './removal.ts';
import { quotaFrom } from './store/quota-row.ts';
import type {
  AccountFilter,
  AccountSettings,
  Credential,
  StandingChange,
  StoredAccount,
} from './store/store.ts';

/** What owners do with accounts. Every call throws PoolError. No answer ever holds a credential. */
export interface Accounts {
  add(caller: Caller, request: unknown): Promise<AccountAnswer>;
  list(query: unknown): Promise<ListAnswer>;
  get(id: string): Promise<AccountDetailsAnswer>;
  change(caller: Caller, id: string, request: unknown): Promise<AccountAnswer>;
  remove(caller: Caller, id: string): Promise<{ readonly success: true }>;
  /**
   * Adds or updates the one account that the environment names. What its owner disabled or removed stays so until
   * the key changes; then null is answered when there is none.
   */
  ensureEnvAccount(provider: string, key: string): Promise<Account | null>;
}

const environment = 'environment';
const longEnoughToHint = 20;

export function createAccounts(context: PoolContext, onRealAccount: () => Promise<void>): Accounts {
  const { store, clock, vault } = context;

  const credentialOf = (id: string, provider: string, key: string): Credential => ({
    sealed: vault.seal(id, credentialField, key),
    fingerprint: vault.fingerprint(provider, key),
    hint: key.length >= longEnoughToHint ? key.slice(-4) : '****',
  });

  const insert = async (
    added: { readonly provider: string; readonly source: string; readonly settings: AccountSettings },
    key: string,
    actor: string,
    isStandby: boolean,
  ): Promise<StoredAccount> => {
    const { provider, settings, source } = added;
    const present = await store.accountOfCredential(clock.now(), provider, vault.fingerprint(provider, key));
    if (present !== null) throw accountExists(present.id);
    const id = `acc_${randomUUID()}`;
    const proof = proved(await context.probe(id, provider, key), clock.now());
    const standing =
      isStandby && proof.standing.state === 'active'
        ? { ...proof.standing, state: 'standby' as const }
        : proof.standing;
    const result = await store.addAccount(
      clock.now(),
      {
        ...settings,
        ...proof,
        standing,
        id,
        provider,
        source,
        credentialKind: 'api_key',
        credential: credentialOf(id, provider, key),
      },
      actor,
    );
    if (result.result === 'duplicate') throw accountExists(result.id);
    await onRealAccount();
    context.tell(result.changes);
    return result.account;
  };

  const mustHave = async (id: string): Promise<StoredAccount> => {
    const account = await store.account(clock.now(), id);
    if (account === null) throw accountNotFound(id);
    return account;
  };

  return {
    async add(caller, request) {
      const demand = parse(newAccount, request);
      const provider = providerNamed(context, demand.provider);
      if (demand.api_key === undefined) {
        throw new PoolError(
          'invalid_request',
          'Accounts with a refresh token are not supported yet: give api_key.',
          { param: 'refresh_token' },
        );
      }
      const key = normalized(provider, demand.api_key);
      const settings: AccountSettings = {
        email: demand.email ?? null,
        label: demand.label ?? null,
        capacity: demand.capacity ?? defaultCapacity,
        models: demand.models ?? null,
        free: demand.free ?? false,
        lend: demand.lend ?? 'any',
        tier: demand.tier ?? 0,
      };
      const added = { provider: demand.provider, source: 'api', settings };
      const account = await insert(added, key, caller.keyId, demand.standby ?? false);
      return { success: true, account: presentAccount(account) };
    },

    async list(query) {
      const { limit, after, status, ...filters } = parse(listQuery, query ?? {});
      const start = after === undefined ? undefined : Number(after);
      if (start !== undefined && !(Number.isSafeInteger(start) && start >= 0)) {
        throw new PoolError('invalid_request', '"after" must be the next_after of the page before.', {
          param: 'after',
        });
      }
      const page = await store.accounts(clock.now(), {
        limit,
        ...definedOnly<Omit<AccountFilter, 'limit'>>(filters),
        ...(status === undefined ? {} : { state: status }),
        ...(start === undefined ? {} : { after: start }),
      });
      return {
        success: true,
        accounts: page.accounts.map(presentAccount),
        total: page.total,
        next_after: page.nextAfter === null ? null : String(page.nextAfter),
      };
    },

    async get(id) {
      const account = await mustHave(id);
      const { freeQuotaSpent } = await store.stats(clock.now());
      const skips = context.skips.of(id);
      return {
        success: true,
        account: {
          ...presentAccount(account),
          lendable: lendableNow(account, freeQuotaSpent),
          last_skips: skips.map(({ at, reason, sessionId }) => ({
            at: isoTime(at),
            reason,
            session_id: sessionId,
          })),
        },
      };
    },

    async change(caller, id, request) {
      const { enabled, ...settings } = parse(accountChange, request);
      const before = await mustHave(id);
      let standing: StandingChange | undefined;
      if (enabled === true) {
        standing = proved(await context.probe(id, before.provider, bearerOf(context, before)), clock.now());
      } else if (enabled === false) {
        standing = {
          standing: { ...freshStanding, state: 'disabled', reason: 'owner' },
          probe: before.probe,
          quota: null,
          nextCheckAt: null,
        };
      }
      const result = await store.changeAccount(
        clock.now(),
        id,
        { settings: definedOnly<AccountSettings>(settings), ...(standing === undefined ? {} : { standing }) },
        {
          actor: caller.keyId,
          action: 'account-changed',
          detail: { ...settings, ...(enabled === undefined ? {} : { enabled }) },
        },
      );
      if (result === null) throw accountNotFound(id);
      context.tell(result.changes);
      return { success: true, account: presentAccount(result.account) };
    },

    async remove(caller, id) {
      if ((await removeFromPool(context, id, caller.keyId)) === null) throw accountNotFound(id);
      return { success: true };
    },

    async ensureEnvAccount(providerName, givenKey) {
      const key = normalized(providerNamed(context, providerName), givenKey);
      const fingerprint = vault.fingerprint(providerName, key);
      const noteName = `env_account:${providerName}`;
      const note = envNoteFrom(await store.remembered(noteName));
      const former = note === undefined ? null : await store.account(clock.now(), note.id);
      if (note?.fingerprint === fingerprint) return former && presentAccount(former);

      const present = await store.accountOfCredential(clock.now(), providerName, fingerprint);
      let account = present;
      if (account === null && former !== null) {
        const proof = proved(await context.probe(former.id, providerName, key), clock.now());
        const result = await store.changeAccount(
          clock.now(),
          former.id,
          { credential: credentialOf(former.id, providerName, key), standing: proof },
          { actor: environment, action: 'credential-replaced', detail: { source: 'env' } },
        );
        if (result !== null) context.tell(result.changes);
        account = result?.account ?? null;
      }
      if (account === null) {
        const added = { provider: providerName, source: 'env', settings: defaultSettings };
        account = await insert(added, key, environment, false);
      }
      await store.remember(noteName, JSON.stringify({ fingerprint, id: account.id }));
      return presentAccount(account);
    },
  };
}

const defaultSettings: AccountSettings = {
  email: null,
  label: null,
  capacity: defaultCapacity,
  models: null,
  free: false,
  lend: 'any',
  tier: 0,
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

type Optional<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** Fields left out are not the same as fields set to nothing. */
function definedOnly<T extends object>(fields: Optional<T>): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function envNoteFrom(text: string | null): { readonly fingerprint: string; readonly id: string } | undefined {
  return text === null ? undefined : (JSON.parse(text) as { fingerprint: string; id: string });
}

function accountExists(id: string): PoolError {
  return new PoolError('account_exists', `The pool has this credential already, as account ${id}.`, {
    param: 'api_key',
  });
}

function accountNotFound(id: string): PoolError {
  return new PoolError('account_not_found', `There is no account "${id}".`, { param: 'id' });
}
