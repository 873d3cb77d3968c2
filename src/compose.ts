import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Sandbox, SandboxOptions } from '../sandbox/index.ts';
import {
  absoluteDatabaseUrl,
  type Config,
  checkRunMode,
  keyWarnings,
  offersSandbox,
  type RunMode,
} from './config.ts';
import type { UpstreamProvider } from './core/provider.ts';
import { DatabaseError } from './db/errors.ts';
import { BodyBudget } from './lib/body-budget.ts';
import { type Clock, createSteadyClock, systemClock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import { isLoopbackHost, isOnThisMachine } from './lib/loopback.ts';
import { makeFolder } from './lib/make-folder.ts';
import { createNetwork, type Network } from './lib/network/network.ts';
import { shownProxy } from './lib/network/proxy-rules.ts';
import { closeFolder } from './lib/private-folder.ts';
import { addressBeside, localUrl } from './lib/service-address.ts';
import { readSharedKey, sharedKey } from './lib/shared-key-file.ts';
import { userAgent, version } from './lib/version.ts';
import type { Caller, MovedRows, PoolOptions, PoolService, Rotation, VaultPlace } from './pool/index.ts';
import { createHttpPool, createHttpPoolAdmin } from './pool-api/http-pool.ts';
import type { Pool, PoolAdmin } from './pool-api/pool.ts';
import { createProviderHttp } from './providers/http.ts';
import { createProviders, type Providers } from './providers/registry.ts';

// What not every process needs is loaded by whoever needs it: a gateway by itself carries no pool, a pool with accounts
// no sandbox.

export interface RunningServices {
  /** Where the services of this process listen; undefined for one that it does not run. */
  readonly poolUrl?: string;
  readonly gatewayUrl?: string;
  /** Stops accepting, lets turns end until the deadline, gives accounts back, closes the store. */
  close(): Promise<void>;
}

/** What tests put in place of the real thing. */
export interface ServiceSeams {
  readonly clock?: Clock;
  readonly onRefreshStep?: PoolOptions['onRefreshStep'];
}

/** Things opened in order, to be closed in reverse; what was opened before a failure is closed too. */
class Opened {
  readonly #closers: { readonly name: string; readonly close: () => Promise<unknown> }[] = [];
  readonly #logger: Logger | undefined;

  constructor(logger?: Logger) {
    this.#logger = logger;
  }

  add(name: string, close: () => Promise<unknown>): void {
    this.#closers.push({ name, close });
  }

  async close(): Promise<void> {
    for (let closer = this.#closers.pop(); closer; closer = this.#closers.pop()) {
      try {
        await closer.close();
      } catch (error) {
        this.#logger?.error({ err: error }, `closing ${closer.name} failed`);
      }
    }
  }
}

/**
 * Starts the services of one process and resolves once they listen. `onLost` is called when a service can no longer do
 * its work and the process should end. Throws with a message that says what to do.
 */
export async function startServices(
  config: Config,
  mode: RunMode,
  logger: Logger,
  onLost: (error: Error) => void,
  seams: ServiceSeams = {},
): Promise<RunningServices> {
  checkRunMode(config, mode);
  for (const warning of keyWarnings(config, mode)) logger.warn(warning);
  const opened = new Opened(logger);
  const urls: { poolUrl?: string; gatewayUrl?: string } = {};
  try {
    const { clock = createSteadyClock() } = seams;
    const network = openNetwork(config, opened, clock);
    announceProxies(config, logger);
    const providers = openProviders(config, network, logger, opened, clock);
    const bodies = new BodyBudget(config.bodiesMaxBytes);
    const holdsPool = mode !== 'gateway' || !config.usePoolService;
    const pool = holdsPool
      ? await openPool(config, { providers, network }, logger, onLost, opened, { ...seams, clock })
      : undefined;
    if (!pool) closeDataFolder(config, logger);
    if (pool) {
      // Before the start: the sandbox is for pools that have no account, and this may be the first.
      if (config.warp.apiKey !== undefined) await pool.ensureEnvAccount('warp', config.warp.apiKey);
      await pool.start();
    }
    if (pool && mode !== 'gateway' && (mode === 'pool' || config.usePoolService)) {
      const { createPoolServer } = await import('./pool/index.ts');
      const gatewayKey = config.pool.gatewayKey ?? ownGatewayKey(config, logger);
      const server = createPoolServer({
        pool,
        bodies,
        folders: writtenFolders(config),
        logger: logger.child({ service: 'pool' }),
        ...(config.pool.adminKey === undefined ? {} : { adminKey: config.pool.adminKey }),
        ...(config.pool.apiKey === undefined ? {} : { poolApiKey: config.pool.apiKey }),
        ...(gatewayKey === undefined ? {} : { gatewayKey }),
        gatewayAddress: (seen) => addressBeside(seen, config.pool, config.gateway, urls.gatewayUrl),
        allowedHosts: hostCheck(config, config.pool.host, config.pool.adminKey !== undefined),
      });
      opened.add('the pool server', () => server.close());
      await listen(server, config.pool.host, config.pool.port, 'POOL_SERVICE_PORT');
      urls.poolUrl = server.listeningOrigin;
      logger.info({ url: urls.poolUrl }, 'the account pool listens');
    }
    if (mode !== 'pool') {
      const { createGateway } = await import('./gateway/gateway.ts');
      const gateway = await createGateway({
        pool: pool
          ? pool.asBorrower({ role: 'borrower', keyId: 'gateway', isGateway: true })
          : openHttpPool(config, opened, logger),
        bodies,
        isPoolInside: pool !== undefined,
        poolAddress: config.usePoolService
          ? (seen) => addressBeside(seen, config.gateway, config.pool, urls.poolUrl)
          : undefined,
        providers: [upstream(providers, 'warp'), upstream(providers, 'oz')],
        sandbox: upstream(providers, 'sandbox'),
        apiKeys: config.gateway.apiKeys,
        ...(config.pool.adminKey === undefined ? {} : { adminKey: config.pool.adminKey }),
        aliases: config.aliases,
        isStrictAboutModels: config.gateway.strictModels,
        allowedHosts: hostCheck(config, config.gateway.host, config.gateway.apiKeys.length > 0),
        corsOrigins: config.corsOrigins,
        timeouts: { firstEventMs: config.gateway.firstEventTimeoutMs, idleMs: config.gateway.idleTimeoutMs },
        maxChoices: config.gateway.maxChoices,
        fetchImagesFrom: config.gateway.fetchImagesFrom,
        responsesTtlMs: config.responsesTtlMs,
        slowFirstContentMs: config.gateway.slowFirstContentMs,
        keep: config.gateway.keep,
        shutdownMs: config.shutdownMs,
        folders: writtenFolders(config),
        dispatcher: network.dispatcher,
        userAgent,
        secrets: config.secrets,
        clock,
        logger: logger.child({ service: 'gateway' }),
      });
      if (config.corsOrigins.includes('*') && config.gateway.apiKeys.length === 0) {
        logger.warn(
          'CORS_ORIGINS=* without API_KEYS lets every web page in a browser on this machine use your accounts: name the origins, or set API_KEYS.',
        );
      }
      opened.add('the gateway', () => gateway.close());
      await listen(gateway.server, config.gateway.host, config.gateway.port, 'PORT');
      urls.gatewayUrl = gateway.server.listeningOrigin;
      logger.info({ url: urls.gatewayUrl }, 'the gateway listens');
    }
    if (pool && mode === 'both' && !isOwnPool(config)) {
      logger.warn(
        `POOL_SERVICE_URL is ${config.poolUrl}, but this process runs its own pool: to use the other one, start "warp2api serve gateway".`,
      );
    }
    if (pool) await announceSandbox(pool, logger);
  } catch (error) {
    await opened.close();
    throw error;
  }
  return { ...urls, close: () => opened.close() };
}

/** The pool for its owner's commands: the store itself, or over HTTP when a running service holds it. */
export async function openPoolAdmin(config: Config, logger: Logger): Promise<PoolAdmin & AsyncDisposable> {
  try {
    const local = await openLocalPool(config, logger);
    return Object.assign(local.admin, { [Symbol.asyncDispose]: () => local[Symbol.asyncDispose]() });
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== 'database_in_use') throw error;
    if (!config.usePoolService) {
      const message =
        'The running gateway holds the pool, which answers no other program (USE_POOL_SERVICE=false): stop it first, or let it run with USE_POOL_SERVICE=true.';
      throw new Error(message, { cause: error });
    }
    const admin = openRemoteAdmin(config);
    return Object.assign(admin, { [Symbol.asyncDispose]: () => admin.close() });
  }
}

