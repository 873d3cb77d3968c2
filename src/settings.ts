import { z } from 'zod';
import {
  count,
  flag,
  host,
  hostNames,
  hostPorts,
  howToMakeKey,
  httpUrl,
  leastKeyLength,
  list,
  origins,
  ownKey,
  path,
  port,
  proxyUrl,
  type SettingTable,
  secret,
  setting,
  type ValuesOf,
} from './lib/setting.ts';
import { telemetrySettings } from './lib/telemetry/telemetry-settings.ts';
import { providerSettings } from './providers/registry.ts';

/** Of a database, which may hold a password: the example of its file, and what it may be besides. */
const databaseUrl = (file: string, besides?: 'memory') =>
  z
    .string()
    .refine(
      (text) => text === besides || /^(sqlite:.+|postgres(ql)?:\/\/.+)/.test(text),
      `must be ${besides === undefined ? '' : `${besides}, `}sqlite: and a file, such as sqlite:${file}, or postgres:// with host and database`,
    )
    // A password with a # or a / in it cannot be read.
    .refine(
      (text) => !text.startsWith('postgres') || URL.canParse(text),
      'must be a URL; write # / @ : of a password as %23 %2F %40 %3A',
    );
const isRegExp = (text: string): boolean => {
  try {
    return new RegExp(text, 'gu') instanceof RegExp;
  } catch {
    return false;
  }
};
const switchWords: Readonly<Record<string, string>> = {
  true: 'on',
  yes: 'on',
  on: 'on',
  false: 'off',
  no: 'off',
  off: 'off',
};

