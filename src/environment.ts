import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { nearNames } from './core/near-names.ts';
import type { ShownSetting } from './core/shown-settings.ts';
import { errorMessage } from './lib/errors.ts';
import { readTextFile } from './lib/files.ts';
import { plainLine } from './lib/shown-text.ts';
import { providerOfSetting } from './providers/registry.ts';
import { ownSettings, settings } from './settings.ts';

/** The variables of the process and of its `.env` file, and what settings they make. The only reader of process.env. */

/** A configuration that cannot be used; the message names each variable and what to do. */
export class ConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? problems[0]
        : `The configuration has ${problems.length} faults:\n  ${problems.join('\n  ')}`,
    );
    this.name = 'ConfigError';
  }
}

/** The process's environment over the `.env` file of the working folder. */
export function readEnvironment(folder = process.cwd()): NodeJS.ProcessEnv {
  const fromFile = variablesIn(join(folder, '.env'));
  const spellings = Object.keys(settings)
    .filter(isReadLowerCase)
    .map((name) => [name, name.toLowerCase()]);
  // One spelling in the environment wins over the other one in the file, too.
  for (const names of spellings) {
    if (names.some((name) => name in process.env)) for (const name of names) delete fromFile[name];
  }
  return { ...fromFile, ...process.env };
}

/** What can be read of it: where the `.env` file is faulty, what the environment itself says has to do. */
export function readableEnvironment(folder: string): NodeJS.ProcessEnv {
  try {
    return readEnvironment(folder);
  } catch {
    return process.env;
  }
}

/** The file whose certificates Node reads at its start; to add them again takes 90 ms. */
export function startedWithCertificates(): string | undefined {
  return process.env['NODE_EXTRA_CA_CERTS'];
}

function isReadLowerCase(name: string): boolean {
  return settings[name]?.isAlsoLowerCase === true;
}

/** What the `.env` file says and the process's environment does not. */
export function inFileAlone(folder: string): NodeJS.Dict<string> {
  const entries = Object.entries(variablesIn(join(folder, '.env')));
  return Object.fromEntries(entries.filter(([name]) => process.env[name] === undefined));
}

/** Throws ConfigError. */
function variablesIn(file: string): NodeJS.Dict<string> {
  if (!existsSync(file)) return {};
  try {
    const text = readTextFile(file);
    const problems = lostLines(text);
    if (problems.length > 0) throw new Error(problems.join('; '));
    return parseEnv(text);
  } catch (error) {
    const reason = errorMessage(error);
    throw new ConfigError([`${file} cannot be read: ${reason}.`]);
  }
}

/** Lines of a `.env` file that set less than they seem to. */
function lostLines(text: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const place = `line ${index + 1}`;
    const [, name = '', after = ''] = /^\s*(?:export\s+)?(\w+)\s*([=:].*|\s\S+)$/.exec(line.trimEnd()) ?? [];
    if (!Object.hasOwn(settings, name)) return [];
    if (after.startsWith(':')) return [`${place}: write ${name}= instead of ${name}:`];
    if (!after.startsWith('=')) return [`${place}: write ${name}= before the value`];
    return /^=\s*(["'`])((?!\1).)*\1\s*[^\s#]/.test(after)
      ? [`${place}: ${name} goes on after its closing quote: put all of it in one pair of quotes, or none`]
      : [];
  });
}

/** A warning for each name in the `.env` file of a folder that is nearly that of a setting, and so sets nothing. */
export function misspeltSettings(folder = process.cwd()): string[] {
  const plain = (name: string): string => name.toUpperCase().replace(/_|S$/g, '');
  const known = new Map(Object.keys(settings).map((name) => [plain(name), name]));
  return Object.keys(variablesIn(join(folder, '.env'))).flatMap((name) => {
    const meant = known.get(plain(name)) ?? Object.keys(settings).find((one) => isMistyped(name, one));
    const isMeant =
      meant === undefined || meant === name || (isReadLowerCase(meant) && name === meant.toLowerCase());
    return isMeant ? [] : [`${name} in .env is no setting and changes nothing: did you mean ${meant}?`];
  });
}

const shortestMistyped = 6;

/** Whether one letter was left out, added, replaced, or put before the one that it follows. */
function isMistyped(name: string, meant: string): boolean {
  if (Object.hasOwn(settings, name) || Math.min(name.length, meant.length) < shortestMistyped) return false;
  let at = 0;
  while (at < name.length && name[at] === meant[at]) at += 1;
  const [rest, wanted] = [name.slice(at), meant.slice(at)];
  const isSwapped = rest[0] === wanted[1] && rest[1] === wanted[0] && rest.slice(2) === wanted.slice(2);
  return (
    rest.slice(1) === wanted || rest === wanted.slice(1) || rest.slice(1) === wanted.slice(1) || isSwapped
  );
}

