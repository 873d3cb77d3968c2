import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { emptyConfigFile, readConfigFile } from './config-file.ts';
import {
  ConfigError,
  inFileAlone,
  readableEnvironment,
  readSettings,
  shownSettings,
  startedWithCertificates,
  valueIn,
} from './environment.ts';
import { isLoopbackUrl, localUrl } from './lib/addresses/loopback.ts';
import { errorMessage } from './lib/errors.ts';
import { readCertificates } from './lib/network/extra-certificates.ts';
import { KnownSecrets } from './lib/secrets/known-secrets.ts';
import { telemetryOf, telemetrySettings } from './lib/telemetry/telemetry-settings.ts';
import {
  answeringNames,
  environmentKeys,
  type ProviderConfig,
  providerSettings,
  secretsOf,
} from './providers/registry.ts';
import { type SettingValues, settings } from './settings.ts';

/** The whole configuration of the services, validated and frozen. */
export type Config = ReturnType<typeof loadConfig>;

/** What stop_services.sh has to know, also where other settings are faulty. */
export function settingsForStop(folder = process.cwd()) {
  const environment = readableEnvironment(folder);
  const {
    DATA_DIR,
    LOG_DIR = 'logs',
    SHUTDOWN_SECONDS = 20,
  } = readSettings(environment, []) as Partial<SettingValues>;
  return {
    dataDir: dataDirOf(DATA_DIR, folder, environment),
    logDir: resolve(folder, LOG_DIR),
    shutdownSeconds: SHUTDOWN_SECONDS,
  };
}

