import type { Provider } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import { KnownSecrets } from '../lib/known-secrets.ts';
import type { Logger } from '../lib/logger.ts';
import { within } from '../lib/within.ts';
import { PoolError } from '../pool-api/errors.ts';
import type { Pool, PoolHealth } from '../pool-api/pool.ts';
import { isAboutAccount, type QuotaFinding } from './account-state.ts';
import { type Accounts, createAccounts } from './accounts.ts';
import { createAdding } from './adding.ts';
import { type Audit, createAudit } from './audit.ts';
import { createEventHub, type EventHub } from './events.ts';
import { createHousekeeper } from './housekeeper.ts';
import { codeField } from './login-record.ts';
import { createLogins, type Logins } from './logins.ts';
import { createPoolMetrics } from './metrics.ts';
import {
  bearerField,
  type Caller,
  credentialField,
  hasBearer,
  type PoolContext,
  type PoolSettings,
  providerAccountOf,
  sealedCredential,
} from './pool-context.ts';
import { createQuotaQuery } from './quota.ts';
import { QuotaDoubt } from './quota-doubt.ts';
import { readinessOf } from './readiness.ts';
import { createRefresher, type RefreshStep } from './refresh.ts';
import { createReplenisher } from './replenish.ts';
import { accountIds, openSandboxStore } from './sandbox-accounts.ts';
import { isDatabaseAway, logFailure, poolUnavailable } from './server-errors.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { createSkipLog } from './skip-log.ts';
import { createAdopt, type SourceTools } from './sources/adopt.ts';
import type { Source } from './sources/source.ts';
import { createStandbySource } from './sources/standby.ts';
import type { ProviderStats, Store, StoredAccount } from './store/store.ts';
import { StoreLook } from './store-look.ts';
import { createTransfer, type Transfer } from './transfer.ts';
import { createUpkeep, type Upkeep } from './upkeep.ts';
import type { Vault } from './vault.ts';
import { shuttingDown } from './waiting-room.ts';
import { WriteWatch } from './write-watch.ts';

export interface PoolOptions {
  readonly store: Store;
  readonly vault: Vault;
  /** Those of the configuration, which the pool adds the credentials to that it uses; its own where none are given. */
  readonly secrets?: KnownSecrets;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: PoolSettings;
  /** 0 to 1; Math.random by default. */
  readonly random?: () => number;
  /** Where replenishing draws accounts from, after those in standby, in order. */
  readonly sources?: (tools: SourceTools) => readonly Source[];
  /** Called at every step of a refresh: tests end the process there. */
  readonly onRefreshStep?: (step: RefreshStep) => Promise<void>;
}

/**
 * The pool's operations, once, for the gateway in this process and for the HTTP server alike. Requests are checked
 * here; every call throws PoolError. `start` first; `close` last, it closes the store too.
 */
export interface PoolService
  extends Accounts,
    Upkeep,
    Transfer,
    Audit,
    Pick<Logins, 'startLogin' | 'getLogin'>,
    Pick<Sessions, 'allocate' | 'release' | 'report' | 'listSessions'> {
  start(): Promise<void>;
  close(): Promise<void>;
  /** Ends waits and refuses new calls; leases can still be given back until `close`. */
  stopAccepting(): void;
  /** The pool as one caller sees it. */
  asBorrower(caller: Caller): Pool;
  readonly events: Pick<EventHub, 'listen' | 'lastId' | 'since'>;
  /** The figures, as Prometheus reads them. */
  metrics(): Promise<string>;
  /** The processes that have its database open now, as far as there can be several. */
  holders(): Promise<readonly string[]>;
  readonly clock: Clock;
  readonly version: string;
  readonly secrets: KnownSecrets;
  /** `accounts` as they stand to a gateway, unless the caller is none. Not reachable once the store is beyond use. */
  health(isGateway?: boolean): Promise<PoolHealth>;
}

