import { type Command, InvalidArgumentError } from 'commander';
import { keylessClient } from '../core/keyless-client.ts';
import {
  type UsageReport,
  type UsageRow,
  usageColumns,
  usageGroups,
  usageReport,
} from '../core/shown-usage.ts';
import { csvLine } from '../lib/csv.ts';
import { plainLine } from '../lib/shown-text.ts';
import { accountNames } from './account/account-names.ts';
import { accountWords } from './account/find-account.ts';
import { accountIdOf, accountsOf } from './account/gateway-accounts.ts';
import type { CliActions } from './actions.ts';
import { answer } from './answers.ts';
import { cutTo, type FittingColumn, formatToFit } from './table.ts';

interface Options {
  readonly period?: string;
  readonly from?: string;
  readonly to?: string;
  readonly tz: string;
  readonly by: string;
  readonly key?: string;
  readonly owner?: string;
  readonly model?: string;
  readonly provider?: string;
  readonly account?: string;
  readonly outcome?: string;
  readonly gateway?: string;
  readonly csv?: true;
  readonly jsonl?: true;
  readonly json?: true;
}

const groups: readonly string[] = [...usageGroups, 'hour', 'day'];

function groupList(text: string): string {
  if (text.split(',').every((name) => groups.includes(name))) return text;
  throw new InvalidArgumentError(`It must be one or several of ${groups.join(', ')}.`);
}

export function addUsage(parent: Command, actions: CliActions): void {
  const command = parent
    .command('usage')
    .description('show what turns of the gateway used: tokens, cost, errors')
    .option('--period <name>', 'today, yesterday, 24h, 7d, 30d, 90d or month (default: today)')
    .option('--from <time>', 'a day, such as 2026-11-01, or a time with its offset, in place of a period')
    .option('--to <time>', 'its end, which is not in it (default: now)')
    .option('--tz <zone>', 'the time zone of days', Intl.DateTimeFormat().resolvedOptions().timeZone)
    .option('--by <groups>', `one or several of ${groups.join(', ')}`, groupList, 'model')
    .option('--key <key>', 'only turns of this client key: its id or name')
    .option('--owner <owner>', 'only of keys with this owner, as they are labelled now')
    .option('--model <name>', 'only of this model, as clients name it')
    .option('--provider <name>', 'only of this provider')
    .option('--account <account>', `only of this account: ${accountWords}; a removed one by its id`)
    .option('--outcome <outcome>', 'success, the code of an error, or error for any')
    .option('--gateway <url>', 'the gateway to ask (default: the one of these settings)')
    .option('--csv', 'print the rows as CSV')
    .option('--jsonl', 'print one row of JSON a line')
    .option('--json', 'print what GET /api/usage answers')
    .addHelpText(
      'after',
      '\nExamples:\n  warp2api usage\n  warp2api usage --period 30d --by key\n  warp2api usage --period month --by owner,model\n  warp2api usage --from 2026-11-01 --by day,model --csv',
    );
  answer(command, actions, async (options: Options) => {
    const { by, gateway, csv, jsonl, json, account: named, ...query } = options;
    const account = named && (await accountIdOf(actions, gateway, named));
    const given = Object.entries({ ...query, account, group: by }).filter(([, value]) => value !== undefined);
    const path = `/api/usage?${new URLSearchParams(given as [string, string][])}`;
    const report = usageReport.parse(await actions.askGateway(path, gateway));
    if (csv) return [report, csvOf(report)];
    if (jsonl) return [report, report.rows.map((row) => `${JSON.stringify(row)}\n`).join('')];
    if (json) return [report, ''];
    const ids = report.rows.map((row) => row.account);
    const nameOf = await accountNames(accountsOf(actions, gateway).listAccounts, ids);
    return [report, describe(report, nameOf, actions.terminalWidth)];
  });
}

function csvOf(report: UsageReport): string {
  const columns = usageColumns(report);
  const lines = report.rows.map((row) => csvLine(columns.map((name) => row[name] ?? null)));
  // In a terminal and a pipe lines end as those of other programs do.
  return [csvLine(columns), ...lines].map((line) => line.replace(/\r\n$/, '\n')).join('');
}

function describe(
  report: UsageReport,
  accountName: (id: string) => string,
  width: number | undefined,
): string {
  const { rows, total, group, from, to, time_zone: zone } = report;
  const head = `${dayAndTime(from, zone)} to ${dayAndTime(to, zone)} (${zone})\n`;
  if (rows.length === 0) return `${head}\nNo turns.\n`;
  const all: UsageRow[] = [...rows, { ...total }];
  const names = group.map((name): FittingColumn<UsageRow> => {
    const cell = (row: UsageRow) =>
      row === all.at(-1) ? (name === group[0] ? 'all' : '') : nameIn(row, name, accountName);
    return { heading: name.replace('_', ' '), cell, brief: (row) => cutTo(cell(row), 32) };
  });
  const ms = (time: number | null) => (time === null ? null : `${time} ms`);
  const columns: FittingColumn<UsageRow>[] = [
    ...names,
    { heading: 'turns', cell: ({ turns }) => turns },
    { heading: 'errors', cell: ({ errors }) => errors || null, leftOut: 3 },
    { heading: 'input', cell: (row) => row.input_tokens, leftOut: 1 },
    { heading: 'output', cell: (row) => row.output_tokens, leftOut: 2 },
    { heading: 'cost', cell: costOf },
    { heading: 'first content', cell: (row) => ms(row.first_content_p50_ms), leftOut: 0 },
  ];
  const table = formatToFit(all, columns, width);
  const { unpriced_turns: unpriced } = total;
  const note =
    unpriced === 0 ? '' : `\n${unpriced} ${unpriced === 1 ? 'turn' : 'turns'} without a known price.\n`;
  return `${head}\n${table}${note}`;
}

function nameIn(row: UsageRow, group: string, accountName: (id: string) => string): string {
  if (group === 'key') return row.key === keylessClient ? '(none)' : plainLine(row.key_name ?? row.key ?? '');
  if (group === 'account' && row.account) return plainLine(accountName(row.account));
  const value = group === 'hour' || group === 'day' ? row.start : row[group as 'model'];
  return plainLine(value || '(none)');
}

function costOf({ cost_cents: cents, credits }: UsageRow): string {
  const parts = [
    ...(cents === null ? [] : [`$${(cents / 100).toFixed(cents < 100 ? 4 : 2)}`]),
    ...(credits === null
      ? []
      : [`${Number(credits.toPrecision(6))} ${credits === 1 ? 'credit' : 'credits'}`]),
  ];
  return parts.join(' + ') || 'unknown';
}

function dayAndTime(at: string, timeZone: string): string {
  return new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(
    new Date(at),
  );
}
