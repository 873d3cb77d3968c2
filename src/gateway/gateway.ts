import type { FastifyInstance } from 'fastify';
import type { RoutingSettings } from '../core/configured-routes.ts';
import { ListeningTime } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import type { KnownSecrets } from '../lib/secrets/known-secrets.ts';
import { closeAll } from '../lib/tasks.ts';
import type { Pool } from '../pool-api/pool.ts';
import { GatewayDatabase } from './database/gateway-database.ts';
import { SchemaChecker } from './emulation/json-schema.ts';
import { LiveEvents } from './http/live-events.ts';
import { createGatewayServer, type GatewayServerSettings } from './http/server.ts';
import { createImageFetcher } from './images/image-fetcher.ts';
import { ManagedKeys } from './keys/managed-keys.ts';
import { AccountLimits } from './leases/account-limits.ts';
import { LeaseCache } from './leases/lease-cache.ts';
import { type PoolStanding, PoolWatch } from './leases/pool-watch.ts';
import { Reporter } from './leases/reporter.ts';
import { Limits } from './limits/limits.ts';
import { KnownRefusals } from './models/known-refusals.ts';
import { createModelLists } from './models/model-lists.ts';
import { Routes, type RoutesOptions } from './models/routing.ts';
import { TurnRecords } from './records/turn-record.ts';
import { StoredResponses } from './responses/stored-responses.ts';
import { FairShare, openStateStore } from './state/open-state-store.ts';
import { Affinity } from './turn/affinity.ts';
import type { TurnDependencies } from './turn/client-turns.ts';
import { Conversations, RememberedReasoning } from './turn/conversations.ts';
import { type ContentSettings, LoggedContent } from './turn/logged-content.ts';
import { RunningTurns } from './turn/running-turns.ts';
import { Circuits, ProviderReach } from './turn/upstream-health.ts';
import { UsageLedger } from './usage/ledger.ts';

export interface GatewayOptions
  extends GatewayServerSettings,
    Pick<
      TurnDependencies,
      'maxChoices' | 'timeouts' | 'dispatcher' | 'clock' | 'userAgent' | 'secrets' | 'logger'
    >,
    Pick<RoutesOptions, 'providers' | 'sandbox' | 'routing' | 'isStrict'> {
  readonly pool: Pool;
  /** Unset: images come inline only. Else the hosts that may lie in private networks. */
  readonly fetchImagesFrom: readonly string[] | undefined;
  readonly responsesTtlMs: number;
  /** Mean time to the first content above which an account is not preferred; 0: none is. */
  readonly slowFirstContentMs: number;
  /** Absent: nothing of what is said is logged. */
  readonly content: ContentSettings | undefined;
  /** Where conversations and stored responses are kept, and how many bytes of them. */
  readonly keep: { readonly url: string; readonly maxBytes: number };
  /** Where client keys and usage are kept. */
  readonly databaseUrl: string;
  readonly usage: { readonly keepDays: number; readonly maxBytes: number };
}

export interface Gateway {
  readonly server: FastifyInstance;
  /** No client key was ever made, as far as is known. */
  readonly lacksClientKeys: boolean;
  /** Turns that begin from now on go by these; running ones end as they began. */
  configure(routing: RoutingSettings): void;
  /** Stops accepting, ends turns by the deadline, sends the last reports, gives all accounts back. */
  close(): Promise<void>;
}

