import { type Command, InvalidArgumentError } from 'commander';
import { type KeyUse, keyWithSecret, type ShownKey, shownKey, shownKeys } from '../core/shown-key.ts';
import type { CliActions } from './actions.ts';
import { answer, collectPages, type Shown } from './answers.ts';
import { commaList, UsageError, wholeNumber } from './option-values.ts';
import { type FittingColumn, formatPairs, formatToFit, fromNow } from './table.ts';

interface Shared {
  readonly gateway?: string;
  readonly json?: true;
}

const whichKey = 'its name or its id';
const everyKey = 1_000_000;

export function addKeys(program: Command, actions: CliActions): void {
  const keys = program
    .command('key')
    .description('make, show and change the keys of the clients of the gateway')
    .helpCommand(false);
  const shared = (command: Command): Command =>
    command
      .option('--gateway <url>', 'the gateway to ask (default: the one of these settings)')
      .option('--json', 'print what the gateway answers');
  const pathOf = (key: string, verb = ''): string => `/api/keys/${encodeURIComponent(key)}${verb}`;

  const create = shared(
    addKeyOptions(keys.command('create').description('make a key, and print its secret this once')),
  )
    .argument('<name>', 'unique among all keys')
    .addHelpText(
      'after',
      `
The secret alone is printed on standard output, so that it can be piped. From the first key on every client needs one.

Examples:
  warp2api key create ci --owner "build team" --expires 90d
  warp2api key create alice --models "claude-*,gpt-5" --requests-per-minute 60 --budget cost_cents/month=2000
  warp2api key create bot --labels team-a --budget tokens/day=1000000 --time-zone Europe/Berlin > bot.key`,
    );
  answer(create, actions, async (name: string, options: KeyOptions & Shared) => {
    const request = { method: 'POST', body: { name, ...keyFields(options) } } as const;
    const made = keyWithSecret.parse(await actions.askGateway('/api/keys', options.gateway, request));
    const said = `Made the key "${made.key.name}" (${made.key.id}). Its secret is not stored and shown this once:\n`;
    return withSecret(actions, options, made, said);
  });

  const list = shared(keys.command('list').description('list the keys, the newest first'))
    .option('--all', 'also those that were revoked')
    .addHelpText('after', '\nExamples:\n  warp2api key list\n  warp2api key list --all --json');
  answer(list, actions, async ({ gateway, all = false }: Shared & { all?: boolean }) => {
    const found = await collectPages(everyKey, async (limit, before: number | undefined) => {
      const place = before === undefined ? '' : `&before=${before}`;
      const path = `/api/keys?limit=${limit}&revoked=${all}${place}`;
      const page = shownKeys.parse(await actions.askGateway(path, gateway));
      return [page.keys, page.next_before];
    });
    return [{ keys: found }, listed(found, actions.terminalWidth)];
  });

  const show = shared(keys.command('show').description('show one key'))
    .argument('<key>', whichKey)
    .addHelpText('after', '\nExample:\n  warp2api key show ci');
  answer(show, actions, async (key: string, { gateway }: Shared) => {
    const found = shownKey.parse(await actions.askGateway(pathOf(key), gateway));
    return [found, described(found)];
  });

  const set = shared(
    addKeyOptions(keys.command('set').description('change a key; turns that run end as they began')),
  )
    .argument('<key>', whichKey)
    .option('--name <name>', 'another name')
    .option('--enable', 'take it again')
    .option('--disable', 'do not take it until it is enabled')
    .option('--no-owner', 'forget the owner')
    .option('--no-models', 'it may use all models')
    .option('--no-providers', 'it may use all providers')
    .option('--no-labels', 'it may use any account')
    .option('--no-expires', 'it does not expire')
    .option('--no-requests-per-minute', 'any number of requests')
    .option('--no-tokens-per-minute', 'any number of tokens')
    .option('--no-parallel-turns', 'any number of turns')
    .option('--no-budget', 'no budget; else the budgets that are given replace all it had')
    .option('--no-time-zone', 'UTC counts')
    .addHelpText(
      'after',
      `
What is not named stays as it is. Every gateway of the same database goes by a change within a second.

Examples:
  warp2api key set ci --parallel-turns 4 --no-expires
  warp2api key set alice --budget cost_cents/month=5000 --budget requests/day=2000
  warp2api key set bot --disable`,
    );
  answer(set, actions, async (key: string, options: KeyOptions & Shared & Switches) => {
    const { name, enable, disable } = options;
    if (enable && disable) throw new UsageError('Give --enable or --disable, not both.');
    const body = {
      ...keyFields(options),
      ...(name !== undefined && { name }),
      ...((enable || disable) && { enabled: enable === true }),
    };
    if (Object.keys(body).length === 0)
      throw new UsageError('Say what to change, such as --expires 90d; "warp2api key set --help" lists it.');
    const call = { method: 'PATCH', body } as const;
    const changed = shownKey.parse(await actions.askGateway(pathOf(key), options.gateway, call));
    return [changed, `Changed this key:\n${described(changed)}`];
  });

  const rotate = shared(
    keys.command('rotate').description('give a key another secret, and print it this once'),
  )
    .argument('<key>', whichKey)
    .option(
      '--grace <span>',
      'how long the present secret stays good (default: 24h; 0: it ends now)',
      seconds,
    )
    .addHelpText(
      'after',
      '\nExamples:\n  warp2api key rotate ci\n  warp2api key rotate ci --grace 7d > ci.key',
    );
  answer(rotate, actions, async (key: string, options: Shared & { grace?: number }) => {
    const { grace, gateway } = options;
    const call = {
      method: 'POST',
      body: grace === undefined ? {} : { grace_seconds: grace },
    } as const;
    const made = keyWithSecret.parse(await actions.askGateway(pathOf(key, '/rotate'), gateway, call));
    const until = made.key.former_secret_until;
    const former =
      until === null ? 'The one before is good no more.' : `The one before is good until ${until}.`;
    return withSecret(actions, options, made, `The key "${made.key.name}" has another secret. ${former}\n`);
  });

  const revoke = shared(
    keys.command('revoke').description('end a key for good, and the turns that run with it'),
  )
    .argument('<key>', whichKey)
    .addHelpText('after', '\nExample:\n  warp2api key revoke ci');
  answer(revoke, actions, async (key: string, { gateway }: Shared) => {
    const call = { method: 'POST' } as const;
    const revoked = shownKey.parse(await actions.askGateway(pathOf(key, '/revoke'), gateway, call));
    return [revoked, `Revoked the key "${revoked.name}": every gateway refuses it within a second.\n`];
  });
}