/** Throws ConfigError with every fault found, not just the first. */
export function loadConfig(environment: NodeJS.ProcessEnv, folder = process.cwd()) {
  const problems: string[] = [];
  const all = readSettings(environment, problems);
  const given: Partial<SettingValues> = all;
  const configFile =
    given.CONFIG_FILE ?? (existsSync(join(folder, 'warp2api.yaml')) ? 'warp2api.yaml' : undefined);
  const filePath = configFile === undefined ? undefined : resolve(folder, configFile);
  const readFile = (problems: string[]) =>
    filePath === undefined ? emptyConfigFile : readConfigFile(filePath, environment, problems);
  const { aliases, routes, models, providers, sources } = readFile(problems);

  const { MIN_POOL_SIZE: least = 0, MAX_POOL_SIZE: most = least } = given;
  if (least > most) {
    problems.push(
      `MIN_POOL_SIZE (${least}) is above MAX_POOL_SIZE (${most}): lower it, or raise MAX_POOL_SIZE.`,
    );
  }
  if (given.POOL_API_KEY !== undefined && given.ADMIN_KEY === undefined) {
    problems.push(
      'POOL_API_KEY is set without ADMIN_KEY: set ADMIN_KEY too, or no caller could manage the pool.',
    );
  }
  if (given.ADMIN_KEY !== undefined && given.ADMIN_KEY === given.POOL_API_KEY) {
    problems.push('POOL_API_KEY equals ADMIN_KEY: give them different values, or borrowers are admins.');
  }
  if (given.GATEWAY_KEY !== undefined) {
    const others = { ADMIN_KEY: given.ADMIN_KEY, POOL_API_KEY: given.POOL_API_KEY };
    const same = Object.entries(others).find(([, key]) => key === given.GATEWAY_KEY);
    const name = same?.[0] ?? (given.API_KEYS?.includes(given.GATEWAY_KEY) ? 'API_KEYS' : undefined);
    if (name !== undefined) {
      problems.push(`GATEWAY_KEY is in ${name} too: give it its own value, or others count as gateways.`);
    }
  }
  const dataDir = dataDirOf(given.DATA_DIR, folder, environment);
  const databaseUrl = absoluteDatabaseUrl(given.DATABASE_URL ?? '', dataDir);
  if (given.KEEP_URL?.startsWith('sqlite:') && absoluteDatabaseUrl(given.KEEP_URL, dataDir) === databaseUrl) {
    problems.push(
      'KEEP_URL names the file of DATABASE_URL: give it one of its own, such as sqlite:gateway.db.',
    );
  }
  const gatewayDatabaseUrl = gatewayUrl(given.GATEWAY_DATABASE_URL, 'sqlite:usage.db', databaseUrl, dataDir);
  const otherFile = [
    ['DATABASE_URL', databaseUrl],
    ['KEEP_URL', keepUrl(given.KEEP_URL, databaseUrl, dataDir)],
  ].find(([, url]) => url === gatewayDatabaseUrl && /^sqlite:(?!:memory:)/.test(gatewayDatabaseUrl));
  if (otherFile) {
    problems.push(
      `GATEWAY_DATABASE_URL names the file of ${otherFile[0]}: give it one of its own, such as sqlite:usage.db.`,
    );
  }
  const { REFRESH_MIN_INTERVAL_MINUTES: refreshMinutes = 60 } = given;
  const farTokenHost = Object.entries(settings).find(
    ([name, { isTokenHost }]) => isTokenHost && all[name] !== undefined && !isLoopbackUrl(String(all[name])),
  );
  if (refreshMinutes < 60 && farTokenHost) {
    problems.push(
      `REFRESH_MIN_INTERVAL_MINUTES=${refreshMinutes} is below 60 and ${farTokenHost[0]} is not on this machine: set it to 60 or more.`,
    );
  }
  const proxies = {
    http: proxyOf(given, 'HTTP_PROXY', problems),
    https: proxyOf(given, 'HTTPS_PROXY', problems),
    noProxy: given.NO_PROXY ?? [],
  };
  const accountKeys = environmentKeys(
    { settings: all, configured: providers },
    given.ACCOUNTS_FROM_ENV ?? [],
    environment,
    (problem) => problems.push(`ACCOUNTS_FROM_ENV: ${problem}.`),
  );
  const traced = ['*', 'sandbox', ...answeringNames(providers)];
  for (const name of given.TRACE_PROVIDERS ?? []) {
    if (!traced.includes(name)) {
      problems.push(`TRACE_PROVIDERS: there is no provider "${name}" that answers turns.`);
    }
  }
  for (const signal of ['TRACES', 'METRICS']) {
    const name = `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`;
    const { success, error } = telemetrySettings.OTEL_EXPORTER_OTLP_PROTOCOL.schema.safeParse(
      valueIn(environment, name) || 'http/protobuf',
    );
    if (!success) problems.push(`${name}=${valueIn(environment, name)}: ${error.issues[0]?.message}.`);
  }
  const extraCertificates = certificatesIn(given.NODE_EXTRA_CA_CERTS, folder, problems);
  if (problems.length > 0) throw new ConfigError(problems);

  const values = all as SettingValues;
  const telemetry = telemetryOf(values);
  const logMegabytes = values.LOG_MAX_MB;
  const retireAfterDays = values.RETIRE_AFTER_DAYS;
  const pool = { host: values.POOL_SERVICE_HOST, port: values.POOL_SERVICE_PORT };
  return deepFreeze({
    gateway: {
      host: values.HOST,
      port: values.PORT,
      apiKeys: values.API_KEYS ?? [],
      timeouts: {
        firstEventMs: values.UPSTREAM_FIRST_EVENT_SECONDS * 1000,
        idleMs: values.UPSTREAM_IDLE_SECONDS * 1000,
      },
      /** Unknown model names are refused. */
      isStrict: values.STRICT_MODELS,
      maxChoices: values.MAX_CHOICES,
      /** Unset: images come inline only. Else the hosts that may lie in private networks. */
      fetchImagesFrom: values.FETCH_IMAGES ? (values.FETCH_IMAGES_ALLOW ?? []) : undefined,
      /** 0: no account counts as slow. */
      slowFirstContentMs: values.SLOW_FIRST_CONTENT_SECONDS * 1000,
      content: contentSettings(values),
      responsesTtlMs: values.RESPONSES_TTL_HOURS * 3_600_000,
      /** `memory`, `sqlite:` and an absolute path, or a `postgres://` URL; and its bound. */
      keep: {
        url: keepUrl(values.KEEP_URL, databaseUrl, dataDir),
        maxBytes: values.KEEP_MAX_MB * 1024 * 1024,
      },
      /** Client keys and usage: `sqlite:` and an absolute path (or `:memory:`), or a `postgres://` URL. */
      databaseUrl: gatewayDatabaseUrl,
      /** How long each turn is kept, 0: not at all; and how much of them. */
      usage: { keepDays: values.USAGE_KEEP_DAYS, maxBytes: values.USAGE_MAX_MB * 1024 * 1024 },
    },
    pool: {
      ...pool,
      minSize: values.MIN_POOL_SIZE,
      maxSize: values.MAX_POOL_SIZE,
      sessionTimeoutMs: values.SESSION_TIMEOUT_MINUTES * 60_000,
      refreshMinIntervalMs: values.REFRESH_MIN_INTERVAL_MINUTES * 60_000,
      provisionConcurrency: values.PROVISION_CONCURRENCY,
      /** Null keeps dead accounts for ever. */
      retireAfterMs: retireAfterDays === 0 ? null : retireAfterDays * 86_400_000,
      adminKey: values.ADMIN_KEY,
      apiKey: values.POOL_API_KEY,
      /** Unset: services that share the data folder share a generated one. */
      gatewayKey: values.GATEWAY_KEY,
    },
    /** Where the pool answers when it is another process. */
    poolUrl: values.POOL_SERVICE_URL ?? localUrl(pool),
    usePoolService: values.USE_POOL_SERVICE,
    dataDir,
    logDir: resolve(folder, values.LOG_DIR),
    logLevel: values.LOG_LEVEL,
    logFormat: values.LOG_FORMAT,
    /** Undefined: the standard output. */
    logFile:
      values.LOG_FILE === undefined
        ? undefined
        : {
            path: resolve(folder, values.LOG_FILE),
            maxBytes: logMegabytes === 0 ? null : logMegabytes * 1024 * 1024,
            keep: values.LOG_KEEP,
          },
    /** `sqlite:` and an absolute path (or `:memory:`), or a `postgres://` URL. */
    databaseUrl,
    /** The most bytes of request bodies, for both services of a process together. */
    bodiesMaxBytes: values.BODIES_MAX_MB * 1024 * 1024,
    masterKey: values.MASTER_KEY,
    masterKeyFile: values.MASTER_KEY_FILE === undefined ? undefined : resolve(folder, values.MASTER_KEY_FILE),
    allowedHosts: values.ALLOWED_HOSTS ?? [],
    /** Web pages and apps that may call the gateway and read its answers. */
    corsOrigins: values.CORS_ORIGINS ?? [],
    allowOpenBind: values.ALLOW_OPEN_BIND,
    /** The way to vendors, token hosts and webhooks. */
    proxies,
    /** PEM; the certificates that Node does not trust already. */
    extraCertificates,
    sandbox: values.SANDBOX,
    shutdownMs: values.SHUTDOWN_SECONDS * 1000,
    /** Public model name, or a pattern ending in `*`, to upstream model. */
    aliases,
    routes,
    models,
    /** CONFIG_FILE as a whole path; undefined where there is none. */
    configFile: filePath,
    configFilePlace: resolve(folder, configFile ?? 'warp2api.yaml'),
    /** What it says now. Throws ConfigError. */
    rereadConfigFile() {
      const problems: string[] = [];
      const read = readFile(problems);
      if (problems.length > 0) throw new ConfigError(problems);
      return read;
    },
    providers,
    providerSettings: Object.fromEntries(Object.keys(providerSettings).map((name) => [name, all[name]])),
    sources,
    accountKeys,
    /** Every setting, as its owner sees it: without secrets. */
    shownSettings: shownSettings(environment, inFileAlone(folder)),
    /** Undefined: neither traces nor metrics are sent. */
    telemetry,
    /** What of all this must never be shown. Sources add their secrets, and the pool the credentials it uses. */
    secrets: secretsIn(all, providers, [
      environment['ACCOUNT_API_KEY'],
      environment['CLIENT_KEY'],
      ...accountKeys.map(({ key }) => key),
      ...Object.values(telemetry?.headers ?? {}),
    ]),
  });
}

