import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { absoluteDatabaseUrl, type Config } from '../config.ts';
import { DatabaseError } from '../db/database.ts';
import { findLocalSocket, hasLocalSockets, shortWay } from '../lib/addresses/local-socket.ts';
import { isLoopbackHost, isOnThisMachine, localUrl } from '../lib/addresses/loopback.ts';
import type { Logger } from '../lib/log/logger.ts';
import { readSharedKey, sharedKey } from '../lib/secrets/shared-key-file.ts';
import type { Caller, PoolService } from '../pool/index.ts';
import { createHttpPool, createHttpPoolAdmin } from '../pool-api/http-pool.ts';
import type { Pool, PoolAdmin } from '../pool-api/pool.ts';
import { ownSettings } from '../settings.ts';

/** A pool from both sides, for commands. */
export interface OpenedPool extends AsyncDisposable {
  readonly admin: PoolAdmin;
  readonly borrower: Pool;
  /** The process that holds the pool of this data folder, the pool at POOL_SERVICE_URL, or its own store. */
  readonly by: 'process' | 'address' | 'store';
}

/** Who works on the pool with a command of this program. */
export const commandLine: Caller = { role: 'admin', keyId: 'local', isGateway: false, isOwner: true };

/** How long a command waits for a service that is starting to let it in. */
const patienceMs = 2_000;
/** Another command is done soon, but many of them may come at once. */
const commandPatienceMs = 30_000;
const lookEveryMs = 50;

/**
 * The pool for a command, one way wherever it is: the process of this data folder that holds it; else the pool of another
 * machine or folder that POOL_SERVICE_URL names; else its store, opened here. Throws DatabaseError.
 */
export async function openPool(config: Config, logger: Logger): Promise<OpenedPool> {
  const begun = performance.now();
  for (;;) {
    const socket = await findPoolSocket(config);
    if (socket !== undefined) return openAt(config, 'process', socket);
    if (config.usePoolService && !isOwnPool(config)) return openAt(config, 'address');
    try {
      return await openStoredPool(config, logger);
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== 'database_in_use') throw error;
      if (performance.now() - begun >= patienceFor(error)) return await openHeldPool(config, error);
    }
    await delay(lookEveryMs);
  }
}

function patienceFor({ message }: DatabaseError): number {
  const isService = /\([^()]* serve\b/.test(message);
  if (!isService) return commandPatienceMs;
  return hasLocalSockets ? patienceMs : 0;
}

/** The pool of a process that has no socket: on Windows, of another release, or where none can be made. */
async function openHeldPool(config: Config, held: DatabaseError): Promise<OpenedPool> {
  if (config.usePoolService) {
    const pool = openAt(config, 'address');
    if ((await pool.borrower.health()).isReachable) return pool;
    await pool[Symbol.asyncDispose]();
  }
  const where = config.usePoolService ? ` No pool answers at ${config.poolUrl}.` : '';
  throw new DatabaseError(held.code, `${held.message}${where}`, { cause: held });
}

async function openStoredPool(config: Config, logger: Logger): Promise<OpenedPool> {
  const { buildPool, Opened, openNetwork, openProviders } = await import('./build-pool.ts');
  await using opened = new Opened();
  const network = openNetwork(config, opened);
  const providers = await openProviders(config, network, logger, opened);
  const pool = await buildPool(config, { providers, network }, logger, () => {}, opened);
  const running = opened.move();
  return {
    admin: adminOf(pool),
    borrower: pool.asBorrower({ ...commandLine, isGateway: true }),
    by: 'store',
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The pool behind HTTP: at a socket of this data folder, which asks for no key, or at POOL_SERVICE_URL. */
function openAt(config: Config, by: 'process' | 'address', socket?: string): OpenedPool {
  const { pool, poolUrl, secrets } = config;
  const way = socket === undefined ? undefined : shortWay(socket);
  const place = { baseUrl: poolUrl, socketPath: way?.address };
  const apiKey = by === 'process' ? undefined : pool.adminKey;
  // With the key that a gateway of this configuration shows, so that accounts for gateways only can be lent as well.
  const isHere = by === 'process' || isOnThisMachine(poolUrl);
  const generated = isHere ? readSharedKey(gatewayKeyFile(config)) : undefined;
  secrets.add(generated);
  const { gatewayKey = generated } = pool;
  const admin = createHttpPoolAdmin({ ...place, apiKey });
  const borrower = createHttpPool({ ...place, apiKey, gatewayKey });
  return {
    admin,
    borrower,
    by,
    async [Symbol.asyncDispose]() {
      await borrower.close();
      await admin.close();
      way?.[Symbol.dispose]();
    },
  };
}

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
    replenish: (request) => pool.replenish(commandLine, request),
    refreshTokens: (request) => pool.refreshTokens(commandLine, request),
    listSessions: (query) => pool.listSessions(query),
    releaseSession: async (id) => (await pool.release(commandLine, { session_id: id })).released,
    // On PostgreSQL a service elsewhere may have the database open as well.
    status: async () => ({
      ...(await pool.status()),
      running: (await pool.holders()).some((holder) => /\bserve\b/.test(holder)),
    }),
    audit: (query) => pool.trail(query),
  };
}

/** What the sockets are called at which the pool of a database answers commands in DATA_DIR. */
export function poolSocketPrefix({ databaseUrl }: Pick<Config, 'databaseUrl'>): string {
  const database = databaseUrl.replace(/:\/\/[^@/]*@/, '://');
  return `pool-${createHash('sha256').update(database).digest('hex').slice(0, 8)}-`;
}

async function findPoolSocket(config: Config): Promise<string | undefined> {
  const { dataDir, databaseUrl } = config;
  const found = await findLocalSocket(dataDir, poolSocketPrefix(config));
  // Who names no database means the one that is in use in this folder.
  const namesNone = databaseUrl === absoluteDatabaseUrl(ownSettings.DATABASE_URL.default ?? '', dataDir);
  return found ?? (namesNone ? await findLocalSocket(dataDir, 'pool-') : undefined);
}

/** Whether POOL_SERVICE_URL is where a pool with these settings would answer. */
export function isOwnPool({ poolUrl, pool }: Config): boolean {
  if (poolUrl === localUrl(pool)) return true;
  const { port, hostname } = new URL(poolUrl);
  const isHere = isLoopbackHost(pool.host) ? isLoopbackHost(hostname) : isOnThisMachine(poolUrl);
  return isHere && Number(port) === pool.port;
}

const gatewayKeyFile = (config: Config): string => join(config.dataDir, 'gateway.key');

/** GATEWAY_KEY; where it is unset, the key that the services of this data folder share. Throws KeyFileError. */
export function gatewayKeyOf(config: Config, logger: Logger): string | undefined {
  if (config.pool.gatewayKey !== undefined) return config.pool.gatewayKey;
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
