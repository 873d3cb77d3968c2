import type { Provider } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import { KnownSecrets } from '../lib/secrets/known-secrets.ts';
import { closeAll, createLimit } from '../lib/tasks.ts';
import { PoolError } from '../pool-api/errors.ts';
import type { Pool, PoolHealth } from '../pool-api/pool.ts';
import { Accounts } from './accounts/accounts.ts';
import { Adding } from './accounts/adding.ts';
import { changeMany, refreshTokens } from './accounts/bulk.ts';
import { Quota } from './accounts/quota.ts';
import { Reports } from './accounts/reports.ts';
import { exportAccounts, importAccounts } from './accounts/transfer.ts';
import type { Basics, Caller, PoolSettings } from './base/basics.ts';
import { isDatabaseAway, poolUnavailable, shuttingDown } from './base/failures.ts';
import { createPoolMetrics } from './base/metrics.ts';
import { EventHub, observedStore, StoreHealth } from './base/observed-store.ts';
import { presentProviders } from './base/present.ts';
import { LendingStore } from './lending/lending-store.ts';
import { type Allocation, Sessions } from './lending/sessions.ts';
import { SkipLog, WaitingRoom } from './lending/waiting-room.ts';
import { Logins } from './logins/logins.ts';
import { Replenisher } from './replenish/replenish.ts';
import type { Source, SourceTools } from './replenish/source.ts';
import { createStandbySource } from './replenish/standby.ts';
import type { Store } from './store/store.ts';
import { Refresher, type RefreshStep } from './tokens/refresh.ts';
import { Housekeeper } from './upkeep/housekeeper.ts';
import { auditTrail, poolHealth, poolStatus } from './upkeep/status.ts';
import { Credentials, type Vault } from './vault/vault.ts';

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
  /** Where replenishing fetches accounts from, after those in standby, in order. */
  readonly sources?: (tools: SourceTools) => readonly Source[];
  /** Called at every step of a refresh: tests end the process there. */
  readonly onRefreshStep?: (step: RefreshStep) => Promise<void>;
}

export type PoolService = ReturnType<typeof createPool>;

/**
 * The pool's operations, once, for the gateway in this process and for the HTTP server alike. Requests are checked
 * by the parts; every call throws PoolError. `start` first; `close` last, it closes the store too.
 */
