import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import {
  buildPool,
  closeDataFolder,
  Opened,
  openNetwork,
  openProviders,
  type ServiceSeams,
  startSandbox,
} from './compose/build-pool.ts';
import { ConfigWatch, lookForNewFile } from './compose/config-watch.ts';
import { EnvAccount } from './compose/env-account.ts';
import { gatewayKeyOf, isOwnPool, poolSocketPrefix } from './compose/open-pool.ts';
import { serviceFacts } from './compose/service-facts.ts';
import type { Config } from './config.ts';
import type { PoolDoor } from './gateway/http/pool-routes.ts';
import { hasLocalSockets, makeLocalSocket } from './lib/addresses/local-socket.ts';
import { addressBeside, isLoopbackHost, isOnThisMachine, localUrl } from './lib/addresses/loopback.ts';
import { type Clock, createSteadyClock } from './lib/clock.ts';
import { BodyBudget } from './lib/http/body-budget.ts';
import type { Logger } from './lib/log/logger.ts';
import { shownProxy } from './lib/network/proxy-rules.ts';
import { shrinkAfterStart } from './lib/process/own-turn.ts';
import { userAgent } from './lib/version.ts';
import type { PoolService } from './pool/index.ts';
import { createHttpPool } from './pool-api/http-pool.ts';
import { checkRunMode, keyWarnings, needsClientKey, openProxyWarning, type RunMode } from './run-mode.ts';

// Parts that not every process needs are loaded where they are used: a gateway alone carries no pool, a pool with
// accounts no sandbox.

