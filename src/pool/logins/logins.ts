import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type DeviceLogins, type DevicePoll, TokenError } from '../../core/provider.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { type LoginAnswer, type LoginsAnswer, newLogin } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Adding } from '../accounts/adding.ts';
import type { Basics, Caller } from '../base/basics.ts';
import { type Fact, Facts } from '../base/facts.ts';
import { accountNotFound, logFailure } from '../base/failures.ts';
import { parse, settingsOf } from '../base/present.ts';
import { VaultError } from '../vault/vault.ts';
import {
  codeField,
  grantField,
  type LoginRecord,
  loginPrefix,
  loginRecord,
  presentLogin,
} from './login-record.ts';

type LoginGrant = z.infer<typeof grantSchema>;
type Finish = Pick<LoginRecord, 'status' | 'error' | 'accountId'>;

/** How often other instances' logins are looked for. */
const lookEveryMs = 5_000;
const longestLoginMs = 600_000;
/** Longer than a question takes; then another instance may take the login over. */
const askingMs = 20_000;
/** Longer than it takes to add and probe an account. */
const addingMs = 60_000;
const slowDownMs = 5_000;
const longestBackoffMs = 60_000;
const shortestIntervalMs = 1_000;
/** An approval is noticed within this time, whatever interval the provider asks for. */
const longestIntervalMs = 60_000;
const shortestWaitMs = 50;
const keptMs = 86_400_000;
/** How long an approved login may wait for a store that does not take its account. */
const longestAddingMs = 3_600_000;
const mostPending = 100;
const mostAtOnce = 5;

const grantSchema = z.object({
  bearer: z.string(),
  expiresAt: z.number(),
  refreshToken: z.string(),
  email: z.string().optional(),
});

/** Logins that wait for a person in a browser. Every call throws PoolError. */
export class Logins {
  readonly #basics: Basics;
  readonly #adding: Adding;
  readonly #logins: Facts<LoginRecord>;
  #isStopped = false;
  #isLooking = false;
  #stopTimer = (): void => {};
  #round = Promise.resolve();

  constructor(basics: Basics, adding: Adding) {
    this.#basics = basics;
    this.#adding = adding;
    this.#logins = new Facts(basics.store, loginPrefix, loginRecord);
  }

  /** Waits for logins that other instances, or an earlier run, have begun. `startLogin` does so for its own. */
  start(): void {
    this.#schedule([]);
  }

