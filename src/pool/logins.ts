import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type DeviceLogins, type DevicePoll, TokenError } from '../core/provider.ts';
import { backoffMs } from '../lib/backoff.ts';
import { PoolError } from '../pool-api/errors.ts';
import { type LoginAnswer, newLogin } from '../pool-api/schema.ts';
import { settingsOf } from './account-settings.ts';
import type { Adding } from './adding.ts';
import { codeField, grantField, type LoginRecord, presentLogin } from './login-record.ts';
import { createLoginStore, type StoredLogin } from './login-store.ts';
import { parse } from './parse.ts';
import type { Caller, PoolContext } from './pool-context.ts';
import { logFailure } from './server-errors.ts';
import { VaultError } from './vault.ts';

/** Logins that wait for a person in a browser. Every call throws PoolError. */
export interface Logins {
  startLogin(caller: Caller, request: unknown): Promise<LoginAnswer>;
  getLogin(id: string): Promise<LoginAnswer>;
  /** Waits for logins that others, or an earlier run, have begun. `startLogin` does so by itself. */
  start(): void;
  /** Ends when the questions under way have been answered: an approval is handed out only once. */
  stop(): Promise<void>;
}

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

export function createLogins(context: PoolContext, adding: Adding): Logins {
  const { store, clock, vault, logger, events } = context;
  const logins = createLoginStore(store);
  let isStopped = false;
  let isLooking = false;
  let stopTimer = (): void => {};
  let round = Promise.resolve();

  /** Waits until the earliest of these, but never for so long that another instance's login is missed. */
  const schedule = (pending: readonly LoginRecord[]): void => {
    if (isStopped || isLooking) return;
    stopTimer();
    const next = Math.min(...pending.map(({ nextPollAt }) => nextPollAt));
    const delayMs = Math.max(shortestWaitMs, Math.min(lookEveryMs, next - clock.now()));
    stopTimer = clock.after(delayMs, () => {
      isLooking = true;
      round = doRound()
        .catch((error: unknown) => {
          logFailure(logger, error, 'logins could not be looked at; the next round follows');
          return [];
        })
        .then((left) => {
          isLooking = false;
          schedule(left.map(({ record }) => record));
        });
    });
  };

  const doRound = async (): Promise<readonly StoredLogin[]> => {
    const now = clock.now();
    const all = await logins.all();
    for (const { record, text } of all) {
      if (record.finishedAt !== null && record.finishedAt + keptMs <= now)
        await logins.forget(record.id, text);
    }
    const due = all.filter(({ record }) => record.status === 'pending' && record.nextPollAt <= now);
    await Promise.all(due.slice(0, mostAtOnce).map(ask));
    return logins.pending();
  };

  /** One question about one login, unless another instance is at it. Never throws for what the provider does. */
  const ask = async (found: StoredLogin): Promise<void> => {
    const claimMs = found.record.grant === null ? askingMs : addingMs;
    const mine = await logins.replace(found, { ...found.record, nextPollAt: clock.now() + claimMs });
    if (mine === null) return;
    try {
      const granted = mine.record.grant === null ? await poll(mine) : mine;
      if (granted !== null) await addAccount(granted);
    } catch (error) {
      await askLater(mine, error);
    }
  };

  /** Answers the login with its grant kept; null when there is none yet, or never will be. */
  const poll = async (mine: StoredLogin): Promise<StoredLogin | null> => {
    const { record } = mine;
    if (record.expiresAt <= clock.now()) {
      await finish(mine, {
        status: 'expired',
        accountId: null,
        error: 'Nobody approved it in time. Start it again.',
      });
      return null;
    }
    const answer = await deviceLogins(context, record.provider).poll(deviceCodeOf(record));
    switch (answer.result) {
      case 'granted': {
        // Kept before anything else is done: the provider hands it out only once.
        const { lifetimeMs, ...given } = answer.grant;
        const kept: LoginGrant = { ...given, expiresAt: clock.now() + lifetimeMs };
        const grant = vault.seal(record.id, grantField, JSON.stringify(kept));
        return logins.replace(mine, {
          ...record,
          deviceCode: null,
          grant,
          nextPollAt: clock.now() + addingMs,
        });
      }
      case 'pending':
      case 'slow_down': {
        const intervalMs = record.intervalMs + (answer.result === 'slow_down' ? slowDownMs : 0);
        const nextPollAt = Math.min(clock.now() + intervalMs, record.expiresAt);
        await logins.replace(mine, { ...record, intervalMs, failures: 0, nextPollAt });
        return null;
      }
      default:
        await finish(mine, { ...endOf(answer), accountId: null });
        return null;
    }
  };

  const deviceCodeOf = (record: LoginRecord): string => {
    if (record.deviceCode === null) throw new Error(`login ${record.id} has no device code`);
    return vault.open(record.id, codeField, record.deviceCode);
  };

  /** After a failure: gives up where asking again cannot help, waits longer each time otherwise. */
  const askLater = async (mine: StoredLogin, error: unknown): Promise<void> => {
    const { record } = mine;
    if (isFinal(error) || clock.now() > record.expiresAt + longestAddingMs) {
      logger.warn({ err: error, login_id: record.id, provider: record.provider }, 'a login failed');
      return finish(mine, {
        status: 'failed',
        accountId: null,
        error: context.secrets.redact(messageOf(error)),
      });
    }
    logger.info(
      { err: error, login_id: record.id, provider: record.provider },
      'a login is asked about later',
    );
    const failures = record.failures + 1;
    const asked = error instanceof TokenError ? (error.retryAfterMs ?? 0) : 0;
    const nextPollAt =
      clock.now() + Math.max(asked, backoffMs(failures, record.intervalMs, longestBackoffMs));
    // Another instance may have moved it on meanwhile; what is kept is the store's.
    const present = await logins.find(record.id);
    if (present?.record.status !== 'pending') return;
    const latest = present.record.grant === null ? Math.min(nextPollAt, record.expiresAt) : nextPollAt;
    await logins.replace(present, { ...present.record, failures, nextPollAt: latest });
  };

  const addAccount = async (granted: StoredLogin): Promise<void> => {
    const { record } = granted;
    const grant = grantSchema.parse(JSON.parse(vault.open(record.id, grantField, record.grant ?? '')));
    const id =
      record.replaces === null ? await insertAccount(record, grant) : await replaceCredential(record, grant);
    await finish(granted, { status: 'approved', accountId: id, error: null });
  };

  const insertAccount = async (record: LoginRecord, grant: LoginGrant): Promise<string> => {
    // A round that was broken off may have added it already.
    const fingerprint = vault.fingerprint(record.provider, grant.refreshToken);
    const present = await store.accountOfCredential(clock.now(), record.provider, fingerprint);
    if (present !== null) return present.id;
    const { standby, ...settings } = record.account;
    const added = {
      provider: record.provider,
      source: 'login',
      settings: { ...settings, email: grant.email ?? null },
    };
    return (await adding.insert(added, credentialOf(grant), record.actor, { isStandby: standby })).id;
  };

  const replaceCredential = async (record: LoginRecord, grant: LoginGrant): Promise<string> => {
    const id = record.replaces ?? '';
    const account = await store.account(clock.now(), id);
    if (account === null) throw new PoolError('account_not_found', `Account ${id} was removed meanwhile.`);
    const { email } = account;
    if (email !== null && grant.email !== undefined && email.toLowerCase() !== grant.email.toLowerCase()) {
      throw new PoolError(
        'invalid_request',
        `${grant.email} logged in, but account ${id} is ${email}: log in as that, or add an account of its own.`,
      );
    }
    const credential = await adding.replacement(account, credentialOf(grant));
    const isAside = account.standing.state === 'disabled' || account.standing.state === 'standby';
    const result = await store.changeAccount(
      clock.now(),
      id,
      {
        credential,
        settings: { email: email ?? grant.email ?? null },
        ...(isAside ? {} : { standing: await adding.freshStart(account, null) }),
      },
      { actor: record.actor, action: 'credential-replaced', detail: { login_id: record.id } },
    );
    if (result === null) throw new PoolError('account_not_found', `Account ${id} was removed meanwhile.`);
    context.tell(result.changes);
    await adding.bringUp(result.account, record.actor);
    return id;
  };

  const finish = async (mine: StoredLogin, end: Finish): Promise<void> => {
    const { record } = mine;
    const now = clock.now();
    const finished = { ...record, ...end, deviceCode: null, grant: null, finishedAt: now };
    // Read again: keeping the grant has changed it.
    const present = (await logins.find(record.id)) ?? mine;
    if (present.record.status !== 'pending') return;
    if ((await logins.replace(present, finished)) === null) return;
    const { id, provider } = record;
    await store.note(now, {
      actor: record.actor,
      action: `login-${end.status}`,
      accountId: end.accountId,
      detail: { login_id: id, provider, ...(end.error === null ? {} : { error: end.error }) },
    });
    events.publish({
      type: 'login-changed',
      login_id: id,
      provider,
      status: end.status,
      account_id: end.accountId,
    });
  };

  return {
    async startLogin(caller, request) {
      const demand = parse(newLogin, request);
      const device = deviceLogins(context, demand.provider);
      adding.checkTeam(demand.provider, demand.team_uid);
      await checkReplaced(context, demand);
      if ((await logins.pending()).length >= mostPending) {
        const message = `${mostPending} logins wait for their approval already: let some end first.`;
        throw new PoolError('too_many_logins', message, { retryAfterMs: 60_000 });
      }
      const begun = await device.start().catch((error: unknown) => {
        if (!(error instanceof TokenError)) throw error;
        throw new PoolError('provider_unavailable', error.message, { cause: error });
      });
      const id = `login_${randomUUID()}`;
      const now = clock.now();
      const settings = settingsOf(demand);
      const intervalMs = Math.min(longestIntervalMs, Math.max(shortestIntervalMs, begun.intervalMs));
      const record: LoginRecord = {
        id,
        provider: demand.provider,
        actor: caller.keyId,
        status: 'pending',
        ...context.secrets.redactAll({
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
        account: { ...settings, standby: demand.standby ?? false },
        replaces: demand.account_id ?? null,
        accountId: null,
        error: null,
        finishedAt: null,
      };
      await logins.add(record);
      const detail = { login_id: id, provider: demand.provider };
      await store.note(now, {
        actor: caller.keyId,
        action: 'login-started',
        accountId: record.replaces,
        detail,
      });
      schedule([record]);
      return { success: true, login: presentLogin(record) };
    },

    async getLogin(id) {
      const found = await logins.find(id);
      if (found === null) {
        throw new PoolError(
          'login_not_found',
          `There is no login "${id}"; finished ones are kept for a day.`,
          {
            param: 'id',
          },
        );
      }
      return { success: true, login: presentLogin(found.record) };
    },

    start: () => schedule([]),
    async stop() {
      isStopped = true;
      stopTimer();
      await round;
    },
  };
}

function deviceLogins(context: PoolContext, name: string): DeviceLogins {
  const provider = context.providers.get(name);
  if (provider?.logins !== undefined) return provider.logins;
  const reason =
    provider === undefined
      ? `known are: ${[...context.providers.keys()].join(', ')}.`
      : (provider.missing?.logins ?? 'add its accounts with their keys.');
  const what =
    provider === undefined ? `There is no provider "${name}"` : `Nobody can log in at "${name}" yet`;
  throw new PoolError('invalid_request', `${what}: ${reason}`, { param: 'provider' });
}

async function checkReplaced(
  context: PoolContext,
  demand: { readonly account_id?: string | undefined; readonly provider: string },
): Promise<void> {
  if (demand.account_id === undefined) return;
  const account = await context.store.account(context.clock.now(), demand.account_id);
  if (account === null) {
    throw new PoolError('account_not_found', `There is no account "${demand.account_id}".`, {
      param: 'account_id',
    });
  }
  if (account.provider !== demand.provider) {
    throw new PoolError('invalid_request', `This account is of provider "${account.provider}".`, {
      param: 'provider',
    });
  }
  if (account.credentialKind !== 'refresh_token') {
    throw new PoolError('invalid_request', 'This account has an API key: no login can replace it.', {
      param: 'account_id',
    });
  }
}

function credentialOf(grant: LoginGrant) {
  const { refreshToken, bearer, expiresAt } = grant;
  return { kind: 'refresh_token', refreshToken, grant: { bearer, expiresAt } } as const;
}

function endOf(answer: DevicePoll): Pick<LoginRecord, 'status' | 'error'> {
  return answer.result === 'denied'
    ? { status: 'denied', error: 'It was denied at the provider.' }
    : { status: 'expired', error: 'Nobody approved it in time. Start it again.' };
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
