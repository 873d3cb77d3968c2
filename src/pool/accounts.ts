import { givenFields } from '../core/null-fields.ts';
import { PoolError } from '../pool-api/errors.ts';
import {
  type Account,
  type AccountAnswer,
  type AccountDetailsAnswer,
  accountChange,
  type ListAnswer,
  listQuery,
  newAccount,
} from '../pool-api/schema.ts';
import { defaultSettings, settingsOf } from './account-settings.ts';
import { freshStanding } from './account-state.ts';
import { type Adding, type GivenCredential, secretOf } from './adding.ts';
import { parse } from './parse.ts';
import type { Caller, PoolContext } from './pool-context.ts';
import { isoTime, lendableNow, presentAccount } from './present.ts';
import { removeFromPool } from './removal.ts';
import type { AccountFilter, AccountSettings, StandingChange, StoredAccount } from './store/store.ts';

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

export function createAccounts(context: PoolContext, adding: Adding): Accounts {
  const { store, clock, vault } = context;

  const mustHave = async (id: string): Promise<StoredAccount> => {
    const account = await store.account(clock.now(), id);
    if (account === null) throw accountNotFound(id);
    return account;
  };

  return {
    async add(caller, request) {
      const demand = parse(newAccount, request);
      const credential = credentialIn(demand);
      if (credential === null) throw new Error('the schema lets no account through without a credential');
      const settings = settingsOf(demand);
      const added = { provider: demand.provider, source: 'api', settings };
      const account = await adding.insert(added, credential, caller.keyId, {
        isStandby: demand.standby ?? false,
        onRefusal: demand.on_refusal,
      });
      return { success: true, account: presentAccount(account) };
    },

    async list(query) {
      const { limit, after, status, id_begins: idBegins, ...filters } = parse(listQuery, givenFields(query));
      const start = after === undefined ? undefined : Number(after);
      if (start !== undefined && !(Number.isSafeInteger(start) && start >= 0)) {
        throw new PoolError('invalid_request', '"after" must be the next_after of the page before.', {
          param: 'after',
        });
      }
      const page = await store.accounts(clock.now(), {
        limit,
        ...definedOnly<Omit<AccountFilter, 'limit'>>({ ...filters, idBegins }),
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
      const demand = parse(accountChange, request);
      const { api_key: _key, refresh_token: _token, on_refusal: onRefusal, ...told } = demand;
      const { enabled, team_uid: teamUid, ...others } = told;
      const settings = definedOnly<AccountSettings>({ ...others, teamUid });
      const before = await mustHave(id);
      const changed = { ...before, ...settings };
      adding.checkTeam(before.provider, settings.teamUid);
      const given = credentialIn(demand);
      const credential = given && adding.check(before.provider, given);
      const replacement = credential && (await adding.replacement(before, credential));
      const { state } = before.standing;
      // Another team has other figures. A credential that was given up stays so whichever team it bills.
      const hasOtherTeam = changed.teamUid !== before.teamUid && state !== 'reauth_required';
      const isOther = credential !== null || hasOtherTeam;
      const startsAfresh = enabled === true || (enabled === undefined && isOther && state !== 'disabled');
      const isStandby = state === 'standby' && enabled !== true;
      const standing: StandingChange | undefined =
        enabled === false
          ? disabledBy(before)
          : startsAfresh
            ? await adding.freshStart(changed, credential, { isStandby, onRefusal })
            : undefined;
      const result = await store.changeAccount(
        clock.now(),
        id,
        {
          settings,
          ...(replacement === null ? {} : { credential: replacement }),
          ...(standing === undefined ? {} : { standing }),
        },
        {
          actor: caller.keyId,
          action: replacement === null ? 'account-changed' : 'credential-replaced',
          detail: definedOnly(told),
        },
      );
      if (result === null) throw accountNotFound(id);
      context.tell(result.changes);
      const isNew = startsAfresh || replacement !== null;
      const account = isNew
        ? await adding.bringUp(result.account, caller.keyId, replacement === null ? 'keep' : onRefusal)
        : result.account;
      return { success: true, account: presentAccount(account) };
    },

    async remove(caller, id) {
      if ((await removeFromPool(context, id, caller.keyId)) === null) throw accountNotFound(id);
      return { success: true };
    },

    async ensureEnvAccount(providerName, givenKey) {
      const credential = adding.check(providerName, { kind: 'api_key', key: givenKey });
      const fingerprint = vault.fingerprint(providerName, secretOf(credential));
      const noteName = `env_account:${providerName}`;
      const note = envNoteFrom(await store.remembered(noteName));
      const former = note === undefined ? null : await store.account(clock.now(), note.id);
      if (note?.fingerprint === fingerprint) return former && presentAccount(former);

      const present = await store.accountOfCredential(clock.now(), providerName, fingerprint);
      let account = present;
      if (account === null && former !== null) {
        const standing = await adding.freshStart(former, credential);
        const result = await store.changeAccount(
          clock.now(),
          former.id,
          { credential: await adding.replacement(former, credential), standing },
          { actor: environment, action: 'credential-replaced', detail: { source: 'env' } },
        );
        if (result !== null) context.tell(result.changes);
        account = result?.account ?? null;
      }
      if (account === null) {
        const added = { provider: providerName, source: 'env', settings: defaultSettings };
        account = await adding.insert(added, credential, environment);
      }
      await store.remember(noteName, JSON.stringify({ fingerprint, id: account.id }));
      return presentAccount(account);
    },
  };
}

function disabledBy(account: StoredAccount): StandingChange {
  return {
    standing: { ...freshStanding, state: 'disabled', reason: 'owner' },
    probe: account.probe,
    quota: null,
    nextCheckAt: null,
  };
}

function credentialIn(request: {
  readonly api_key?: string | undefined;
  readonly refresh_token?: string | undefined;
}): GivenCredential | null {
  if (request.api_key !== undefined) return { kind: 'api_key', key: request.api_key };
  if (request.refresh_token === undefined) return null;
  return { kind: 'refresh_token', refreshToken: request.refresh_token };
}

type Optional<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** Fields left out are not the same as fields set to nothing. */
function definedOnly<T extends object>(fields: Optional<T>): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function envNoteFrom(text: string | null): { readonly fingerprint: string; readonly id: string } | undefined {
  return text === null ? undefined : (JSON.parse(text) as { fingerprint: string; id: string });
}

function accountNotFound(id: string): PoolError {
  return new PoolError('account_not_found', `There is no account "${id}".`, { param: 'id' });
}