interface Switches {
  readonly name?: string;
  readonly enable?: true;
  readonly disable?: true;
}

/** On standard output the secret and nothing else, or all of it as JSON. */
function withSecret(
  actions: CliActions,
  { json }: Shared,
  made: { readonly key: ShownKey; readonly secret: string },
  said: string,
): Shown {
  if (!json) actions.writeError(said);
  return [made, `${made.secret}\n`];
}

const columns: readonly FittingColumn<ShownKey>[] = [
  { heading: 'name', cell: ({ name }) => name },
  { heading: 'secret', cell: ({ prefix }) => `${prefix}…`, leftOut: 1 },
  { heading: 'state', cell: ({ state }) => state },
  { heading: 'owner', cell: ({ owner }) => owner, leftOut: 4 },
  { heading: 'expires', cell: ({ expires_at }) => expires_at?.slice(0, 10), leftOut: 2 },
  {
    heading: 'last used',
    cell: ({ last_used_at }) => last_used_at,
    brief: ({ last_used_at }) => fromNow(last_used_at),
    leftOut: 3,
  },
  { heading: 'limits', cell: limitWords, leftOut: 0 },
  { heading: 'most used', cell: ({ uses }) => mostUsed(uses) },
];

function listed(keys: readonly ShownKey[], width: number | undefined): string {
  if (keys.length === 0) return 'There is no key. Make one: warp2api key create NAME\n';
  return formatToFit(keys, columns, width);
}

/** The budget of which least is left; limits that reset within a minute need no attention. */
function mostUsed(uses: readonly KeyUse[]): string | null {
  const budgets = uses.filter(({ window }) => window !== 'minute' && window !== 'now');
  const share = ({ used, limit }: KeyUse) => (limit > 0 ? used / limit : 1);
  const fullest = budgets.toSorted((one, other) => share(other) - share(one))[0];
  if (fullest === undefined) return null;
  const { meter, window } = fullest;
  return `${Math.floor(100 * share(fullest))} % of ${meter.replace('_', ' ')}/${window}`;
}

function described(key: ShownKey): string {
  return formatPairs([
    ['name', key.name],
    ['id', key.id],
    ['secret', `${key.prefix}…`],
    ['state', key.state],
    ['owner', key.owner],
    ['models', key.models?.join(', ') ?? 'all'],
    ['providers', key.providers?.join(', ') ?? 'all'],
    ['labels', key.labels?.join(', ') ?? 'any account'],
    ['limits', limitWords(key)],
    ...key.uses.map((use) => ['used', useWords(use)] as const),
    ['expires', key.expires_at],
    ['made', key.created_at],
    ['last used', key.last_used_at],
    ...(key.former_secret_until === null ? [] : [['former secret until', key.former_secret_until] as const]),
    ...(key.revoked_at === null ? [] : [['revoked', key.revoked_at] as const]),
  ]);
}

