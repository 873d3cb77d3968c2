import { type Command, InvalidArgumentError } from 'commander';
import type { ShownKey } from '../../core/shown-key.ts';
import { commaList, wholeNumber } from '../option-values.ts';

type Budget = ShownKey['limits']['budgets'][number];

/** What may be taken away is false after `--no-…`. */
export interface KeyOptions {
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

/** What a key is for and how much it may use. */
export function addKeyOptions(command: Command): Command {
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
export function keyFields(options: KeyOptions): Record<string, unknown> {
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
export function seconds(text: string): number {
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