/** Of the services themselves; each provider has its own beside its code. */
export const ownSettings = {
  HOST: setting({ default: '127.0.0.1', schema: host, help: 'Address the gateway listens on.' }),
  PORT: setting({ default: '8018', schema: port, help: 'Port of the gateway; 0 takes any free one.' }),
  POOL_SERVICE_HOST: setting({
    default: '127.0.0.1',
    schema: host,
    help: 'Address the account pool listens on.',
  }),
  POOL_SERVICE_PORT: setting({
    default: '8019',
    schema: port,
    help: 'Port of the account pool; 0 takes any free one.',
  }),
  POOL_SERVICE_URL: setting({
    schema: httpUrl,
    help: 'Where a gateway that runs apart finds the pool. Unset: http:// with POOL_SERVICE_HOST and POOL_SERVICE_PORT.',
  }),
  USE_POOL_SERVICE: setting({
    default: 'true',
    schema: flag,
    help: 'false: the pool runs inside the gateway and its port stays closed.',
  }),
  MIN_POOL_SIZE: setting({
    default: '5',
    schema: count(0, 1_000_000),
    help: 'Usable accounts below which the pool counts as low.',
  }),
  MAX_POOL_SIZE: setting({
    default: '50',
    schema: count(1, 1_000_000),
    help: 'Most accounts one session may hold, and the size the pool never refills itself past.',
  }),
  SESSION_TIMEOUT_MINUTES: setting({
    default: '30',
    schema: count(1, 1440),
    help: 'Idle minutes after which a session loses its accounts.',
  }),
  REFRESH_MIN_INTERVAL_MINUTES: setting({
    default: '60',
    schema: count(0, 1440),
    help: 'Least minutes between two refreshes of one account. Below 60 only where the token host is on this machine.',
  }),
  PROVISION_CONCURRENCY: setting({
    default: '3',
    schema: count(1, 20),
    help: 'Most accounts that replenishing adds at a time.',
  }),
  RETIRE_AFTER_DAYS: setting({
    default: '30',
    schema: count(0, 3650),
    help: 'Days after which an account that is disabled or needs a new login is removed; 0 keeps it for ever.',
  }),
  LOG_LEVEL: setting({
    default: 'INFO',
    schema: z
      .string()
      .toUpperCase()
      .pipe(
        z.enum(
          ['TRACE', 'DEBUG', 'INFO', 'WARN', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL'],
          'must be DEBUG, INFO, WARNING, ERROR or CRITICAL',
        ),
      ),
    help: 'DEBUG, INFO, WARNING, ERROR or CRITICAL.',
  }),
  LOG_FORMAT: setting({
    default: 'auto',
    schema: z
      .string()
      .toLowerCase()
      .pipe(z.enum(['auto', 'json', 'text'], 'must be auto, json or text')),
    help: 'json: one JSON object a line, for programs. text: lines for people. auto: text in a terminal, with colours unless NO_COLOR is set, and json everywhere else.',
  }),
  LOG_FILE: setting({
    schema: path,
    help: 'File to log to instead of the standard output; one for each process. It is reopened on SIGHUP. start_services.sh sets it to a file in LOG_DIR.',
  }),
  LOG_MAX_MB: setting({
    default: '50',
    schema: count(0, 100_000),
    help: 'Size at which LOG_FILE is renamed to LOG_FILE.1 and a new one is begun; 0 leaves that to others.',
  }),
  LOG_KEEP: setting({
    default: '5',
    schema: count(0, 1000),
    help: 'How many full log files are kept.',
  }),
  LOG_CONTENT: setting({
    default: 'off',
    schema: list
      .transform((names) => names.map((name) => switchWords[name.toLowerCase()] ?? name))
      .pipe(
        z
          .array(z.string())
          .min(1)
          .refine((names) => names.length === 1 || !names.some((name) => name === 'on' || name === 'off'), {
            message: 'must be off, on, or names of client keys',
          }),
      ),
    help: 'on: what clients send and models answer is logged, and shown for recent turns. Or names of client keys, separated by commas: only theirs. off: nothing of it.',
  }),
  LOG_CONTENT_MAX_KB: setting({
    default: '8',
    schema: count(1, 256),
    help: 'Most thousands of characters of a prompt, and of an answer, that LOG_CONTENT keeps; of a prompt the last messages.',
  }),
  LOG_CONTENT_EMAILS: setting({
    default: 'no',
    schema: flag,
    help: 'yes: e-mail addresses stay in what LOG_CONTENT keeps. Keys and tokens are always removed.',
  }),
  LOG_CONTENT_REDACT: setting({
    schema: z
      .string()
      .refine((text) => isRegExp(text), 'must be a regular expression, such as \\b\\d{16}\\b|secret project'),
    help: 'Regular expression: what it matches is removed from what LOG_CONTENT keeps.',
  }),
  DATA_DIR: setting({
    schema: path,
    help: 'Folder of the databases and the key files, for its owner alone. Unset: data in the working folder; for a package that npm has installed ~/.local/share/warp2api (in XDG_DATA_HOME, if set), unless data is there with accounts in it.',
  }),
  LOG_DIR: setting({
    default: 'logs',
    schema: path,
    help: 'Folder of the logs and pid files that start_services.sh writes.',
  }),
  DATABASE_URL: setting({
    default: 'sqlite:accounts.db',
    schema: databaseUrl('accounts.db'),
    isSecret: true,
    help: 'Where accounts are kept: sqlite: and a file (a relative one lies in DATA_DIR), or postgres://user:password@host/database for several pools on one database.',
  }),
  KEEP_URL: setting({
    schema: databaseUrl('gateway.db', 'memory'),
    isSecret: true,
    help: 'Where the gateway keeps conversations and stored responses: memory, sqlite: and a file of this gateway alone (a relative one lies in DATA_DIR), or postgres://user:password@host/database for several gateways. Unset: the DATABASE_URL if that is PostgreSQL, else sqlite:gateway.db.',
  }),
  KEEP_MAX_MB: setting({
    default: '256',
    schema: count(1, 1_000_000),
    help: 'Most megabytes of that, on disk too; what was not used for longest goes first. One entry is at most a quarter of it and 32 MB.',
  }),
  GATEWAY_DATABASE_URL: setting({
    schema: databaseUrl('usage.db'),
    isSecret: true,
    help: 'Where the gateway keeps client keys, their budgets and the usage ledger: sqlite: and a file of this gateway alone (a relative one lies in DATA_DIR), or postgres://user:password@host/database for several gateways. Unset: the DATABASE_URL if that is PostgreSQL, else sqlite:usage.db.',
  }),
  USAGE_KEEP_DAYS: setting({
    default: '90',
    schema: count(0, 3_650),
    help: 'Days for which each turn is kept in the usage ledger, and the sums of each hour by every combination; simpler sums are kept for 800. 0: no ledger.',
  }),
  USAGE_MAX_MB: setting({
    default: '2048',
    schema: count(1, 10_000_000),
    help: 'Most megabytes of turns in the usage ledger, roughly; the oldest go first. One half is for the turns, the other for the records of why each went as it did.',
  }),
  BODIES_MAX_MB: setting({
    default: '320',
    schema: count(288, 100_000),
    help: 'Most megabytes of request bodies that a service holds at a time; a large request beyond them gets a 503 with Retry-After, the larger the sooner. Processing them takes several times as much memory.',
  }),
  MASTER_KEY: setting({
    schema: z
      .string()
      .regex(
        /^([0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?)$/,
        'must be 32 bytes as 64 hexadecimal digits or as base64 (make one with: openssl rand -hex 32)',
      ),
    isSecret: true,
    help: 'Key that seals the credentials: 32 bytes in hexadecimal or base64. Wins over MASTER_KEY_FILE.',
  }),
  MASTER_KEY_FILE: setting({
    schema: path,
    help: 'File with that key, readable by its owner only, or on a read-only mount. Unset: master.key in DATA_DIR, made at first start.',
  }),
  ADMIN_KEY: setting({
    schema: ownKey(8),
    isSecret: true,
    help: 'Key for everything at the pool, and for the figures of the gateway: at least 8 characters, 16 where either listens beyond this machine. Unset: every caller on this machine may do everything.',
  }),
  POOL_API_KEY: setting({
    schema: secret,
    isSecret: true,
    help: 'Key for programs that borrow: they may only borrow, return and report. Needs ADMIN_KEY.',
  }),
  GATEWAY_KEY: setting({
    schema: ownKey(leastKeyLength).regex(/^[^,]*$/, `must have no comma (${howToMakeKey})`),
    isSecret: true,
    help: 'Key by which a gateway that runs apart proves to the pool that it is one; the same for both. Unset: services on one machine that share DATA_DIR share one in its file gateway.key, made at first start.',
  }),
  API_KEYS: setting({
    schema: list.pipe(z.array(secret).min(1, 'must hold at least one key, separated by commas')),
    isSecret: true,
    help: 'Keys of the clients of the gateway, separated by commas, beside those made with `warp2api key create`. With neither, any key or none is taken on this machine.',
  }),
  ACCOUNTS_FROM_ENV: setting({
    schema: list,
    help: 'Providers, separated by commas, whose key is taken from the environment and becomes an account: openai takes OPENAI_API_KEY, anthropic ANTHROPIC_API_KEY, and so on. Unset: none is, so that a key that is there for another program stays with that program.',
  }),
  ALLOWED_HOSTS: setting({
    schema: hostNames,
    help: 'Further host names, separated by commas, that requests may name while no keys are set.',
  }),
  CORS_ORIGINS: setting({
    schema: origins,
    help: 'Origins, separated by commas, of web pages and apps that may call the gateway and read its answers, such as https://chat.example.com, http://localhost:*, app://obsidian.md; null is a page opened from a file, * is any. Unset: none, and no CORS headers.',
  }),
  ALLOW_OPEN_BIND: setting({
    default: 'no',
    schema: flag,
    help: 'yes: listen beyond this machine although no keys are set. Everybody who reaches it can use your accounts.',
  }),
  CONFIG_FILE: setting({
    schema: path,
    help: 'YAML file with routes and aliases of models, further providers and sources of accounts. Unset: warp2api.yaml where it exists. Routes, aliases and models are read again when it changes, and on SIGHUP.',
  }),
  HTTP_PROXY: setting({
    schema: proxyUrl,
    isSecret: true,
    isAlsoLowerCase: true,
    help: 'HTTP proxy for plain http, which no vendor is spoken to in: it is HTTPS_PROXY that matters.',
  }),
  HTTPS_PROXY: setting({
    schema: proxyUrl,
    isSecret: true,
    isAlsoLowerCase: true,
    help: 'HTTP proxy for all vendors, token hosts and webhooks, such as http://user:password@proxy.example:3128. This machine and the pool are never reached through a proxy. Unset: ALL_PROXY, else none.',
  }),
  ALL_PROXY: setting({
    schema: proxyUrl,
    isSecret: true,
    isAlsoLowerCase: true,
    help: 'HTTP proxy where HTTP_PROXY or HTTPS_PROXY is unset.',
  }),
  NO_PROXY: setting({
    schema: z.string().transform((text) => text.split(/[\s,]+/).filter((item) => item !== '')),
    isAlsoLowerCase: true,
    help: 'Hosts that are reached without a proxy, separated by commas: names with all below them, addresses, blocks such as 10.0.0.0/8, each with a port where only that is meant; * is all.',
  }),
  NODE_EXTRA_CA_CERTS: setting({
    schema: path,
    help: 'PEM file with further certificates to trust, such as that of a proxy that inspects TLS.',
  }),
  SANDBOX: setting({
    default: 'auto',
    schema: z
      .string()
      .transform((text) => switchWords[text.toLowerCase()] ?? text.toLowerCase())
      .pipe(z.enum(['auto', 'on', 'off'], 'must be auto, on or off')),
    help: 'auto: a built-in upstream answers while the pool has no account and only this machine can connect. on: also when others can. off: never.',
  }),
  STRICT_MODELS: setting({
    default: 'no',
    schema: flag,
    help: 'yes: a model name that GET /v1/models does not list and that no alias of CONFIG_FILE means is a 404. Otherwise names that tools have built in (claude-*, gpt-* and others) are answered by the default model.',
  }),
  MAX_CHOICES: setting({
    default: '1',
    schema: count(1, 16),
    help: 'Most answers one request may ask for (n of Chat Completions). Each is a separate turn, and costs as much.',
  }),
  FETCH_IMAGES: setting({
    default: 'no',
    schema: flag,
    help: 'yes: images that requests name by their address are fetched, from the public internet only, and never through a proxy.',
  }),
  FETCH_IMAGES_ALLOW: setting({
    schema: hostPorts,
    help: 'Hosts (or host:port), separated by commas, that images may be fetched from although they lie in a private network or use another port.',
  }),
  UPSTREAM_FIRST_EVENT_SECONDS: setting({
    default: '120',
    schema: count(1, 3600),
    help: 'How long an upstream may take until its first event.',
  }),
  SLOW_FIRST_CONTENT_SECONDS: setting({
    default: '30',
    schema: count(0, 3600),
    help: "Mean time to the first content above which new conversations of a session do not prefer the session's account; 0 switches that off.",
  }),
  UPSTREAM_IDLE_SECONDS: setting({
    default: '120',
    schema: count(1, 3600),
    help: 'How long an upstream may be silent in the middle of an answer.',
  }),
  RESPONSES_TTL_HOURS: setting({
    default: '720',
    schema: count(1, 8760),
    help: 'How long a stored response can be looked up and continued, while there is room for it. 30 days, as clients of OpenAI expect.',
  }),
  SHUTDOWN_SECONDS: setting({
    default: '20',
    schema: count(0, 3600),
    help: 'How long running turns may go on after SIGTERM.',
  }),
  ...telemetrySettings,
} as const;

export type SettingValues = ValuesOf<typeof ownSettings>;

export const settings: SettingTable = { ...ownSettings, ...providerSettings };
