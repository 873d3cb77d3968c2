import { join } from 'node:path';
import type { Sandbox, SandboxOptions } from '../../sandbox/index.ts';
import type { Config } from '../config.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { closeFolder, makeFolder } from '../lib/files.ts';
import type { Logger } from '../lib/log/logger.ts';
import { createNetwork, type Network } from '../lib/network/network.ts';
import { userAgent, version } from '../lib/version.ts';
import type { PoolOptions, PoolService, VaultPlace } from '../pool/index.ts';
import { createProviderHttp } from '../providers/http.ts';
import { type Providers, publicHostsOf } from '../providers/registry.ts';
import { offersSandbox } from '../run-mode.ts';

/** What tests put in place of the real thing. */
export interface ServiceSeams {
  readonly clock?: Clock;
  readonly onRefreshStep?: PoolOptions['onRefreshStep'];
}

/** Things opened in order, to be closed in reverse; what was opened before a failure is closed too. */
export class Opened extends AsyncDisposableStack {
  readonly #logger: Logger | undefined;

  constructor(logger?: Logger) {
    super();
    this.#logger = logger;
  }

  add(name: string, close: () => Promise<unknown>): void {
    this.defer(async () => {
      try {
        await close();
      } catch (error) {
        this.#logger?.error({ err: error }, `closing ${name} failed`);
      }
    });
  }
}

export function createVendorNetwork(config: Config, clock: Clock = systemClock): Network {
  const { proxies, providerSettings: settings, providers: configured } = config;
  return createNetwork({ proxies, clock, userAgent, publicHosts: publicHostsOf({ settings, configured }) });
}

export function openNetwork(config: Config, opened: Opened, clock?: Clock): Network {
  const network = createVendorNetwork(config, clock);
  // Before all that is added later, and so closed after it: reports and cancellations still find their way.
  opened.add('the connections to vendors', async () => network.close());
  return network;
}

export async function startSandbox(options?: SandboxOptions): Promise<Sandbox> {
  return (await import('../../sandbox/index.ts')).startSandbox(options);
}

export async function openProviders(
  config: Config,
  network: Network,
  logger: Logger,
  opened: Opened,
  clock: Clock = systemClock,
): Promise<Providers> {
  // Commands that reach a running pool need none of them.
  const { createProviders } = await import('../providers/registry.ts');
  let sandbox: Promise<Sandbox> | undefined;
  // Before all that is added later, and so closed after it: turns go on to their end meanwhile.
  opened.add('the sandbox', async () => (await sandbox)?.close());
  return createProviders(
    { settings: config.providerSettings, configured: config.providers },
    {
      // Started when first needed: most processes never do.
      async sandboxUrl() {
        sandbox ??= startSandbox();
        return (await sandbox).url;
      },
      http: createProviderHttp(network.dispatcher),
      tokenHttp: createProviderHttp(network.singleUse),
      clock,
      logger,
      userAgent,
    },
  );
}

export async function buildPool(
  config: Config,
  { providers, network }: { readonly providers: Providers; readonly network: Network },
  logger: Logger,
  onLost: (error: Error) => void,
  opened: Opened,
  { clock = systemClock, onRefreshStep }: ServiceSeams = {},
): Promise<PoolService> {
  makeFolder(config.dataDir, 'DATA_DIR');
  closeDataFolder(config, logger);
  const { createPool, openSources, openStore, openVault } = await import('../pool/index.ts');
  const store = await openStore(config.databaseUrl, {
    clock,
    onLost,
    onTrouble: (error) => logger.warn({ err: error }, 'trouble with the database'),
    onBack: (awayForMs) =>
      logger.info({ away_seconds: Math.round(awayForMs / 1000) }, 'the database answers again'),
  });
  const vault = await openVault({
    store,
    ...vaultPlace(config),
    now: store.clock.now(),
    onNotice: (message) => logger.warn(message),
  }).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  const pool = createPool({
    store,
    vault,
    secrets: config.secrets,
    providers: providers.all,
    clock: store.clock,
    logger: logger.child({ service: 'pool' }),
    sources: (tools) =>
      openSources(config.sources, tools, { http: createProviderHttp(network.dispatcher), userAgent }),
    settings: {
      minPoolSize: config.pool.minSize,
      maxPoolSize: config.pool.maxSize,
      sessionTimeoutMs: config.pool.sessionTimeoutMs,
      retireAfterMs: config.pool.retireAfterMs,
      sandbox: offersSandbox(config),
      refreshMinIntervalMs: config.pool.refreshMinIntervalMs,
      provisionConcurrency: config.pool.provisionConcurrency,
      version,
    },
    ...(onRefreshStep && { onRefreshStep }),
  });
  opened.add('the pool', () => pool.close());
  return pool;
}

export function vaultPlace(config: Config): VaultPlace {
  const { masterKey, masterKeyFile, dataDir } = config;
  return { masterKey, masterKeyFile, defaultKeyFile: join(dataDir, 'master.key') };
}

/** Every process and command does this, so that the first one closes the folder. */
export function closeDataFolder({ dataDir }: Config, logger?: Logger): void {
  const advice = closeFolder(dataDir, 'DATA_DIR');
  if (advice !== undefined) logger?.warn(advice);
}