  /** Ends when the running questions have been answered: an approval is handed out only once. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopTimer();
    await this.#round;
  }

  async startLogin(caller: Caller, request: unknown): Promise<LoginAnswer> {
    const { store, clock, vault, secrets, events } = this.#basics;
    const demand = parse(newLogin, request);
    const { provider } = demand;
    const actor = caller.keyId;
    const device = deviceLogins(this.#basics, provider);
    this.#adding.checkTeam(provider, demand.team_uid);
    await checkReplaced(this.#basics, demand);
    if ((await this.#pending()).length >= mostPending) {
      const message = `${mostPending} logins wait for their approval already: let some end first.`;
      throw new PoolError('too_many_logins', message, { retryAfterMs: 60_000 });
    }
    const begun = await device.start().catch((error: unknown) => {
      if (!(error instanceof TokenError)) throw error;
      throw new PoolError('provider_unavailable', error.message, { cause: error });
    });
    const id = `login_${randomUUID()}`;
    const now = clock.now();
    const intervalMs = Math.min(longestIntervalMs, Math.max(shortestIntervalMs, begun.intervalMs));
    secrets.use(begun.deviceCode);
    const record: LoginRecord = {
      id,
      provider,
      actor,
      status: 'pending',
      ...secrets.redactAll({
        userCode: begun.userCode,
        verificationUri: begun.verificationUri,
        verificationUriComplete: begun.verificationUriComplete ?? null,
      }),
      expiresAt: now + Math.min(begun.expiresInMs, longestLoginMs),
      intervalMs,
      nextPollAt: now + intervalMs,
      failures: 0,
      deviceCode: vault.seal(id, codeField, begun.deviceCode),
      grant: null,
      account: { ...settingsOf(demand), standby: demand.standby ?? false },
      replaces: demand.account_id ?? null,
      accountId: null,
      error: null,
      finishedAt: null,
    };
    await this.#logins.add(id, record);
    const detail = { login_id: id, provider };
    await store.note(now, { actor, action: 'login-started', accountId: record.replaces, detail });
    events.publish({ type: 'login-changed', login_id: id, provider, status: 'pending', account_id: null });
    this.#schedule([record]);
    return { success: true, login: presentLogin(record) };
  }

  async getLogin(id: string): Promise<LoginAnswer> {
    return { success: true, login: presentLogin((await this.#mustHave(id)).value) };
  }

  /** The latest to expire first. */
  async listLogins(): Promise<LoginsAnswer> {
    const records = (await this.#logins.all()).map(({ value }) => value);
    const sorted = records.sort((one, other) => other.expiresAt - one.expiresAt);
    return { success: true, logins: sorted.map(presentLogin) };
  }

  /** One whose approval has arrived goes on, as does one that has ended: see the status. */
  async cancelLogin(caller: Caller, id: string): Promise<LoginAnswer> {
    for (;;) {
      const found = await this.#mustHave(id);
      const isOpen = found.value.status === 'pending' && found.value.grant === null;
      const end = { status: 'failed' as const, accountId: null, error: 'It was cancelled.' };
      const isDone = !isOpen || (await this.#finish(found, end, caller.keyId, 'login-cancelled'));
      if (isDone) return this.getLogin(id);
    }
  }

  async #mustHave(id: string): Promise<Fact<LoginRecord>> {
    const found = await this.#logins.find(id);
    if (found !== null) return found;
    const message = `There is no login "${id}"; finished ones are kept for a day.`;
    throw new PoolError('login_not_found', message, { param: 'id' });
  }

  /** Waits until the earliest of these, but never for so long that another instance's login is missed. */
  #schedule(pending: readonly LoginRecord[]): void {
    if (this.#isStopped || this.#isLooking) return;
    const { clock, logger } = this.#basics;
    this.#stopTimer();
    const next = Math.min(...pending.map(({ nextPollAt }) => nextPollAt));
    const delayMs = Math.max(shortestWaitMs, Math.min(lookEveryMs, next - clock.now()));
    this.#stopTimer = clock.after(delayMs, () => {
      this.#isLooking = true;
      this.#round = this.#doRound()
        .catch((error: unknown) => {
          logFailure(logger, error, 'logins could not be looked at; the next round follows');
          return [];
        })
        .then((left) => {
          this.#isLooking = false;
          this.#schedule(left.map(({ value }) => value));
        });
    });
  }

  async #doRound(): Promise<readonly Fact<LoginRecord>[]> {
    const now = this.#basics.clock.now();
    const all = await this.#logins.all();
    for (const found of all) {
      const { finishedAt } = found.value;
      if (finishedAt !== null && finishedAt + keptMs <= now) await this.#logins.forget(found);
    }
    const due = all.filter(({ value: record }) => record.status === 'pending' && record.nextPollAt <= now);
    await Promise.all(due.slice(0, mostAtOnce).map((found) => this.#ask(found)));
    return this.#pending();
  }

  async #pending(): Promise<readonly Fact<LoginRecord>[]> {
    return (await this.#logins.all()).filter(({ value }) => value.status === 'pending');
  }

  /** One question about one login, unless another instance asks it. Never throws for what the provider does. */
  async #ask(found: Fact<LoginRecord>): Promise<void> {
    const claimMs = found.value.grant === null ? askingMs : addingMs;
    const nextPollAt = this.#basics.clock.now() + claimMs;
    const mine = await this.#logins.replace(found, { ...found.value, nextPollAt });
    if (mine === null) return;
    try {
      const granted = mine.value.grant === null ? await this.#poll(mine) : mine;
      if (granted !== null) await this.#addAccount(granted);
    } catch (error) {
      await this.#askLater(mine, error);
    }
  }

  /** Answers the login with its grant kept; null when there is none yet, or never will be. */
  async #poll(mine: Fact<LoginRecord>): Promise<Fact<LoginRecord> | null> {
    const { clock, vault, secrets } = this.#basics;
    const { value: record } = mine;
    if (record.expiresAt <= clock.now()) {
      await this.#finish(mine, { ...expired, accountId: null });
      return null;
    }
    const code = vault.open(record.id, codeField, record.deviceCode ?? '');
    secrets.use(code);
    const answer = await deviceLogins(this.#basics, record.provider).poll(code);
    switch (answer.result) {
      case 'granted': {
        // Kept before anything else is done: the provider hands it out only once.
        const { lifetimeMs, ...given } = answer.grant;
        const kept: LoginGrant = { ...given, expiresAt: clock.now() + lifetimeMs };
        const grant = vault.seal(record.id, grantField, JSON.stringify(kept));
        const nextPollAt = clock.now() + addingMs;
        return this.#logins.replace(mine, { ...record, deviceCode: null, grant, nextPollAt });
      }
      case 'pending':
      case 'slow_down': {
        const intervalMs = record.intervalMs + (answer.result === 'slow_down' ? slowDownMs : 0);
        const nextPollAt = Math.min(clock.now() + intervalMs, record.expiresAt);
        await this.#logins.replace(mine, { ...record, intervalMs, failures: 0, nextPollAt });
        return null;
      }
      default:
        await this.#finish(mine, { ...endOf(answer), accountId: null });
        return null;
    }
  }

  /** After a failure: gives up where asking again cannot help, waits longer each time otherwise. */
  async #askLater(mine: Fact<LoginRecord>, error: unknown): Promise<void> {
    const { clock, logger, secrets } = this.#basics;
    const { value: record } = mine;
    const login = { login_id: record.id, provider: record.provider };
    if (isFinal(error) || clock.now() > record.expiresAt + longestAddingMs) {
      logger.warn({ err: error, ...login }, 'a login failed');
      const message = secrets.redact(messageOf(error));
      await this.#finish(mine, { status: 'failed', accountId: null, error: message });
      return;
    }
    logger.info({ err: error, ...login }, 'a login is asked about later');
    const failures = record.failures + 1;
    const asked = error instanceof TokenError ? (error.retryAfterMs ?? 0) : 0;
    const nextPollAt =
      clock.now() + Math.max(asked, backoffMs(failures, record.intervalMs, longestBackoffMs));
    // Another instance may have moved it on meanwhile; what is kept is the store's.
    const present = await this.#logins.find(record.id);
    if (present?.value.status !== 'pending') return;
    const latest = present.value.grant === null ? Math.min(nextPollAt, record.expiresAt) : nextPollAt;
    await this.#logins.replace(present, { ...present.value, failures, nextPollAt: latest });
  }

  async #addAccount(granted: Fact<LoginRecord>): Promise<void> {
    const { value: record } = granted;
    const text = this.#basics.vault.open(record.id, grantField, record.grant ?? '');
    const grant = grantSchema.parse(JSON.parse(text));
    const accountId =
      record.replaces === null
        ? await this.#insertAccount(record, grant)
        : await this.#replaceCredential(record, record.replaces, grant);
    await this.#finish(granted, { status: 'approved', accountId, error: null });
  }

  async #insertAccount(record: LoginRecord, grant: LoginGrant): Promise<string> {
    const { provider, actor } = record;
    const credential = credentialOf(grant);
    // A round that was broken off may have added it already.
    const present = await this.#adding.holderOf(provider, credential);
    if (present !== null) return present.id;
    const { standby: isStandby, ...settings } = record.account;
    const added = { provider, source: 'login', settings: { ...settings, email: grant.email ?? null } };
    return (await this.#adding.insert(added, credential, actor, { isStandby })).id;
  }

  async #replaceCredential(record: LoginRecord, id: string, grant: LoginGrant): Promise<string> {
    const { store, clock } = this.#basics;
    const isGone = () => new PoolError('account_not_found', `Account ${id} was removed meanwhile.`);
    const account = await store.account(clock.now(), id);
    if (account === null) throw isGone();
    const { email } = account;
    if (email !== null && grant.email !== undefined && email.toLowerCase() !== grant.email.toLowerCase()) {
      throw new PoolError(
        'invalid_request',
        `${grant.email} logged in, but account ${id} is ${email}: log in as that, or add an account of its own.`,
      );
    }
    const credential = await this.#adding.replacement(account, credentialOf(grant));
    const isAside = account.standing.state === 'disabled' || account.standing.state === 'standby';
    const result = await store.changeAccount(
      clock.now(),
      id,
      {
        credential,
        settings: { email: email ?? grant.email ?? null },
        ...(isAside ? {} : { standing: await this.#adding.freshStart(account, null) }),
      },
      { actor: record.actor, action: 'credential-replaced', detail: { login_id: record.id } },
    );
    if (result === null) throw isGone();
    await this.#adding.bringUp(result.account, record.actor);
    return id;
  }

  /** False when another call or instance has moved it on meanwhile. */
  async #finish(
    mine: Fact<LoginRecord>,
    end: Finish,
    actor = mine.value.actor,
    action = `login-${end.status}`,
  ): Promise<boolean> {
    const { store, clock, events } = this.#basics;
    const { id, provider } = mine.value;
    const { status, accountId, error } = end;
    const now = clock.now();
    const finished = { ...mine.value, ...end, deviceCode: null, grant: null, finishedAt: now };
    // Read again: keeping the grant has changed it.
    const present = (await this.#logins.find(id)) ?? mine;
    if (present.value.status !== 'pending') return false;
    if ((await this.#logins.replace(present, finished)) === null) return false;
    const detail = { login_id: id, provider, ...(error === null ? {} : { error }) };
    await store.note(now, { actor, action, accountId, detail });
    events.publish({ type: 'login-changed', login_id: id, provider, status, account_id: accountId });
    return true;
  }
}

function deviceLogins({ providers }: Basics, name: string): DeviceLogins {
  const provider = providers.get(name);
  if (provider?.logins !== undefined) return provider.logins;
  const reason =
    provider === undefined
      ? `known are: ${[...providers.keys()].join(', ')}.`
      : (provider.missing?.logins ?? 'add its accounts with their keys.');
  const what =
    provider === undefined ? `There is no provider "${name}"` : `Nobody can log in at "${name}" yet`;
  throw new PoolError('invalid_request', `${what}: ${reason}`, { param: 'provider' });
}

async function checkReplaced(
  { store, clock }: Basics,
  demand: { readonly account_id?: string | undefined; readonly provider: string },
): Promise<void> {
  if (demand.account_id === undefined) return;
  const account = await store.account(clock.now(), demand.account_id);
  if (account === null) throw accountNotFound(demand.account_id, 'account_id');
  if (account.provider !== demand.provider) {
    const message = `This account is of provider "${account.provider}".`;
    throw new PoolError('invalid_request', message, { param: 'provider' });
  }
  if (account.credentialKind !== 'refresh_token') {
    const message = 'This account has an API key: no login can replace it.';
    throw new PoolError('invalid_request', message, { param: 'account_id' });
  }
}

function credentialOf(grant: LoginGrant) {
  const { refreshToken, bearer, expiresAt } = grant;
  return { kind: 'refresh_token', refreshToken, grant: { bearer, expiresAt } } as const;
}

const expired = { status: 'expired', error: 'Nobody approved it in time. Start it again.' } as const;

function endOf(answer: DevicePoll): Pick<LoginRecord, 'status' | 'error'> {
  return answer.result === 'denied' ? { status: 'denied', error: 'It was denied at the provider.' } : expired;
}

/** Whether asking again cannot help. What became of the connection says nothing, nor does a provider in trouble. */
function isFinal(error: unknown): boolean {
  if (error instanceof TokenError)
    return error.failure === 'invalid_grant' || error.failure === 'account_gone';
  return error instanceof PoolError || error instanceof VaultError;
}

function messageOf(error: unknown): string {
  if (error instanceof VaultError) return 'The master key has changed since. Start the login again.';
  return error instanceof Error ? error.message : 'It failed; the log has the details.';
}