export interface RunningServices {
  /** Where the services of this process listen; undefined for one that it does not run. */
  readonly poolUrl?: string;
  readonly gatewayUrl?: string;
  /** Stops accepting, lets turns end until the deadline, gives accounts back, closes the store. */
  close(): Promise<void>;
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
  await using opened = new Opened(logger);
  const urls: { poolUrl?: string; gatewayUrl?: string } = {};
  const { clock = createSteadyClock() } = seams;
  const network = openNetwork(config, opened, clock);
  announceProxies(config, logger);
  const providers = await openProviders(config, network, logger, opened, clock);
  const telemetry = await openTelemetry(config, mode, clock, logger, opened);
  const bodies = new BodyBudget(config.bodiesMaxBytes);
  const folders = writtenFolders(config);
  const { configFile: file } = config;
  const configWatch =
    mode === 'pool' || file === undefined
      ? undefined
      : new ConfigWatch(
          { config, providers: providers.upstreams.map(({ name }) => name), clock, logger },
          file,
        );
  const facts = serviceFacts(config, { runs: mode, folders, clock }, configWatch);
  const holdsPool = mode !== 'gateway' || !config.usePoolService;
  const pool = holdsPool
    ? await buildPool(config, { providers, network }, logger, onLost, opened, { ...seams, clock })
    : undefined;
  if (!pool) closeDataFolder(config, logger);
  if (pool) {
    // Before the start: the sandbox is for pools that have no account, and this may be the first.
    for (const { key, ...place } of config.accountKeys) await new EnvAccount(place, pool, logger).add(key);
    await pool.start();
    await serveCommands(pool, config, facts, logger, opened);
  }
  let poolDoor: PoolDoor | undefined;
  if (pool) {
    const { createPoolServer } = await import('./pool/http/server.ts');
    const isListening = mode === 'pool' || (mode === 'both' && config.usePoolService);
    const gatewayKey = isListening ? gatewayKeyOf(config, logger) : undefined;
    const server = createPoolServer({
      pool,
      bodies,
      folders,
      facts,
      logger: logger.child({ service: 'pool' }),
      adminKey: config.pool.adminKey,
      poolApiKey: config.pool.apiKey,
      gatewayKey,
      telemetry,
      gatewayAddress: (seen) => addressBeside(seen, config.pool, config.gateway, urls.gatewayUrl),
      allowedHosts: hostCheck(config, config.pool.host, config.pool.adminKey !== undefined),
    });
    opened.add('the pool server', () => server.close());
    if (isListening) {
      await listen(server, config.pool.host, config.pool.port, 'POOL_SERVICE_PORT');
      urls.poolUrl = server.listeningOrigin;
      logger.info({ url: urls.poolUrl, docs: `${urls.poolUrl}/docs` }, 'the account pool listens');
    }
    poolDoor = await insidePoolDoor(server);
  }
  if (mode !== 'pool') {
    const { createGateway } = await import('./gateway/gateway.ts');
    const { httpPoolDoor } = await import('./gateway/http/pool-routes.ts');
    const gateway = await createGateway({
      telemetry,
      configWatch,
      pool: pool
        ? pool.asBorrower({ role: 'borrower', keyId: 'gateway', isGateway: true })
        : openHttpPool(config, opened, logger),
      bodies,
      isPoolInside: pool !== undefined,
      poolDoor: poolDoor ?? httpPoolDoor(config.poolUrl),
      poolAddress: config.usePoolService
        ? (seen) => addressBeside(seen, config.gateway, config.pool, urls.poolUrl)
        : undefined,
      providers: providers.upstreams,
      sandbox: providers.trial,
      ...config.gateway,
      adminKey: config.pool.adminKey,
      routing: config,
      isKeyNeeded: needsClientKey(config),
      allowedHosts: hostCheck(
        config,
        config.gateway.host,
        config.gateway.apiKeys.length > 0 || needsClientKey(config),
      ),
      corsOrigins: config.corsOrigins,
      shutdownMs: config.shutdownMs,
      folders,
      facts,
      dispatcher: network.dispatcher,
      userAgent,
      secrets: config.secrets,
      clock,
      logger: logger.child({ service: 'gateway' }),
    });
    const openProxy = gateway.lacksClientKeys ? openProxyWarning(config) : undefined;
    if (openProxy !== undefined) logger.warn(openProxy);
    const isOpen = config.gateway.apiKeys.length === 0 && !needsClientKey(config);
    if (config.corsOrigins.includes('*') && isOpen) {
      logger.warn(
        'CORS_ORIGINS=* without API_KEYS lets every web page in a browser on this machine use your accounts: name the origins, or set API_KEYS.',
      );
    }
    opened.add('the gateway', () => gateway.close());
    if (configWatch) {
      opened.add('the watch on the configuration file', async () => configWatch.close());
      configWatch.start(gateway);
    } else {
      const stopLooking = lookForNewFile(config.configFilePlace, logger);
      opened.add('the look for a configuration file', async () => stopLooking());
    }
    await listen(gateway.server, config.gateway.host, config.gateway.port, 'PORT');
    urls.gatewayUrl = gateway.server.listeningOrigin;
    logger.info({ url: urls.gatewayUrl, docs: `${urls.gatewayUrl}/docs` }, 'the gateway listens');
  }
  if (pool && mode === 'both' && !isOwnPool(config)) {
    logger.warn(
      `POOL_SERVICE_URL is ${config.poolUrl}, but this process runs its own pool: to use the other one, start "warp2api serve gateway".`,
    );
  }
  if (pool) await announceSandbox(pool, logger);
  const cancelShrinking = shrinkAfterStart(clock);
  opened.add('the look at the heap', async () => cancelShrinking());
  const running = opened.move();
  return { ...urls, close: () => running.disposeAsync() };
}

/** The folders of the database, of what the gateway remembers, and of the log. */
function writtenFolders({ databaseUrl, dataDir, gateway, logFile }: Config): readonly string[] {
  const files = [databaseUrl, gateway.keep.url, gateway.databaseUrl]
    .filter((url) => url.startsWith('sqlite:') && url !== 'sqlite::memory:')
    .map((url) => dirname(url.slice('sqlite:'.length)));
  return [...new Set([dataDir, ...files, ...(logFile ? [dirname(logFile.path)] : [])])];
}

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
  if (certificate !== undefined && file !== undefined) {
    try {
      writeFileSync(file, certificate);
    } catch (error) {
      await sandbox.close();
      const { code } = error as NodeJS.ErrnoException;
      throw new Error(`${file} cannot be written (${code}): give --certificate a file this user may write.`, {
        cause: error,
      });
    }
  }
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