/** A pool from both sides. */
export interface OpenedPool extends AsyncDisposable {
  readonly admin: PoolAdmin;
  readonly borrower: Pool;
}

/** The pool over its own store. Throws DatabaseError `database_in_use` when a service holds it. */
export async function openLocalPool(config: Config, logger: Logger): Promise<OpenedPool> {
  const opened = new Opened();
  try {
    const network = openNetwork(config, opened);
    const providers = openProviders(config, network, logger, opened);
    const pool = await openPool(config, { providers, network }, logger, () => {}, opened);
    return {
      admin: adminOf(pool),
      borrower: pool.asBorrower({ ...commandLine, isGateway: true }),
      [Symbol.asyncDispose]: () => opened.close(),
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** The pool that a running service offers. */
export function openRemotePool(config: Config): OpenedPool {
  const { adminKey: apiKey } = config.pool;
  const admin = openRemoteAdmin(config);
  // With the key that a gateway of this configuration shows, so that accounts for gateways only can be lent as well.
  const generated = isOnThisMachine(config.poolUrl) ? readSharedKey(gatewayKeyFile(config)) : undefined;
  config.secrets.add(generated);
  const { gatewayKey = generated } = config.pool;
  const borrower = createHttpPool({ baseUrl: config.poolUrl, apiKey, gatewayKey });
  return {
    admin,
    borrower,
    async [Symbol.asyncDispose]() {
      await borrower.close();
      await admin.close();
    },
  };
}

function openRemoteAdmin(config: Config): ReturnType<typeof createHttpPoolAdmin> {
  const { adminKey: apiKey } = config.pool;
  return createHttpPoolAdmin({ baseUrl: config.poolUrl, ...(apiKey === undefined ? {} : { apiKey }) });
}

/** Seals all credentials under another master key. Throws when a service holds the store. */
export async function rotateMasterKey(config: Config, newKeyFile: string | undefined): Promise<Rotation> {
  const now = systemClock.now();
  const place = vaultPlace(config);
  closeDataFolder(config);
  const { openStore, openVault, rotateKey } = await import('./pool/index.ts');
  const store = await openStore(config.databaseUrl, {
    clock: systemClock,
    exclusive: true,
    onLost() {},
  }).catch((error: unknown) => {
    if (!(error instanceof DatabaseError) || error.code !== 'database_in_use') throw error;
    throw new Error(`The key is rotated while no service runs. ${error.message}`, { cause: error });
  });
  try {
    const vault = await openVault({ store, ...place, now });
    return await rotateKey({
      store,
      vault,
      place,
      now,
      actor: commandLine.keyId,
      ...(newKeyFile === undefined ? {} : { newKeyFile }),
    });
  } finally {
    await store.close();
  }
}

/** Moves the pool from SQLite to PostgreSQL. Throws when a service holds either. */
export async function movePool(
  config: Config,
  { from, to }: { readonly from?: string; readonly to: string },
): Promise<MovedRows> {
  config.secrets.addUrl(to);
  config.secrets.addUrl(from);
  const { moveStore } = await import('./pool/index.ts');
  closeDataFolder(config);
  return moveStore(
    from === undefined ? config.databaseUrl : absoluteDatabaseUrl(from, config.dataDir),
    to,
    systemClock.now(),
  );
}

/** Every process and command does this, so that the first one closes the folder. */
function closeDataFolder({ dataDir }: Config, logger?: Logger): void {
  const advice = closeFolder(dataDir, 'DATA_DIR');
  if (advice !== undefined) logger?.warn(advice);
}

const gatewayKeyFile = (config: Config): string => join(config.dataDir, 'gateway.key');

/** The key of gateways on this machine where no GATEWAY_KEY is set. Throws KeyFileError. */
function ownGatewayKey(config: Config, logger: Logger): string | undefined {
  const path = gatewayKeyFile(config);
  const key = sharedKey(path);
  config.secrets.add(key);
  if (key === undefined) {
    logger.warn(
      `${path} can be neither read nor made, so gateways that run apart are ordinary borrowers to the pool: set the same GATEWAY_KEY for both services.`,
    );
  }
  return key;
}

/** The folders of the database, of what the gateway remembers, and of the log. */
function writtenFolders({ databaseUrl, dataDir, gateway, logFile }: Config): readonly string[] {
  const files = [databaseUrl, gateway.keep.url]
    .filter((url) => url.startsWith('sqlite:') && url !== 'sqlite::memory:')
    .map((url) => dirname(url.slice('sqlite:'.length)));
  return [...new Set([dataDir, ...files, ...(logFile ? [dirname(logFile.path)] : [])])];
}

function vaultPlace(config: Config): VaultPlace {
  const { masterKey, masterKeyFile } = config;
  return {
    ...(masterKey === undefined ? {} : { masterKey }),
    ...(masterKeyFile === undefined ? {} : { masterKeyFile }),
    defaultKeyFile: join(config.dataDir, 'master.key'),
  };
}

/** Runs the sandbox alone. */
export async function startSandboxAlone(
  options: {
    readonly port: number;
    readonly host: string;
    readonly tls?: boolean;
    readonly certificate?: string;
    readonly requireHttp2?: boolean;
  },
  logger: Logger,
): Promise<RunningServices> {
  const { host, port, requireHttp2 = false } = options;
  // Each of the others is of no use without it.
  const tls = options.tls === true || options.certificate !== undefined || requireHttp2;
  const sandbox = await startSandbox({ host, port, requireHttp2, ...(tls && { tls: 'only' }) }).catch(
    (error: unknown) => {
      throw listenError(error, host, port, '--port');
    },
  );
  const { certificate } = sandbox.transport;
  const folder =
    certificate === undefined || options.certificate !== undefined
      ? undefined
      : mkdtempSync(join(tmpdir(), 'warp2api-sandbox-'));
  const file = options.certificate ?? (folder && join(folder, 'certificate.pem'));
  if (certificate !== undefined && file !== undefined) writeFileSync(file, certificate);
  const trust = certificate === undefined ? '' : `NODE_EXTRA_CA_CERTS=${file} `;
  logger.info(
    { url: sandbox.url, ...(trust && { certificate: file }) },
    `the sandbox listens; use it with ${trust}WARP_SERVER_URL=${sandbox.url}`,
  );
  return {
    async close() {
      await sandbox.close();
      if (folder !== undefined) rmSync(folder, { recursive: true });
    },
  };
}

async function startSandbox(options?: SandboxOptions): Promise<Sandbox> {
  return (await import('../sandbox/index.ts')).startSandbox(options);
}

/** The way to all vendors. */
export function createVendorNetwork({ proxies }: Config, clock: Clock = systemClock): Network {
  return createNetwork({ proxies, clock, userAgent });
}

function openNetwork(config: Config, opened: Opened, clock?: Clock): Network {
  const network = createVendorNetwork(config, clock);
  // Before all that is added later, and so closed after it: reports and cancellations still find their way.
  opened.add('the connections to vendors', async () => network.close());
  return network;
}

function announceProxies({ proxies }: Config, logger: Logger): void {
  const { http, https, noProxy } = proxies;
  if (!https) {
    if (http)
      logger.warn(
        `${http.setting} alone has no effect: vendors are https, and reached directly unless HTTPS_PROXY is set.`,
      );
    return;
  }
  logger.info(
    {
      https: `${shownProxy(https)} (${https.setting})`,
      http: http ? `${shownProxy(http)} (${http.setting})` : 'directly',
      no_proxy: noProxy,
    },
    'vendors are reached through a proxy',
  );
}

function openProviders(
  config: Config,
  network: Network,
  logger: Logger,
  opened: Opened,
  clock: Clock = systemClock,
): Providers {
  let sandbox: Promise<Sandbox> | undefined;
  // Before all that is added later, and so closed after it: turns go on to their end meanwhile.
  opened.add('the sandbox', async () => (await sandbox)?.close());
  return createProviders({
    warpServerUrl: config.warp.serverUrl,
    warpOauth: {
      clientId: config.warp.oauthClientId,
      firebaseApiKey: config.warp.firebaseApiKey,
      identityUrl: config.warp.identityUrl,
      tokenUrl: config.warp.tokenUrl,
    },
    oz: { ...config.oz, clock, logger },
    configured: config.providers,
    // Started by whoever needs it first: most processes never do.
    async sandboxUrl() {
      sandbox ??= startSandbox();
      return (await sandbox).url;
    },
    http: createProviderHttp(network.dispatcher),
    tokenHttp: createProviderHttp(network.singleUse),
    now: clock.now,
    userAgent,
    onAnomaly(anomaly, { upstreamRequestId, detail }) {
      // What no version of this program knows yet is of no use to whoever runs it.
      const level = anomaly.startsWith('unknown-') ? 'debug' : 'info';
      logger[level](
        { anomaly, detail, upstream_request_id: upstreamRequestId },
        'an odd event of the upstream',
      );
    },
  });
}

async function openPool(
  config: Config,
  { providers, network }: { readonly providers: Providers; readonly network: Network },
  logger: Logger,
  onLost: (error: Error) => void,
  opened: Opened,
  { clock = systemClock, onRefreshStep }: ServiceSeams = {},
): Promise<PoolService> {
  makeFolder(config.dataDir);
  closeDataFolder(config, logger);
  const { createPool, openSources, openStore, openVault } = await import('./pool/index.ts');
  const store = await openStore(config.databaseUrl, {
    clock,
    onLost,
    onTrouble: (error) => logger.warn({ err: error }, 'trouble with the database'),
  });
  const vault = await openVault({
    store,
    ...vaultPlace(config),
    now: clock.now(),
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
    clock,
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

const commandLine: Caller = { role: 'admin', keyId: 'local', isGateway: false };

function adminOf(pool: PoolService): PoolAdmin {
  return {
    addAccount: async (account) => (await pool.add(commandLine, account)).account,
    listAccounts: (query) => pool.list(query),
    getAccount: async (id) => (await pool.get(id)).account,
    changeAccount: async (id, change) => (await pool.change(commandLine, id, change)).account,
    startLogin: async (login) => (await pool.startLogin(commandLine, login)).login,
    getLogin: async (id) => (await pool.getLogin(id)).login,
    importAccounts: (request) => pool.importAccounts(commandLine, request),
    exportAccounts: (request) => pool.exportAccounts(commandLine, request),
    removeAccount: async (id) => void (await pool.remove(commandLine, id)),
    // Nobody serves this store while a command has it.
    status: async () => ({ ...(await pool.status()), running: false }),
    audit: (query) => pool.trail(query),
  };
}

function openHttpPool(config: Config, opened: Opened, logger: Logger) {
  // A generated key never leaves this machine.
  const generated = isOnThisMachine(config.poolUrl) ? ownGatewayKey(config, logger) : undefined;
  const { apiKey, gatewayKey = generated } = config.pool;
  const pool = createHttpPool({ baseUrl: config.poolUrl, apiKey, gatewayKey });
  opened.add('the connection to the pool', () => pool.close());
  return pool;
}

/**
 * Names the Host check accepts beside the loopback ones; null where keys guard the service, or where its owner has opened
 * it to every machine that reaches it. A service on this machine alone is checked although another one was opened.
 */
function hostCheck(
  { allowedHosts, allowOpenBind }: Config,
  host: string,
  hasKeys: boolean,
): readonly string[] | null {
  const isOpened = allowOpenBind && !isLoopbackHost(host);
  return hasKeys || isOpened ? null : [...allowedHosts, new URL(localUrl({ host, port: 0 })).hostname];
}

/** Whether POOL_SERVICE_URL is where a pool with these settings would answer. */
function isOwnPool({ poolUrl, pool }: Config): boolean {
  const { port, hostname } = new URL(poolUrl);
  const isHere = poolUrl === localUrl(pool) || (isLoopbackHost(pool.host) && isLoopbackHost(hostname));
  return isHere && (Number(port) === pool.port || pool.port === 0);
}

function upstream(providers: Providers, name: string): UpstreamProvider {
  const found = providers.upstreams.get(name);
  if (!found) throw new Error(`There is no provider "${name}".`);
  return found;
}

async function announceSandbox(pool: PoolService, logger: Logger): Promise<void> {
  const { sandbox } = await pool.status();
  if (!sandbox) return;
  logger.warn(
    'SANDBOX: the pool has no account, so answers come from the built-in sandbox and not from a model. ' +
      'Add one: warp2api account add --provider warp --api-key -',
  );
}

async function listen(server: FastifyInstance, host: string, port: number, setting: string): Promise<void> {
  try {
    await server.listen({ host, port, listenTextResolver: () => '' });
  } catch (error) {
    throw listenError(error, host, port, setting);
  }
}

function listenError(error: unknown, host: string, port: number, setting: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const place = `${host}:${port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new Error(
        `${place} is in use by another program: stop that program, or choose another ${setting}.`,
        {
          cause: error,
        },
      );
    case 'EACCES':
      return new Error(`${place} may not be opened by this user: choose a ${setting} above 1023.`, {
        cause: error,
      });
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Error(
        `${host} is no address of this machine: set ${setting.replace('PORT', 'HOST').replace('port', 'host')} to one that is.`,
        { cause: error },
      );
    default:
      return error;
  }
}