/** Undefined: nothing of what is said is logged. */
function contentSettings(values: SettingValues) {
  const [first] = values.LOG_CONTENT;
  if (first === 'off') return undefined;
  return {
    of: first === 'on' ? ('all' as const) : values.LOG_CONTENT,
    mostCharacters: values.LOG_CONTENT_MAX_KB * 1000,
    hidesEmails: !values.LOG_CONTENT_EMAILS,
    hides: values.LOG_CONTENT_REDACT,
  };
}

/** Every value that its setting makes secret. Sources add their own, since they know what they use. */
function secretsIn(
  values: Readonly<Record<string, unknown>>,
  providers: ProviderConfig['configured'],
  keys: readonly (string | undefined)[],
): KnownSecrets {
  const secrets = new KnownSecrets();
  for (const [name, value] of Object.entries(values)) {
    const isSecret = settings[name]?.isSecret === true;
    for (const one of [value].flat()) {
      if (typeof one !== 'string') continue;
      if (one.includes('://')) secrets.addUrl(one);
      else if (isSecret && !/^(sqlite:|memory$)/.test(one)) secrets.add(one);
    }
  }
  for (const key of keys) secrets.add(key);
  for (const provider of Object.values(providers)) {
    const own = secretsOf(provider);
    for (const secret of own) secrets.add(secret);
    for (const value of Object.values(provider)) {
      if (typeof value === 'string' && !own.includes(value)) secrets.addUrl(value);
    }
  }
  return secrets;
}

