import type { ShownSetting } from './core/shown-settings.ts';
import { givenIn, shownValue } from './environment.ts';
import { plainLine } from './lib/shown-text.ts';
import { providerOfSetting } from './providers/registry.ts';
import { ownSettings, settings } from './settings.ts';

/** What is shown of settings: never a secret. */

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
