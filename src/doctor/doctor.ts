import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createVendorNetwork } from '../compose/build-pool.ts';
import { openPool } from '../compose/open-pool.ts';
import { tryGatewayDatabase } from '../compose/whole-store.ts';
import type { Config } from '../config.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { DatabaseError } from '../db/database.ts';
import { localUrl } from '../lib/addresses/loopback.ts';
import { systemClock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log/logger.ts';
import { createNetwork } from '../lib/network/network.ts';
import { noProxies } from '../lib/network/proxy-rules.ts';
import { userAgent, version } from '../lib/version.ts';
import { createProviderHttp } from '../providers/http.ts';
import { answeringNames, serversOf } from '../providers/registry.ts';
import { checkRunMode, keyWarnings, offersSandbox, openProxyWarning } from '../run-mode.ts';
import { lookAtFolder, lookAtKeyFile, lookAtPrivacy } from './machine.ts';
import { lookAtProtocol, lookAtProxies, lookAtUpstream } from './network.ts';
import { lookAtPool } from './pool.ts';
import { askForAnswer, askHealth, lookAtPort, noAnswer, takesNoKey } from './ports.ts';
import { type Finding, findingOf, ok, problem, skipped } from './report.ts';

export interface DoctorOptions {
  /** Throws ConfigError. */
  loadConfig(): Config;
  /** A warning for each name in the `.env` file that is nearly a setting's. */
  misspeltSettings(): readonly string[];
  readonly logger: Logger;
  /** Asks the gateway for an answer even if that costs an account's quota. */
  readonly wantsAnswer: boolean;
  /** Of a client of the gateway; one of API_KEYS by default. */
  readonly clientKey?: string | undefined;
}

/** Looks at everything a working installation needs, whether or not the services run. */
export async function examine(options: DoctorOptions): Promise<Finding[]> {
  let config: Config;
  try {
    config = options.loadConfig();
    checkRunMode(config, config.usePoolService ? 'both' : 'gateway');
  } catch (error) {
    return [problem('configuration', errorMessage(error))];
  }
  const findings: Finding[] = [ok('configuration', `warp2api ${version}, Node ${process.version}`)];
  findings.push(...options.misspeltSettings().map((warning) => skipped('settings', warning)));
  findings.push(...keyWarnings(config, 'both').map((warning) => problem('keys', warning)));
  // Our own services are never reached through a proxy, whatever the environment says.
  const direct = createNetwork({ proxies: noProxies, clock: systemClock, userAgent });
  const localHttp = createProviderHttp(direct.dispatcher);
  const poolSetting = config.poolUrl === localUrl(config.pool) ? 'POOL_SERVICE_PORT' : 'POOL_SERVICE_URL';
  const poolPort = config.usePoolService
    ? await lookAtPort('pool', config.poolUrl, poolSetting, localHttp)
    : undefined;
  const gatewayUrl = localUrl(config.gateway);
  const gateway = await lookAtPort('gateway', gatewayUrl, 'PORT', localHttp);
  findings.push(...(poolPort === undefined ? [] : [poolPort.finding]), gateway.finding);
  findings.push(lookAtFolder(config.dataDir), lookAtPrivacy(config.dataDir, config.logDir));
  let withAccounts: readonly string[] = [];
  findings.push(
    ...(await findingOf('database', async () => {
      const store = await lookAtStore(config, options.logger);
      withAccounts = store.withAccounts;
      return store.findings;
    })),
  );
  // A gateway that runs says in its health how it stands, and shows whether it asks for a key.
  const openProxy = openProxyWarning(config);
  const proxied = openProxy === undefined ? [] : [problem('keys', openProxy)];
  if (!gateway.isOurs) {
    findings.push(
      ...(await findingOf('client keys', () => lookAtClientKeys(config, options.logger, proxied))),
    );
  } else if (openProxy !== undefined) {
    const look = async () => ((await takesNoKey(gatewayUrl, localHttp)) ? proxied : []);
    findings.push(...(await findingOf('keys', look)));
  }
  findings.push(...(await lookAtUpstreams(config, withAccounts)));
  findings.push(
    ...(await findingOf('answer', () =>
      lookAtAnswer(config, options, gateway.isOurs, gatewayUrl, localHttp),
    )),
  );
  direct.close();
  // What a vendor, a proxy or a database answered is quoted in some.
  return findings.map((finding) => ({ ...finding, message: config.secrets.redact(finding.message) }));
}

/** A provider that is built in matters only where accounts are of it, or there are none yet. */
async function lookAtUpstreams(config: Config, withAccounts: readonly string[]): Promise<Finding[]> {
  const network = createVendorNetwork(config);
  const http = createProviderHttp(network.dispatcher);
  const servers = serversOf({ settings: config.providerSettings, configured: config.providers });
  const looks = servers.map(async ([name, { url }]) => {
    const found = await findingOf(`provider ${name}`, () => lookAtUpstream(name, url, http, userAgent));
    const isUsed = name in config.providers || withAccounts.length === 0 || withAccounts.includes(name);
    if (isUsed) return found;
    return found.map((finding) =>
      finding.result === 'problem'
        ? skipped(finding.name, `${finding.message} No account is of it.`)
        : finding,
    );
  });
  const protocols = servers.flatMap(([, { url, needsHttp2 }]) =>
    needsHttp2 === undefined ? [] : [lookAtProtocol(url, needsHttp2, network)],
  );
  const findings = await Promise.all([lookAtProxies(config.proxies, network), ...looks, ...protocols]);
  network.close();
  return findings.flat();
}

/** The store, its key and its accounts: by the process that holds it where there is one, else opened here. */
async function lookAtStore(
  config: Config,
  logger: Logger,
): Promise<{ findings: Finding[]; withAccounts: readonly string[] }> {
  const keyFile = config.masterKeyFile ?? join(config.dataDir, 'master.key');
  await using opened = await openPool(config, logger);
  const { admin, borrower } = opened;
  const pool = await lookAtPool(
    admin,
    borrower,
    offersSandbox(config),
    config.usePoolService,
    answeringNames(config.providers),
  );
  const { providers: withAccounts = [] } = await borrower.health();
  const says = {
    process: 'the running pool has it open',
    address: `the pool at ${config.poolUrl} has it open`,
    store: `${shownUrl(config.databaseUrl)} opens, its schema is up to date`,
  }[opened.by];
  // Whether it fits shows when the store is opened with it; at an address it is another machine's.
  const fits = opened.by === 'store' || undefined;
  const isInEnvironment = config.masterKey !== undefined;
  const key = opened.by === 'address' ? [] : [lookAtKeyFile(keyFile, isInEnvironment, fits)];
  return { withAccounts, findings: [ok('database', says), ...key, ...pool] };
}

/** Without it a gateway knows no client, and answers none without one of API_KEYS. */
async function lookAtClientKeys(
  config: Config,
  logger: Logger,
  withoutKey: readonly Finding[],
): Promise<Finding[]> {
  const { databaseUrl } = config.gateway;
  const file = databaseUrl.startsWith('sqlite:') ? databaseUrl.slice('sqlite:'.length) : undefined;
  if (file !== undefined && !existsSync(file)) {
    return [ok('client keys', `${file} will be made at the first start`), ...withoutKey];
  }
  try {
    const { hasKeys } = await tryGatewayDatabase(config, logger);
    const finding = ok('client keys', `${shownUrl(databaseUrl)} opens, its schema is up to date`);
    return hasKeys ? [finding] : [finding, ...withoutKey];
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== 'database_in_use') throw error;
    return [skipped('client keys', error.message)];
  }
}

async function lookAtAnswer(
  config: Config,
  options: DoctorOptions,
  isRunning: boolean,
  gatewayUrl: string,
  http: ProviderHttp,
): Promise<Finding> {
  if (!isRunning) return noAnswer('the gateway does not run');
  const health = (await askHealth(gatewayUrl, http)) as { sandbox?: unknown };
  if (health.sandbox !== true && !options.wantsAnswer) {
    return noAnswer('--answer asks the gateway for a real one, which an account pays for');
  }
  return askForAnswer(gatewayUrl, options.clientKey ?? config.gateway.apiKeys[0], http);
}

/** A database's URL without its password. */
function shownUrl(url: string): string {
  return url.replace(/:\/\/[^@/]*@/, '://');
}