export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { clock, logger, secrets } = options;
  // The first of all: where it ends the start, nothing else is open yet that would keep the process alive.
  const database = await GatewayDatabase.open({ url: options.databaseUrl, clock, logger });
  const pool = withNotedBearers(options.pool, secrets);
  const poolWatch = new PoolWatch(pool, clock, {
    onReach(isReachable, lacksStore) {
      if (isReachable) logger.info('the account pool answers again');
      else if (lacksStore)
        logger.warn(
          'the account pool cannot reach its database: turns go on with the accounts they hold, and get no others',
        );
      else
        logger.warn(
          'the account pool does not answer at POOL_SERVICE_URL: turns go on with the accounts they hold, and get no others; start it with "warp2api serve pool", or correct the address',
        );
    },
    onStanding: (standing) => announceStanding(standing, logger),
  });
  await poolWatch.look();
  const leases = new LeaseCache(pool, clock, logger);
  const reporter = new Reporter(pool, leases.held, clock, logger);
  const store = await openStateStore({ ...options.keep, clock, logger });
  const gatewaysClock = { ...clock, now: () => database.now() };
  const limits = new Limits(database, gatewaysClock, logger);
  const running = new RunningTurns(clock);
  const managedKeys = new ManagedKeys({
    database,
    running,
    clock: gatewaysClock,
    logger,
  });
  await managedKeys.open();
  const { of: named = 'all' } = options.content ?? {};
  for (const name of named === 'all' ? [] : named)
    if (!managedKeys.mayHaveName(name))
      logger.warn(`LOG_CONTENT names "${name}", and no client key has that name: see warp2api key list`);
  const ledger = new UsageLedger({ database, clock, logger, ...options.usage });
  // Clients without their own keys count as one, and need no fair shares.
  const areSeveral = () => options.apiKeys.length > 1 || !managedKeys.areNone;
  const shared = new FairShare(store, options.keep.maxBytes, areSeveral);
  const imageFetcher =
    options.fetchImagesFrom &&
    createImageFetcher({
      ...options,
      allowedHosts: options.fetchImagesFrom,
    });
  const schemas = new SchemaChecker(clock);
  const models = createModelLists(leases, clock, logger);
  const stop = new AbortController();
  pool.subscribe(
    (event) => {
      if (event.type === 'account-changed') models.accountChanged(event.account_id);
      if (event.type === 'account-removed') models.accountRemoved(event.account_id);
    },
    () => {},
    stop.signal,
  );
  const routes = new Routes({ ...options, models, poolWatch });
  const { telemetry } = options;
  const tracing = telemetry && new (await import('./telemetry/turn-telemetry.ts')).TurnTelemetry(telemetry);
  const records = new TurnRecords(clock, tracing);
  const live = new LiveEvents({
    limits,
    pool,
    poolWatch,
    records,
    clock,
    turns: () => running.count,
    waiting: () => leases.waiting,
  });
  const server = createGatewayServer({
    ...options,
    dependencies: {
      ...options,
      routes,
      models,
      circuits: new Circuits(clock),
      limits: new AccountLimits(clock),
      refusals: new KnownRefusals(clock),
      records,
      ledger,
      leases,
      reporter,
      reach: new ProviderReach(clock),
      conversations: new Conversations(shared),
      reasoning: new RememberedReasoning(shared),
      affinity: new Affinity(clock.monotonic, options.slowFirstContentMs),
      schemas,
      imageFetcher,
      listening: new ListeningTime(clock),
      running,
      content: options.content && new LoggedContent(options.content, secrets, logger),
    },
    managedKeys,
    providerNames: [...options.providers, options.sandbox].map(({ name }) => name),
    live,
    poolWatch,
    pool,
    responses: new StoredResponses(
      shared,
      options.responsesTtlMs,
      (error) => logger.warn({ err: error }, 'a response could not be kept'),
      { clock, arePossible: () => store.figures().store === 'postgres' },
    ),
    store: shared,
    keep: store,
    database,
    usage: ledger,
    limits,
  });

  return {
    server,
    lacksClientKeys: managedKeys.areNone,
    configure: (routing) => routes.configure(routing),
    close: () =>
      closeAll([
        server,
        live,
        { close: () => stop.abort() },
        ...options.providers.map(({ caller }) => caller),
        poolWatch,
        reporter,
        leases,
        store,
        limits,
        managedKeys,
        ledger,
        database,
        imageFetcher,
        schemas,
      ]),
  };
}

/** A gateway that the pool takes for a borrower still works, but not with all accounts. */
function announceStanding({ caller, gatewayOnly }: PoolStanding, logger: Logger): void {
  switch (caller) {
    case 'unknown':
      logger.warn(
        'the account pool does not take the key of this gateway, and no turn can be answered: set the same GATEWAY_KEY for both (or the same POOL_API_KEY, to borrow like any program)',
      );
      break;
    case 'admin':
    case 'borrower':
      if (gatewayOnly > 0) {
        logger.warn(
          { accounts: gatewayOnly },
          'the account pool takes this gateway for an ordinary borrower and does not lend it the accounts that are for gateways only: set the same GATEWAY_KEY for both',
        );
      } else {
        logger.info(
          'the account pool takes this gateway for an ordinary borrower, and checks its reports: with the same GATEWAY_KEY for both it is known as a gateway',
        );
      }
      break;
    default:
  }
}

/** The pool, with every bearer it lends noted as a secret, so that none is shown that an upstream repeats. */
function withNotedBearers(pool: Pool, secrets: KnownSecrets): Pool {
  return {
    ...pool,
    async allocate(...asked) {
      const answer = await pool.allocate(...asked);
      for (const { id_token } of answer.accounts) secrets.use(id_token);
      return answer;
    },
    async report(request) {
      const answer = await pool.report(request);
      for (const { id_token } of answer.results) if (id_token !== undefined) secrets.use(id_token);
      return answer;
    },
  };
}