/** Variables of OpenTelemetry that are set and change nothing here, each with the setting that is most like it. */
export function unreadTelemetry(environment: NodeJS.ProcessEnv) {
  const known = Object.keys(settings).filter((name) => name.startsWith('OTEL_'));
  return Object.keys(environment)
    .filter((name) => /^OTEL_(?!EXPORTER_OTLP_(TRACES|METRICS)_PROTOCOL$)/.test(name))
    .filter((name) => !known.includes(name) && valueIn(environment, name) !== '')
    .map((name) => ({
      name,
      near: nearNames(
        name.slice(5),
        known.map((one) => one.slice(5)),
      )[0],
    }))
    .map(({ name, near }) => ({ name, near: near && `OTEL_${near}` }));
}

/** Every setting that has a value; faults are added to `problems`. */
export function readSettings(environment: NodeJS.ProcessEnv, problems: string[]): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, { schema, isSecret, default: fallback }] of Object.entries(settings)) {
    const text = givenIn(environment, name).text || fallback;
    if (text === undefined) continue;
    if (/^["']/.test(text)) {
      problems.push(
        `${name}: has quotes around a part of its value, or one that does not close: remove them.`,
      );
      continue;
    }
    const result = schema.safeParse(text);
    if (result.success) {
      values[name] = result.data;
    } else {
      const shown = isSecret === true ? name : `${name}=${shownValue(text)}`;
      problems.push(`${shown}: ${plainLine(result.error.issues[0]?.message ?? 'is not valid')}.`);
    }
  }
  return values;
}

/** What the environment says of a setting, `''` for nothing, and in which spelling of its name. */
function givenIn(environment: NodeJS.ProcessEnv, name: string) {
  const lower = name.toLowerCase();
  const variable = isReadLowerCase(name) && valueIn(environment, lower) !== '' ? lower : name;
  return { variable, text: valueIn(environment, variable) };
}

/** A URL without its user and its query, which may be secret. */
function shownValue(text: string): string {
  const isUrl = text.includes('://');
  return plainLine(isUrl ? text.replace(/\/\/[^/\s]*@/, '//***@').replace(/[?#].*$/s, '?***') : text);
}

/** Without the quotes that Docker's --env-file and systemd's EnvironmentFile can leave around it. */
export function valueIn(environment: NodeJS.ProcessEnv, name: string): string {
  const text = environment[name]?.trim() ?? '';
  return (/^(["'])((?:(?!\1).)*)\1$/s.exec(text)?.[2] ?? text).trim();
}

/** By the beginning of their names; the first that fits. */
const groups: readonly (readonly [begins: RegExp, group: string])[] = [
  [/^(ADMIN_KEY|POOL_API_KEY|GATEWAY_KEY|API_KEYS|ALLOW|CORS|ACCOUNTS_FROM_ENV)/, 'access'],
  [/^(POOL_SERVICE|USE_POOL|HOST$|PORT$|SANDBOX|SHUTDOWN|CONFIG_FILE)/, 'services'],
  [/^(MIN_POOL|MAX_POOL|SESSION_|REFRESH_|PROVISION_|RETIRE_)/, 'pool'],
  [/^LOG_/, 'logs'],
  [/^(DATA_DIR|DATABASE|KEEP|MASTER|GATEWAY_DATABASE|BODIES|RESPONSES_TTL)/, 'storage'],
  [/^(HTTPS?_PROXY|ALL_PROXY|NO_PROXY|NODE_EXTRA)/, 'network'],
  [/^USAGE_/, 'usage'],
  [/^(OTEL_|TRACE_)/, 'tracing'],
];

/** Every setting with its value, where that comes from, and what it means. `inFile`: what the `.env` file alone says. */
export function shownSettings(
  environment: NodeJS.ProcessEnv,
  inFile: NodeJS.Dict<string>,
): readonly ShownSetting[] {
  return Object.entries(settings).map(([name, { help, isSecret = false, default: usual }]) => {
    const { variable, text: given } = givenIn(environment, name);
    const isFromFile = given !== '' && inFile[variable] === environment[variable];
    const text = given || usual;
    return {
      name,
      group: groupOf(name),
      value: text === undefined ? null : isSecret ? placeIn(name, text) : shownValue(text),
      is_set: given !== '',
      source:
        given !== '' ? (isFromFile ? '.env' : 'environment') : usual === undefined ? 'unset' : 'default',
      default: usual ?? null,
      is_secret: isSecret,
      help,
    };
  });
}

function groupOf(name: string): string {
  if (!Object.hasOwn(ownSettings, name)) return providerOfSetting(name) ?? 'services';
  return groups.find(([begins]) => begins.test(name))?.[1] ?? 'turns';
}

/** Of a secret that says where something is: its place alone. Null where it is a key, or does not read as an address. */
function placeIn(name: string, secret: string): string | null {
  if (!/_(URL|PROXY)$/.test(name)) return null;
  if (/^(sqlite:|memory$)/.test(secret)) return plainLine(secret);
  const text = secret.includes('://') ? secret : `http://${secret}`;
  if (!URL.canParse(text)) return null;
  const { protocol, username, password, host, pathname } = new URL(text);
  const user = username + password === '' ? '' : '***@';
  return plainLine(`${protocol}//${user}${host}${protocol.startsWith('postgres') ? pathname : ''}`);
}
