import { givenFields } from '../../core/null-fields.ts';
import {
  type Account,
  type AccountAnswer,
  type AccountDetailsAnswer,
  accountChange,
  type ListAnswer,
  listQuery,
  newAccount,
} from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Basics, Caller } from '../base/basics.ts';
import { accountNotFound } from '../base/failures.ts';
import {
  defaultSettings,
  definedOnly,
  isoTime,
  lendableNow,
  parse,
  presentAccount,
  settingsOf,
} from '../base/present.ts';
import type { SkipLog } from '../lending/waiting-room.ts';
import { freshStanding } from '../standing/account-state.ts';
import type { AccountFilter, AccountSettings, StandingChange, StoredAccount } from '../store/store.ts';
import { type Adding, credentialIn, secretOf } from './adding.ts';
import { type Origin, removeFromPool } from './removal.ts';

const environment = 'environment';

/** What owners do with accounts. Every call throws PoolError. No answer ever holds a credential. */
export class Accounts {
  readonly #basics: Basics;
  readonly #adding: Adding;
  readonly #skips: SkipLog;
  readonly #sources: readonly Origin[];

  constructor(basics: Basics, adding: Adding, skips: SkipLog, sources: readonly Origin[]) {
    this.#basics = basics;
    this.#adding = adding;
    this.#skips = skips;
    this.#sources = sources;
  }

  async add(caller: Caller, request: unknown): Promise<AccountAnswer> {
    const demand = parse(newAccount, request);
    const added = { provider: demand.provider, source: 'api', settings: settingsOf(demand) };
    const account = await this.#adding.insert(added, credentialIn(demand), caller.keyId, {
      isStandby: demand.standby ?? false,
      onRefusal: demand.on_refusal,
    });
    return { success: true, account: presentAccount(account) };
  }

  async list(query: unknown): Promise<ListAnswer> {
    const { store, clock } = this.#basics;
    const asked = parse(listQuery, givenFields(query));
    const { limit, after, status, id_begins: idBegins, ids, ...filters } = asked;
    const start = after === undefined ? undefined : Number(after);
    if (start !== undefined && !(Number.isSafeInteger(start) && start >= 0)) {
      const message = '"after" must be the next_after of the page before.';
      throw new PoolError('invalid_request', message, { param: 'after' });
    }
    const filter = { ...filters, idBegins, ids: ids?.split(','), state: status, after: start };
    const page = await store.accounts(clock.now(), { limit, ...definedOnly<AccountFilter>(filter) });
    return {
      success: true,
      accounts: page.accounts.map(presentAccount),
      total: page.total,
      next_after: page.nextAfter === null ? null : String(page.nextAfter),
    };
  }

  async get(id: string): Promise<AccountDetailsAnswer> {
    const { store, clock } = this.#basics;
    const account = await this.#mustHave(id);
    const { freeQuotaSpent } = await store.stats(clock.now());
    const skips = this.#skips.of(id);
    return {
      success: true,
      account: {
        ...presentAccount(account),
        lendable: lendableNow(account, freeQuotaSpent),
        last_skips: skips.map(({ at, reason, sessionId: session_id }) => ({
          at: isoTime(at),
          reason,
          session_id,
        })),
      },
    };
  }

  async change(caller: Caller, id: string, request: unknown): Promise<AccountAnswer> {
    const { store, clock } = this.#basics;
    const demand = parse(accountChange, request);
    const { api_key: key, refresh_token: token, on_refusal: onRefusal, ...others } = demand;
    const { enabled, team_uid: teamUid, ...given } = others;
    const settings = definedOnly<AccountSettings>({ ...given, teamUid });
    const before = await this.#mustHave(id);
    const changed = { ...before, ...settings };
    this.#adding.checkTeam(before.provider, settings.teamUid);
    const isGiven = key !== undefined || token !== undefined;
    const credential = isGiven ? this.#adding.check(before.provider, credentialIn(demand)) : null;
    const replacement = credential && (await this.#adding.replacement(before, credential));
    const { state } = before.standing;
    // Another team has other figures. A credential that was given up stays so whichever team it bills.
    const hasOtherTeam = changed.teamUid !== before.teamUid && state !== 'reauth_required';
    const isOther = isGiven || hasOtherTeam;
    const startsAfresh = enabled === true || (enabled === undefined && isOther && state !== 'disabled');
    const isStandby = state === 'standby' && enabled !== true;
    const standing: StandingChange | undefined =
      enabled === false
        ? disabledBy(before)
        : startsAfresh
          ? await this.#adding.freshStart(changed, credential, { isStandby, onRefusal })
          : undefined;
    const result = await store.changeAccount(
      clock.now(),
      id,
      {
        settings,
        ...(replacement && { credential: replacement }),
        ...(standing && { standing }),
      },
      {
        actor: caller.keyId,
        action: isGiven ? 'credential-replaced' : 'account-changed',
        detail: definedOnly(others),
      },
    );
    if (result === null) throw accountNotFound(id);
    const isNew = startsAfresh || isGiven;
    const account = isNew
      ? await this.#adding.bringUp(result.account, caller.keyId, isGiven ? onRefusal : 'keep')
      : result.account;
    return { success: true, account: presentAccount(account) };
  }

  async remove(caller: Caller, id: string): Promise<{ readonly success: true }> {
    const removed = await removeFromPool(this.#basics, this.#sources, id, caller.keyId);
    if (removed === null) throw accountNotFound(id);
    return { success: true };
  }

  /**
   * Adds or updates the one account that the environment names. What its owner disabled or removed stays so until
   * the key changes; then null is answered when there is none.
   */
  async ensureEnvAccount(providerName: string, givenKey: string): Promise<Account | null> {
    const { store, clock, credentials } = this.#basics;
    const credential = this.#adding.check(providerName, { kind: 'api_key', key: givenKey });
    const fingerprint = credentials.fingerprint(providerName, secretOf(credential));
    const noteName = `env_account:${providerName}`;
    const known = await store.remembered(noteName);
    const note = known === null ? null : (JSON.parse(known) as { fingerprint: string; id: string });
    const former = note && (await store.account(clock.now(), note.id));
    if (note?.fingerprint === fingerprint) return former && presentAccount(former);

    let account = await this.#adding.holderOf(providerName, credential);
    if (account === null && former !== null) {
      const standing = await this.#adding.freshStart(former, credential);
      const result = await store.changeAccount(
        clock.now(),
        former.id,
        { credential: await this.#adding.replacement(former, credential), standing },
        { actor: environment, action: 'credential-replaced', detail: { source: 'env' } },
      );
      account = result?.account ?? null;
    }
    if (account === null) {
      const added = { provider: providerName, source: 'env', settings: defaultSettings };
      account = await this.#adding.insert(added, credential, environment);
    }
    await store.remember(noteName, JSON.stringify({ fingerprint, id: account.id }));
    return presentAccount(account);
  }

  async #mustHave(id: string): Promise<StoredAccount> {
    const { store, clock } = this.#basics;
    const account = await store.account(clock.now(), id);
    if (account === null) throw accountNotFound(id);
    return account;
  }
}

function disabledBy(account: StoredAccount): StandingChange {
  return {
    standing: { ...freshStanding, state: 'disabled', reason: 'owner' },
    probe: account.probe,
    quota: null,
    nextCheckAt: null,
  };
}