/**
 * A checkout keeps its data in its own folder. A package that npm has installed may be started in any folder and must find
 * its accounts again: its data is its user's, unless the folder it is started in has some.
 */
function dataDirOf(given: string | undefined, folder: string, environment: NodeJS.ProcessEnv): string {
  const here = resolve(folder, given ?? 'data');
  const hasData = ['accounts.db', 'master.key'].some((name) => existsSync(join(here, name)));
  if (given !== undefined || hasData || !import.meta.dirname.split(sep).includes('node_modules')) return here;
  const ofUser =
    valueIn(environment, 'XDG_DATA_HOME') ||
    (process.platform === 'win32' && valueIn(environment, 'LOCALAPPDATA')) ||
    join(homedir(), '.local', 'share');
  return join(ofUser, 'warp2api');
}

export function absoluteDatabaseUrl(url: string, dataDir: string): string {
  if (!url.startsWith('sqlite:')) return url;
  const file = url.replace(/^sqlite:(\/\/)?/, '').replace(/^~(?=\/)/, homedir());
  return `sqlite:${file === ':memory:' || isAbsolute(file) ? file : join(dataDir, file)}`;
}

function keepUrl(given: string | undefined, databaseUrl: string, dataDir: string): string {
  const url = gatewayUrl(given, 'sqlite:gateway.db', databaseUrl, dataDir);
  return url === 'sqlite::memory:' ? 'memory' : url;
}

/** Of a database of the gateway: beside that of the pool unless it says otherwise. */
function gatewayUrl(given: string | undefined, file: string, databaseUrl: string, dataDir: string): string {
  const isFile = databaseUrl.startsWith('sqlite:') && databaseUrl !== 'sqlite::memory:';
  return absoluteDatabaseUrl(given ?? (isFile ? file : databaseUrl), dataDir);
}

function certificatesIn(given: string | undefined, folder: string, problems: string[]): readonly string[] {
  if (given === undefined) return [];
  try {
    const certificates = readCertificates(resolve(folder, given));
    return given === startedWithCertificates() ? [] : certificates;
  } catch (error) {
    const reason = errorMessage(error);
    problems.push(`NODE_EXTRA_CA_CERTS=${given}: the file cannot be used: ${reason}.`);
    return [];
  }
}

/** The proxy of one kind of target. What ALL_PROXY says counts only where it is needed: no vendor is plain http. */
function proxyOf(values: Partial<SettingValues>, name: 'HTTP_PROXY' | 'HTTPS_PROXY', problems: string[]) {
  const setting = values[name] === undefined ? 'ALL_PROXY' : name;
  const url = values[setting];
  if (url === undefined) return undefined;
  const { protocol } = new URL(url);
  if (protocol === 'http:' || protocol === 'https:') return { url, setting };
  if (values.NO_PROXY?.includes('*') || (setting !== name && name === 'HTTP_PROXY')) return undefined;
  const problem = `${setting}: ${protocol} proxies are not supported: give an HTTP proxy in HTTPS_PROXY, such as http://proxy.example:3128, or NO_PROXY=* to reach vendors directly.`;
  if (!problems.includes(problem)) problems.push(problem);
  return undefined;
}

function deepFreeze<Value extends object>(value: Value): Readonly<Value> {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  }
  return Object.freeze(value);
}