export function createPool(options: PoolOptions) {
  const { providers, clock, logger, settings, vault, secrets = new KnownSecrets() } = options;
  const events = new EventHub();
  const metrics = createPoolMetrics(settings.minPoolSize);
  const storeHealth = new StoreHealth(clock);
  const store = observedStore(options.store, { events, metrics, health: storeHealth });
  const basics: Basics = {
    store,
    vault,
    credentials: new Credentials(vault, secrets),
    secrets,
    providers,
    clock,
    logger,
    settings,
    events,
    metrics,
    random: options.random ?? Math.random,
  };
  const lending = new LendingStore(basics);
  const refresher = new Refresher(basics, options.onRefreshStep);
  const quota = new Quota(basics, lending, refresher);
  const skips = new SkipLog();
  const room = new WaitingRoom(basics, lending, skips);
  const sessions = new Sessions(basics, lending, room);
  const reports = new Reports(basics, lending, quota, refresher);
  const adding = new Adding(basics, quota, refresher, lending);
  const logins = new Logins(basics, adding);
  const sources = [
    createStandbySource(basics, adding),
    ...(options.sources?.({ basics, adding, logins }) ?? []),
  ];
  const accounts = new Accounts(basics, adding, skips, sources);
  const limit = createLimit(settings.provisionConcurrency);
  const replenisher = new Replenisher(basics, sources, limit);
  const housekeeper = new Housekeeper(basics, { lending, quota, sources, replenisher, storeHealth });
  let isStopping = false;

  store.listen((news) => {
    events.heard(news);
    // Another instance has brought an account, perhaps the first.
    if (news.type === 'changes' && news.changes.accounts.length > 0) {
      lending
        .endSandbox()
        .catch((error: unknown) => logger.error({ err: error }, 'the sandbox could not be ended'));
    }
  });

  async function allocate(caller: Caller, request: unknown, signal?: AbortSignal): Promise<Allocation> {
    if (isStopping) throw shuttingDown();
    return metrics.allocation(request, () => sessions.allocate(caller, request, signal));
  }

  const stopAccepting = (): void => {
    isStopping = true;
    room.close();
  };

  /** `accounts` as they stand to a gateway, unless the caller is none. Not reachable once the store is beyond use. */
  const health = (isGateway = true): Promise<PoolHealth> =>
    poolHealth(basics, storeHealth, lending.isSandbox, isGateway);

  return {
    add: accounts.add.bind(accounts),
    list: accounts.list.bind(accounts),
    get: accounts.get.bind(accounts),
    change: accounts.change.bind(accounts),
    remove: accounts.remove.bind(accounts),
    ensureEnvAccount: accounts.ensureEnvAccount.bind(accounts),
    // With a limit of its own: what an owner does to many accounts holds up no replenishing.
    changeMany: changeMany.bind(undefined, {
      basics,
      accounts,
      quota,
      refresher,
      limit: createLimit(settings.provisionConcurrency),
    }),
    providers: () => presentProviders(providers.values()),
    importAccounts: importAccounts.bind(undefined, basics, adding, limit),
    exportAccounts: exportAccounts.bind(undefined, basics),
    async startLogin(caller: Caller, request: unknown) {
      if (isStopping) throw shuttingDown();
      return logins.startLogin(caller, request);
    },
    getLogin: logins.getLogin.bind(logins),
    listLogins: logins.listLogins.bind(logins),
    cancelLogin: logins.cancelLogin.bind(logins),
    allocate,
    release: sessions.release.bind(sessions),
    eligible: sessions.eligible.bind(sessions),
    report: reports.report.bind(reports),
    listSessions: sessions.list.bind(sessions),
    status: () => poolStatus(basics, lending, replenisher),
    replenish: replenisher.replenish.bind(replenisher),
    refreshTokens: refreshTokens.bind(undefined, basics, refresher),
    trail: (query: unknown) => auditTrail(store, query),
    health,
    async metrics(isDiskLow = false) {
      const stats = await options.store.stats(clock.now()).catch(() => null);
      const lendingStats = lending.isSandbox ? await lending.current.stats(clock.now()) : stats;
      const figures = { stats, sessions: lendingStats?.sessions ?? 0, isDiskLow };
      return metrics.text({ ...figures, waiting: room.size, eventReaders: events.readers });
    },
    /** The processes that have its database open now, as far as there can be several. */
    holders: () => store.holders(),
    events,
    clock,
    secrets,
    version: settings.version,
    kind: store.isShared ? 'postgres' : 'sqlite',

    async start() {
      await lending.start();
      await refresher.start();
      replenisher.start();
      housekeeper.start();
      logins.start();
    },
    /** Ends waits and refuses new calls; leases can still be given back until `close`. */
    stopAccepting,
    close() {
      stopAccepting();
      const running = [housekeeper, replenisher, logins, refresher];
      return closeAll([...running.map((part) => ({ close: () => part.stop() })), lending, store]);
    },

    asBorrower: (caller: Caller): Pool => ({
      async allocate(request, signal) {
        const allocation = await allocate(caller, request, signal).catch(rethrowAsPoolError(signal));
        return allocation.answer;
      },
      release: (request) => sessions.release(caller, request).catch(rethrowAsPoolError()),
      eligible: (request) => sessions.eligible(caller, request).catch(rethrowAsPoolError()),
      report: (request) => reports.report(caller, request).catch(rethrowAsPoolError()),
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

/** Borrowers see PoolError only, except their own abort. */
function rethrowAsPoolError(signal?: AbortSignal): (error: unknown) => never {
  return (error) => {
    if (error instanceof PoolError || signal?.aborted) throw error;
    if (isDatabaseAway(error)) throw poolUnavailable(error);
    const message = 'The account pool met an internal error; its log has the details.';
    throw new PoolError('pool_unavailable', message, { cause: error });
  };
}