/**
 * Serves the pool's routes to commands of this data folder's owner, at a socket in it: they work then whatever the port, the
 * keys and the run mode are, and while the port is crowded.
 */
async function serveCommands(
  pool: PoolService,
  config: Config,
  facts: ReturnType<typeof serviceFacts>,
  logger: Logger,
  opened: Opened,
): Promise<void> {
  if (!hasLocalSockets) return;
  const { createPoolServer } = await import('./pool/http/server.ts');
  const gatewayKey = config.usePoolService ? gatewayKeyOf(config, logger) : config.pool.gatewayKey;
  const server = createPoolServer({
    pool,
    // Bodies that other callers send leave it as it is.
    bodies: new BodyBudget(config.bodiesMaxBytes),
    facts,
    logger: logger.child({ service: 'pool' }),
    gatewayKey,
    // Neither a browser nor another user can connect to it.
    allowedHosts: null,
    isForOwner: true,
  });
  opened.add('the socket of commands', () => server.close());
  try {
    const listen = (path: string) => server.listen({ path });
    const socket = await makeLocalSocket(config.dataDir, poolSocketPrefix(config), listen);
    opened.add('the file of that socket', async () => socket.remove());
  } catch (error) {
    logger.warn(
      { err: error },
      `no socket can be made in ${config.dataDir}, so commands reach this pool over HTTP only`,
    );
  }
}

/** Its packages are loaded only where an endpoint is set. */
async function openTelemetry(config: Config, mode: RunMode, clock: Clock, logger: Logger, opened: Opened) {
  if (!config.telemetry) return undefined;
  const { Telemetry } = await import('./lib/telemetry/telemetry.ts');
  const name = mode === 'both' || !config.usePoolService ? 'warp2api' : `warp2api-${mode}`;
  const telemetry = new Telemetry(config.telemetry, name, clock, logger);
  opened.add('traces and metrics', () => telemetry.close());
  return telemetry;
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

function openHttpPool(config: Config, opened: Opened, logger: Logger) {
  // A generated key never leaves this machine.
  const isHere = isOnThisMachine(config.poolUrl);
  const gatewayKey = isHere ? gatewayKeyOf(config, logger) : config.pool.gatewayKey;
  const pool = createHttpPool({ baseUrl: config.poolUrl, apiKey: config.pool.apiKey, gatewayKey });
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
    await server.listen({ host, port });
  } catch (error) {
    throw listenError(error, host, port, setting);
  }
}

function listenError(error: unknown, host: string, port: number, setting: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const place = `${host}:${port}`;
  const hostSetting = setting.replace('PORT', 'HOST').replace('port', 'host');
  const elsewhere = `${host} is no address of this machine: set ${hostSetting} to one that is.`;
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: `${place} is in use by another program: stop that program, or choose another ${setting}.`,
    EACCES: `${place} may not be opened by this user: choose a ${setting} above 1023.`,
    EADDRNOTAVAIL: elsewhere,
    // Of a link-local address without its interface.
    EINVAL: `${elsewhere} A link-local one needs its interface, such as fe80::1%eth0.`,
    EAFNOSUPPORT: elsewhere,
    ENOTFOUND: elsewhere,
    EAI_AGAIN: elsewhere,
  };
  const reason = reasons[String(error.code)];
  return reason === undefined ? error : new Error(reason, { cause: error });
}

/** Lets the pool's server of this process answer what came to the gateway, as if it had come to the pool's port. */
async function insidePoolDoor(server: FastifyInstance): Promise<PoolDoor> {
  await server.ready();
  return (request, reply) => {
    reply.hijack();
    const { raw } = request;
    // The gateway's server has taken the headers of the body out.
    for (let at = 0; at < raw.rawHeaders.length; at += 2) {
      raw.headers[raw.rawHeaders[at]?.toLowerCase() ?? ''] ??= raw.rawHeaders[at + 1];
    }
    raw.headers['x-request-id'] = request.id;
    server.server.emit('request', raw, reply.raw);
  };
}