export function createPool(options: PoolOptions): PoolService {
  const { providers, clock, logger, settings, secrets = new KnownSecrets() } = options;
  const vault = withNotedSecrets(options.vault, secrets);
  const events = createEventHub();
  const metrics = createPoolMetrics({
    stats: () => options.store.stats(clock.now()),
    sessions: async () => (await (sandbox ?? options.store).stats(clock.now())).sessions,
    waiting: () => sessions.waiting(),
    eventReaders: () => events.readers(),
  });
  const writes = new WriteWatch(clock);
  const store = metrics.timed(options.store, (error) => writes.failed(error));
  const storeLook = new StoreLook(store, clock);
  const quota = createQuotaQuery({ providers, clock, logger, secrets });
  let sandbox: Store | undefined;
  let isStopping = false;

  const context: PoolContext = {
    store,
    vault,
    secrets,
    providers,
    clock,
    logger,
    settings,
    events,
    skips: createSkipLog(),
    metrics,
    onRemoved: [],
    random: options.random ?? Math.random,
    lending: () => sandbox ?? store,
    tell(changes) {
      events.publishChanges(changes);
      if (changes.hasFreed) sessions.wake();
    },
    async checkQuota(account, cause, limitMs) {
      if (!hasBearer(account, clock.now())) return null;
      // The store is chosen now: it may be another one when the answer comes.
      const holder = context.lending();
      const found = await quota.ask(account, providerAccountOf(context, account), limitMs);
      metrics.quotaChecked(cause, found);
      const finding = cause === 'signal' ? doubt.judged(account, found) : found;
      const present = await holder.account(clock.now(), account.id);
      if (present === null || isOutdated(finding, account, present)) return present;
      if (isBearerRejected(account, finding, clock.now())) {
        // As a 401 in a turn would: one refresh, as soon as the ceiling allows it.
        context.tell(await store.scheduleRefresh(clock.now(), account.id, clock.now(), true));
        void context.refreshSoon(account.id, { force: false, actor: 'rejected bearer' }, 0);
        return account;
      }
      const result = await holder.recordQuota(clock.now(), account.id, finding, cause);
      if (result === null) return null;
      context.tell(result.changes);
      return result.account;
    },
    async probe(id, provider, account) {
      const finding = await quota.ask({ id, provider }, account, probeLimitMs);
      metrics.quotaChecked('probe', finding);
      return finding;
    },
    refreshNow: (id, how) => refresher.refreshNow(id, how),
    async refreshSoon(id, how, limitMs) {
      const attempt = refresher.refreshNow(id, how).catch((error: unknown) => {
        logFailure(logger, error, 'a refresh failed on the way', { accountId: id });
      });
      await within(attempt, clock, limitMs);
      return store.account(clock.now(), id);
    },
    credentialOf: (id, provider, secret) => sealedCredential(vault, id, provider, secret),
  };
  const doubt = new QuotaDoubt(clock);
  const refresher = createRefresher(context, options.onRefreshStep);
  const sessions = createSessions(context);
  const adding = createAdding(context, endSandbox);
  const accounts = createAccounts(context, adding);
  const logins = createLogins(context, adding);
  const adopt = createAdopt(context, adding);
  const replenisher = createReplenisher(context, [
    createStandbySource(context, adding),
    ...(options.sources?.({ context, adopt, logins }) ?? []),
  ]);
  const upkeep = createUpkeep(context, replenisher);
  const housekeeper = createHousekeeper(context, replenisher, writes);
  /** What other instances on the same database did is heard here as if it had been done here. */
  store.listen((news) => {
    switch (news.type) {
      case 'changes':
        context.tell(news.changes);
        // Another instance has brought an account, perhaps the first.
        if (sandbox !== undefined && news.changes.accounts.length > 0) {
          endSandbox().catch((error: unknown) =>
            logger.error({ err: error }, 'the sandbox could not be ended'),
          );
        }
        break;
      case 'removed':
        events.publish({ type: 'account-removed', account_id: news.id, provider: news.provider });
        break;
      case 'wanted':
        events.publish({ type: 'lease-wanted', account_ids: [...news.accountIds] });
        break;
    }
  });

  async function endSandbox(): Promise<void> {
    const ended = sandbox;
    if (ended === undefined) return;
    sandbox = undefined;
    for (const id of await accountIds(ended, clock.now())) {
      events.publish({ type: 'account-removed', account_id: id, provider: 'sandbox' });
    }
    sessions.wake();
    logger.info(
      'a real account is there: the built-in sandbox accounts are gone until the pool starts empty again',
    );
  }

  const health = async (isGateway = true): Promise<PoolHealth> => {
    const isSandbox = sandbox !== undefined;
    try {
      const found = await storeLook.look();
      if (found === undefined) return withoutStore(isSandbox);
      const { stats } = found;
      return {
        isReachable: true,
        isSandbox,
        providers: stats?.byProvider.filter(isInService).map((one) => one.provider),
        accounts: stats && readinessOf(stats, isGateway),
        gatewayOnly: stats?.gatewayOnly ?? 0,
        isReadOnly: writes.isFailing,
        caller: undefined,
      };
    } catch (error) {
      logFailure(logger, error, 'the store does not answer');
      return withoutStore(isSandbox);
    }
  };

  const allocate: Sessions['allocate'] = async (caller, request, signal) => {
    if (isStopping) throw shuttingDown();
    return metrics.allocation(request, () => sessions.allocate(caller, request, signal));
  };

  return {
    ...accounts,
    ...upkeep,
    ...createTransfer(context, adopt, replenisher.limit),
    ...createAudit(context),
    async startLogin(caller, request) {
      if (isStopping) throw shuttingDown();
      return logins.startLogin(caller, request);
    },
    getLogin: logins.getLogin,
    allocate,
    release: sessions.release,
    report: sessions.report,
    listSessions: sessions.listSessions,
    events,
    metrics: metrics.text,
    clock,
    holders: () => store.holders(),
    version: settings.version,
    secrets,
    health,

    async start() {
      const { total } = await store.stats(clock.now());
      if (settings.sandbox && total === 0) {
        sandbox = await openSandboxStore({ vault, clock });
        logger.debug('the pool holds no account: built-in sandbox accounts are lent');
      }
      await refresher.start();
      replenisher.start();
      housekeeper.start();
      logins.start();
    },
    stopAccepting() {
      isStopping = true;
      sessions.close();
    },
    async close() {
      isStopping = true;
      sessions.close();
      await housekeeper.stop();
      await replenisher.stop();
      await logins.stop();
      await refresher.stop();
      await sandbox?.close();
      await store.close();
    },

    asBorrower: (caller) => ({
      async allocate(request, signal) {
        const allocation = await allocate(caller, request, signal).catch(rethrowAsPoolError(signal));
        return allocation.answer;
      },
      release: (request) => sessions.release(caller, request).catch(rethrowAsPoolError()),
      report: (request) => sessions.report(caller, request).catch(rethrowAsPoolError()),
      subscribe(onEvent, onState, signal) {
        if (signal.aborted) return;
        const stop = events.listen(({ event }) => onEvent(event));
        signal.addEventListener('abort', stop, { once: true });
        onState(true);
      },
      health: () => health(caller.isGateway),
    }),
  };
}

