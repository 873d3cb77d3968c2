import { isIPv6 } from 'node:net';
import { homedir } from 'node:os';
import { z } from 'zod';
import { howToMakeKey, isPlaceholder, leastKeyLength } from './lib/key-strength.ts';
import { isLoopbackHost } from './lib/loopback.ts';

/** One environment variable: what it is called, what it may hold, what it means. `.env.example` is made from these. */
interface Setting<Value> {
  readonly help: string;
  /** As a person would write it; undefined when unset means "none". */
  readonly default?: string;
  readonly isSecret?: boolean;
  /** Is also read under its name in lower case, which wins, as with other programs. */
  readonly isAlsoLowerCase?: boolean;
  readonly schema: z.ZodType<Value, string>;
}

const port = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a port number from 0 to 65535')
  .transform(Number)
  .refine((value) => value <= 65_535, 'must be a port number from 0 to 65535');
/** As URLs spell it, but an IPv6 address without its brackets. */
const host = z
  .string()
  .refine(
    (text) =>
      /^[\w.:[\]-]+$/.test(text) && (isIPv6(bare(text)) || !text.includes(':')) && nameOf(text) !== undefined,
    'must be a host name or an IP address to listen on, without a port, such as 127.0.0.1 or 0.0.0.0',
  )
  .transform((text) => bare(nameOf(text) ?? text));
const count = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be a whole number from ${min} to ${max}`);
const flag = z
  .string()
  .toLowerCase()
  .pipe(z.enum(['true', 'false', 'yes', 'no', '1', '0', 'on', 'off'], 'must be true or false'))
  .transform((word) => ['true', 'yes', '1', 'on'].includes(word));
const switchWords: Readonly<Record<string, string>> = { true: 'on', yes: 'on', false: 'off', no: 'off' };
/** A postgres:// URL must be one that can be read: a password with a # or a / in it cannot. */
const isReadableUrl = (text: string): boolean => !text.startsWith('postgres') || URL.canParse(text);
const unreadableUrl = 'must be a URL; write # / @ : of a password as %23 %2F %40 %3A';
/** A whole address, asked for as it is written. */
const httpAddress = z
  .string()
  .refine(
    (text) => /^https?:\/\/[^/]/i.test(text) && URL.canParse(text),
    'must be a URL that begins with http:// or https:// and a host, such as http://127.0.0.1:8019',
  )
  .refine(
    (text) => !URL.canParse(text) || new URL(text).username + new URL(text).password === '',
    'must be a URL without user name and password: none would be sent',
  );
/** What the paths of calls are appended to. */
const httpUrl = httpAddress
  .refine(
    (text) => !/[?#]/.test(text),
    'must be a URL without user, query or fragment: paths of calls are appended to it',
  )
  .transform((text) => text.replace(/\/+$/, ''));
const isSafe = (text: string): boolean =>
  !URL.canParse(text) || /^https:/i.test(text) || isLoopbackHost(new URL(text).hostname);
const unsafe = 'must be https unless it is on this machine';
export const safeAddress = httpAddress.refine(isSafe, unsafe);
export const safeUrl = httpUrl.refine(isSafe, unsafe);
/** A name without a scheme is an HTTP proxy, as with curl. */
const proxyUrl = z
  .string()
  .transform((text) => (text.includes('://') ? text : `http://${text}`))
  .refine(
    (text) => URL.canParse(text) && new URL(text).hostname !== '',
    'must be the URL of a proxy, such as http://user:password@proxy.example:3128; write # / ? @ : of a password as %23 %2F %3F %40 %3A',
  )
  // What follows the host is the rest of a password that was cut.
  .refine(
    (text) => !URL.canParse(text) || !/[?#@]/.test(text.replace(/^[^/]*\/\/([^/?#]*@)?/, '')),
    'must be the URL of a proxy without anything after its port; write # / ? @ : of a password as %23 %2F %3F %40 %3A',
  )
  .refine(
    (text) => !URL.canParse(text) || hasReadableCredentials(new URL(text)),
    'has a user name or password with a bare %: write it as %25',
  );
const secret = z.string().regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces');
/** A key that the owner of the services invents. */
const ownKey = (length: number) =>
  secret
    .min(length, `must have at least ${length} characters (${howToMakeKey})`)
    .refine(
      (key) => !isPlaceholder(key),
      `is a key from an example, which anyone would try (${howToMakeKey})`,
    );
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);
export const path = z
  .string()
  .refine((text) => !/^\$|^~[^/\\]/.test(text), 'must be a path; variables and ~name are not replaced here')
  .transform((text) => text.replace(/^~(?=$|[/\\])/, homedir()));