function useWords({ meter, window, limit, used, unpriced_turns: unpriced, resets_at }: KeyUse): string {
  const what = meter === 'turns' ? 'turns at a time' : `${meter.replace('_', ' ')}/${window}`;
  const more = [
    ...(unpriced ? [`${unpriced} without a known price`] : []),
    ...(resets_at === null ? [] : [`until ${resets_at}`]),
  ];
  return [`${used} of ${limit} ${what}`, ...more].join(', ');
}

function limitWords({ limits }: ShownKey): string {
  const { requests_per_minute: requests, tokens_per_minute: tokens, parallel_turns: turns, budgets } = limits;
  return [
    ...(requests === undefined ? [] : [`${requests} requests/min`]),
    ...(tokens === undefined ? [] : [`${tokens} tokens/min`]),
    ...(turns === undefined ? [] : [`${turns} at a time`]),
    ...budgets.map(({ meter, window, limit }) => `${limit} ${meter.replace('_', ' ')}/${window}`),
  ].join(', ');
}

type Budget = ShownKey['limits']['budgets'][number];

/** What may be taken away is false after `--no-…`. */
interface KeyOptions {
  readonly owner?: string | false;
  readonly models?: string[] | false;
  readonly providers?: string[] | false;
  readonly labels?: string[] | false;
  readonly expires?: string | false;
  readonly requestsPerMinute?: number | false;
  readonly tokensPerMinute?: number | false;
  readonly parallelTurns?: number | false;
  readonly budget?: Budget[] | false;
  readonly timeZone?: string | false;
}

const most = 999_999_999;

function addKeyOptions(command: Command): Command {
  return command
    .option('--owner <text>', 'who answers for it, a person or a team')
    .option('--models <a,b>', 'models it may use, by name or pattern with * (default: all)', commaList)
    .option('--providers <a,b>', 'providers it may use (default: all)', commaList)
    .option('--labels <a,b>', 'only accounts with one of these labels', commaList)
    .option('--expires <when>', 'a time such as 2027-01-31, or a span such as 90d or 12h', expiry)
    .option('--requests-per-minute <n>', 'requests it may begin in a minute', wholeNumber(1, most))
    .option('--tokens-per-minute <n>', 'tokens it may use in a minute', wholeNumber(1, most))
    .option('--parallel-turns <n>', 'turns it may run at a time', wholeNumber(1, most))
    .option(
      '--budget <meter/window=limit>',
      'of requests, tokens, cost_cents or credits by day, week, month or in total, such as cost_cents/month=2000; may be repeated',
      budget,
    )
    .option('--time-zone <name>', 'whose days, weeks and months count (default: UTC)');
}

/** The fields of a request; what was not named is left out. */
function keyFields(options: KeyOptions): Record<string, unknown> {
  const { owner, models, providers, labels, expires } = options;
  const limits = fieldsOf({
    requests_per_minute: options.requestsPerMinute,
    tokens_per_minute: options.tokensPerMinute,
    parallel_turns: options.parallelTurns,
    time_zone: options.timeZone,
    budgets: options.budget === false ? [] : options.budget,
  });
  return {
    ...fieldsOf({ owner, models, providers, labels, expires_at: expires }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}

function fieldsOf(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(named.map(([name, value]) => [name, value === false ? null : value]));
}

const unitSeconds = { m: 60, h: 3_600, d: 86_400 } as const;

/** Seconds of a span such as 90d, 12h or 30m. */
function seconds(text: string): number {
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (count !== undefined) return Number(count) * unitSeconds[unit as keyof typeof unitSeconds];
  if (text === '0') return 0;
  throw new InvalidArgumentError('It must be a span such as 24h, 30m or 7d.');
}

function expiry(text: string): string {
  if (/^\d+[mhd]$/.test(text)) return new Date(Date.now() + seconds(text) * 1_000).toISOString();
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new InvalidArgumentError('It must be a time such as 2027-01-31, or a span such as 90d.');
  return new Date(at).toISOString();
}

function budget(text: string, before: Budget[] = []): Budget[] {
  const [, meter, window, limit] = /^(\w+)\/(\w+)=(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (limit === undefined)
    throw new InvalidArgumentError('It must be a meter, a window and a limit, such as tokens/day=1000000.');
  return [...before, { meter, window, limit: Number(limit) } as Budget];
}