/** The vault, with every credential it opens or seals noted as a secret. */
function withNotedSecrets(vault: Vault, secrets: KnownSecrets): Vault {
  const isCredential = (field: string): boolean => [credentialField, bearerField, codeField].includes(field);
  return {
    ...vault,
    seal(accountId, field, plain) {
      if (isCredential(field)) secrets.use(plain);
      return vault.seal(accountId, field, plain);
    },
    open(accountId, field, sealed) {
      const plain = vault.open(accountId, field, sealed);
      if (isCredential(field)) secrets.use(plain);
      return plain;
    },
  };
}

/** Some account of the provider is not given up. */
function isInService({ states }: ProviderStats): boolean {
  return states.active + states.cooldown + states.exhausted + states.standby > 0;
}

function withoutStore(isSandbox: boolean): PoolHealth {
  return {
    isReachable: false,
    lacksStore: true,
    isSandbox,
    providers: undefined,
    gatewayOnly: 0,
    isReadOnly: true,
    caller: undefined,
  };
}

const probeLimitMs = 5000;
/** A bearer that is rejected so soon after it was made is not the trouble: its account is. */
const freshBearerMs = 60_000;

/** What was found is about a team or a credential that was replaced while the provider was asked. */
function isOutdated(finding: QuotaFinding, asked: StoredAccount, present: StoredAccount): boolean {
  if (present.teamUid !== asked.teamUid) return true;
  // Figures stay true when a token is refreshed; a rejected token says nothing about the next one.
  const isSame = asked.credentialKind === 'refresh_token' && finding.type === 'answer';
  return present.tokenVersion !== asked.tokenVersion && !isSame;
}

function isBearerRejected(account: StoredAccount, finding: QuotaFinding, now: number): boolean {
  const isRejected =
    finding.type === 'failure' && finding.code === 'upstream_unauthorized' && isAboutAccount(finding);
  const isFresh = account.lastRefreshTime !== null && account.lastRefreshTime > now - freshBearerMs;
  return isRejected && account.credentialKind === 'refresh_token' && !isFresh;
}

/** Borrowers see PoolError only, except their own abort. */
function rethrowAsPoolError(signal?: AbortSignal): (error: unknown) => never {
  return (error) => {
    if (error instanceof PoolError || signal?.aborted) throw error;
    if (isDatabaseAway(error)) throw poolUnavailable(error);
    throw new PoolError(
      'pool_unavailable',
      'The account pool met an internal error; its log has the details.',
      {
        cause: error,
      },
    );
  };
}