const hostNames = list.transform((items, context) =>
  items.map((item) => {
    const name = hostNameOf(item);
    if (name === undefined) {
      context.addIssue({
        code: 'custom',
        message: `must be host names or IP addresses, such as my-box.lan, and "${item}" is none`,
      });
      return '';
    }
    return name;
  }),
);
const hostPorts = list.transform((items, context) =>
  items.map((item) => {
    const [, name = item, port] = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(item) ?? [];
    const host = nameOf(name);
    const isPort = port === undefined || (Number(port) > 0 && Number(port) <= 65_535);
    if (host !== undefined && isPort) return port === undefined ? host : `${host}:${Number(port)}`;
    context.addIssue({ code: 'custom', message: 'must be host names or host:port, separated by commas' });
    return '';
  }),
);
const origins = list.transform((items, context) =>
  items.map((item) => {
    const origin = originOf(item);
    if (origin === undefined) {
      context.addIssue({
        code: 'custom',
        message: `must be origins, such as https://chat.example.com or app://obsidian.md, null, or *, and "${item}" is none`,
      });
      return '';
    }
    return origin;
  }),
);

/** The name in a host, a host with its port, or a URL; undefined where there is none. */
function hostNameOf(text: string): string | undefined {
  return nameOf(text.replace(/^https?:\/\//i, '').replace(/\/$/, ''));
}

/** A host name or an IP address as URLs spell it; undefined for what is none. */
function nameOf(text: string): string | undefined {
  const bracketed = isIPv6(text) ? `[${text}]` : text;
  if (!/^[^./@?#*\s\\][^/@?#*\s\\]*$/.test(bracketed) || !URL.canParse(`http://${bracketed}`))
    return undefined;
  return new URL(`http://${bracketed}`).hostname.replace(/\.$/, '');
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/** An origin as browsers write it; `*` may be a part of its host or its port. */
function originOf(text: string): string | undefined {
  if (text === '*' || text.toLowerCase() === 'null') return text.toLowerCase();
  const origin = text.toLowerCase().replace(/(?<=[^/:])\/$/, '');
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s\\]*$/.test(origin)) return undefined;
  if (!/^https?:/.test(origin)) return origin;
  const [, address = '', anyPort = ''] = /^(.*?)(:\*)?$/.exec(origin) ?? [];
  const example = address.replaceAll('*', 'x');
  if (!URL.canParse(example)) return undefined;
  if (!address.includes('*')) return new URL(address).origin + anyPort;
  return (new URL(example).port === '' ? address.replace(/:\d*$/, '') : address) + anyPort;
}

function setting<Value>(value: Setting<Value>): Setting<Value> {
  return value;
}

export const settings = {
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
  DATA_DIR: setting({
    default: 'data',
    schema: path,
    help: 'Folder of the database and the key files, for its owner alone.',
  }),
  LOG_DIR: setting({
    default: 'logs',
    schema: path,
    help: 'Folder of the logs and pid files that start_services.sh writes.',
  }),
  DATABASE_URL: setting({
    default: 'sqlite:accounts.db',
    schema: z
      .string()
      .regex(
        /^(sqlite:.+|postgres(ql)?:\/\/.+)/,
        'must be sqlite: and a file, such as sqlite:accounts.db, or postgres:// with host and database',
      )
      .refine(isReadableUrl, unreadableUrl),
    // It may hold a password.
    isSecret: true,
    help: 'Where accounts are kept: sqlite: and a file (a relative one lies in DATA_DIR), or postgres://user:password@host/database for several pools on one database.',
  }),
  KEEP_URL: setting({
    schema: z
      .string()
      .regex(
        /^(memory$|sqlite:.+|postgres(ql)?:\/\/.+)/,
        'must be memory, sqlite: and a file, such as sqlite:gateway.db, or postgres:// with host and database',
      )
      .refine(isReadableUrl, unreadableUrl),
    // It may hold a password.
    isSecret: true,
    help: 'Where the gateway keeps conversations and stored responses: memory, sqlite: and a file of this gateway alone (a relative one lies in DATA_DIR), or postgres://user:password@host/database for several gateways. Unset: the DATABASE_URL if that is PostgreSQL, else sqlite:gateway.db.',
  }),
  KEEP_MAX_MB: setting({
    default: '256',
    schema: count(1, 1_000_000),
    help: 'Most megabytes of that, on disk too; what was not used for longest goes first. One entry is at most a quarter of it and 32 MB.',
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
    help: 'Keys of the clients of the gateway, separated by commas. Unset: any key or none is taken.',
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
    help: 'YAML file with model aliases, further providers and sources of accounts. Unset: warp2api.yaml where it exists.',
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
  WARP_SERVER_URL: setting({
    default: 'https://app.warp.dev',
    schema: safeUrl,
    help: 'Where Warp listens; a path is kept before those of its calls.',
  }),
  WARP_API_KEY: setting({
    // One that cannot be a key is warned of when it is used: the other accounts serve without it.
    schema: z.string(),
    isSecret: true,
    help: 'A Warp API key of yours; it is added to the pool as an account.',
  }),
  OZ_ENVIRONMENT_ID: setting({
    schema: secret,
    help: 'The cloud environment at Warp that runs of Oz accounts work in. Unset: the plain one.',
  }),
  OZ_RUN_TIMEOUT_SECONDS: setting({
    default: '1800',
    schema: count(10, 86_400),
    help: 'How long a run of an Oz account may take before it is cancelled.',
  }),
  WARP_OAUTH_CLIENT_ID: setting({
    schema: secret,
    help: 'OAuth client id for the device login at Warp. None is built in: use one that Warp has given you.',
  }),
  WARP_FIREBASE_API_KEY: setting({
    schema: secret,
    isSecret: true,
    help: "The web API key of Warp's identity project, needed to exchange and refresh tokens.",
  }),
  WARP_IDENTITY_URL: setting({
    default: 'https://identitytoolkit.googleapis.com',
    schema: safeAddress,
    help: 'Where a custom token is exchanged for an ID token.',
  }),
  WARP_TOKEN_URL: setting({
    default: 'https://securetoken.googleapis.com',
    schema: safeAddress,
    help: 'Where refresh tokens are exchanged for ID tokens.',
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
} as const;

export type SettingName = keyof typeof settings;
export type SettingValues = {
  [Name in SettingName]: (typeof settings)[Name] extends Setting<infer Value> ? Value | undefined : never;
};

function hasReadableCredentials({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/** The text of `.env.example`. */
export function envExample(): string {
  const head =
    '# Made from the settings in src/settings.ts by `npm run generate`. Copy to .env and change what you need.\n';
  const blocks = Object.entries(settings).map(([name, { help, ...rest }]) => {
    const value = (rest as { default?: string }).default ?? '';
    return `# ${help}\n#${name}=${value}\n`;
  });
  return [head, ...blocks].join('\n');
}

/** The settings as the rows of a Markdown table. */
export function settingsTable(): string {
  const rows = Object.entries(settings).map(([name, { help, ...rest }]) => {
    const value = (rest as { default?: string }).default;
    return `| \`${name}\` | ${value === undefined ? '' : `\`${value}\``} | ${help} |`;
  });
  return ['| variable | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}
