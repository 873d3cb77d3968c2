import type { Config } from './config.ts';
import { ConfigError } from './environment.ts';
import { isLoopbackHost, isLoopbackUrl, isOnThisMachine } from './lib/addresses/loopback.ts';
import { howToMakeKey, isPlaceholder, leastKeyLength } from './lib/setting.ts';

/** What of a configuration depends on which services a process runs, and on who can reach them. */

export type RunMode = 'both' | 'pool' | 'gateway';

const openBind = 'or set ALLOW_OPEN_BIND=yes if everybody who reaches it may use your accounts.';

/** Faults that depend on which services this process runs. Throws ConfigError. */
export function checkRunMode(config: Config, mode: RunMode): void {
  const problems: string[] = [];
  const { adminKey, apiKey, gatewayKey } = config.pool;
  const isUnguarded = adminKey === undefined && !config.allowOpenBind;
  if (isUnguarded && opensPool(config, mode) && !isLoopbackHost(config.pool.host)) {
    problems.push(
      `POOL_SERVICE_HOST=${config.pool.host} lets other machines reach the pool, and no key guards it: set ADMIN_KEY, or POOL_SERVICE_HOST=127.0.0.1, ${openBind}`,
    );
  }
  if (isUnguarded && mode !== 'pool' && needsClientKey(config)) {
    problems.push(
      `HOST=${config.gateway.host} lets other machines reach the gateway, and no key guards it: set ADMIN_KEY and make a key for each client ("warp2api key create"), or set API_KEYS, or HOST=127.0.0.1, ${openBind}`,
    );
  }
  const borrowsOverHttp = mode === 'gateway' && config.usePoolService;
  const open = openHosts(config, mode);
  if (adminKey !== undefined && adminKey.length < leastKeyLength && open.length > 0) {
    problems.push(
      `ADMIN_KEY is too short for ${open.join(' and ')}, where other machines can try keys: give it at least ${leastKeyLength} characters (${howToMakeKey}).`,
    );
  }
  const hasKey = (apiKey ?? gatewayKey) !== undefined || isOnThisMachine(config.poolUrl);
  if (borrowsOverHttp && adminKey !== undefined && !hasKey) {
    problems.push(
      `ADMIN_KEY is set, and the pool at ${config.poolUrl} is not on this machine, so this gateway needs a key: set the same GATEWAY_KEY for both services (or the same POOL_API_KEY, to borrow like any program).`,
    );
  }
  if (borrowsOverHttp && new URL(config.poolUrl).port === '0') {
    problems.push(
      'POOL_SERVICE_PORT=0 takes any free port, so a gateway that runs apart cannot know it: set POOL_SERVICE_URL, or a fixed port for both services.',
    );
  }
  if (borrowsOverHttp && isLoopbackUrl(config.poolUrl) && portIn(config.poolUrl) === config.gateway.port) {
    problems.push(
      `The pool's address, ${config.poolUrl}, is where the gateway itself listens: give PORT and POOL_SERVICE_PORT different values, or set POOL_SERVICE_URL to the address of the pool.`,
    );
  }
  if (
    mode === 'both' &&
    config.usePoolService &&
    config.pool.port !== 0 &&
    config.pool.port === config.gateway.port
  ) {
    problems.push(`PORT and POOL_SERVICE_PORT are both ${config.gateway.port}: give them different values.`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Whether clients of the gateway need a key even while none exists: other machines can reach it, and ALLOW_OPEN_BIND is not set. */
export function needsClientKey({ gateway, allowOpenBind }: Config): boolean {
  return !isLoopbackHost(gateway.host) && gateway.apiKeys.length === 0 && !allowOpenBind;
}

function opensPool({ usePoolService }: Config, mode: RunMode): boolean {
  return mode === 'pool' || (mode === 'both' && usePoolService);
}

/** The services of this process that listen beyond this machine, as they are set. */
function openHosts(config: Config, mode: RunMode): string[] {
  return [
    ...(opensPool(config, mode) && !isLoopbackHost(config.pool.host)
      ? [`POOL_SERVICE_HOST=${config.pool.host}`]
      : []),
    ...(mode !== 'pool' && !isLoopbackHost(config.gateway.host) ? [`HOST=${config.gateway.host}`] : []),
  ];
}

/** Warnings about weak keys of services that other machines can reach. */
export function keyWarnings(config: Config, mode: RunMode): string[] {
  const open = openHosts(config, mode);
  if (open.length === 0) return [];
  const isWeak = (key: string): boolean => key.length < leastKeyLength || isPlaceholder(key);
  const names = [
    ...(config.pool.apiKey !== undefined && isWeak(config.pool.apiKey) ? ['POOL_API_KEY'] : []),
    ...(config.gateway.apiKeys.some(isWeak) ? ['API_KEYS'] : []),
  ];
  return names.map(
    (name) =>
      `${name} holds a key that is short or taken from an example, and other machines can try keys at ${open.join(' and ')}: use at least ${leastKeyLength} characters (${howToMakeKey}).`,
  );
}

/** For a gateway that takes any key or none: how others may reach it although it listens on this machine only. */
export function openProxyWarning(config: Config): string | undefined {
  const { allowedHosts, allowOpenBind, gateway, pool } = config;
  const isMeant = allowedHosts.length === 0 || allowOpenBind || gateway.apiKeys.length > 0;
  if (isMeant || !isLoopbackHost(gateway.host)) return undefined;
  const [guarded, way] =
    pool.adminKey === undefined
      ? ['', 'Set ADMIN_KEY and make']
      : [' (ADMIN_KEY guards only what the operator calls)', 'Make'];
  return `ALLOWED_HOSTS=${allowedHosts.join()} lets a proxy on this machine pass requests on, and there is no client key: everybody who reaches the proxy can use your accounts${guarded}. ${way} a key for each client ("warp2api key create NAME"), or set API_KEYS, ${openBind}`;
}

/** Built-in sandbox accounts: never where other machines can connect, unless asked for by name. */
export function offersSandbox(config: Config): boolean {
  if (config.sandbox !== 'auto') return config.sandbox === 'on';
  return isLoopbackHost(config.gateway.host) && isLoopbackHost(config.pool.host);
}

function portIn(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port || (protocol === 'https:' ? 443 : 80));
}
