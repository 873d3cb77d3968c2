import type { Command } from 'commander';
import type { AuditAnswer, StatusAnswer } from '../pool-api/owner-schema.ts';
import { accountNames } from './account/account-names.ts';
import { accountWords, findAccount } from './account/find-account.ts';
import type { CliActions } from './actions.ts';
import { answer, answerFromPool, collectPages } from './answers.ts';
import { wholeNumber } from './option-values.ts';
import { cutTo, type FittingColumn, formatPairs, formatToFit } from './table.ts';

export function addStatus(parent: Command, actions: CliActions): void {
  const command = parent
    .command('status')
    .description('show how the pool is doing')
    .option('--json', 'print what GET /api/accounts/status answers')
    .addHelpText('after', '\nExamples:\n  warp2api status\n  warp2api status --json');
  answerFromPool(command, actions, async (admin) => {
    const status = await admin.status();
    return [status, describe(status)];
  });
}

function describe(status: StatusAnswer): string {
  const stats = status.pool_stats;
  const pairs = formatPairs([
    ['health', status.health],
    ['service running', status.running],
    ['accounts', stats.total],
    ['  available', stats.available],
    ['  in use', stats.in_use],
    ['  standby', stats.standby],
    ['  cooling down', stats.cooldown],
    ['  quota used up', stats.exhausted],
    ['  need a new login', stats.reauth_required],
    ['  disabled', stats.disabled],
    ['sessions', status.active_sessions],
    ['spent last hour', spent(status.forecast)],
    ['left', left(status.forecast)],
    ...nextReset(status),
    ['wanted size', `${status.min_pool_size} to ${status.max_pool_size}`],
    ...status.sources.map((source): [string, string] => [`source ${source.name}`, sourceText(source)]),
  ]);
  const notice = 'Answers come from the built-in sandbox: there is no real account in the pool.\n';
  const reason = status.reason ? `\n${status.reason}\n` : '';
  return pairs + (status.sandbox ? notice : reason);
}

function spent({ spent_last_hour: hour }: StatusAnswer['forecast']): string {
  const cost = hour.cost_cents > 0 ? `${round(hour.cost_cents)} cents, ` : '';
  return `${hour.turns} turns, ${round(hour.credits)} credits, ${cost}${hour.input_tokens + hour.output_tokens} tokens`;
}

function sourceText({ type, state, added, retry_at, last_error }: StatusAnswer['sources'][number]): string {
  const kind = type === 'standby' ? '' : `${type}, `;
  const rest = retry_at === null ? '' : ` until ${retry_at}`;
  const error = last_error === null ? '' : `: ${last_error}`;
  return `${kind}${state.replace('_', ' ')}${rest}, ${added} added${error}`;
}

function left({
  remaining,
  unmetered_accounts: unmetered,
  lasts_hours: hours,
}: StatusAnswer['forecast']): string {
  const lasts = hours === null ? '' : `, lasts ${duration(hours)} at the present rate`;
  const others = unmetered === 0 ? '' : `, beside ${unmetered} without known limit`;
  return `${round(remaining)}${lasts}${others}`;
}

function nextReset({ forecast: { next_reset_at: at }, timestamp }: StatusAnswer): [string, string][] {
  if (!at) return [];
  return [['next quota reset', `in ${duration((Date.parse(at) - Date.parse(timestamp)) / 3_600_000)}`]];
}

function duration(hours: number): string {
  if (hours < 1) return `about ${Math.max(1, Math.round(hours * 60))} min`;
  return hours < 48 ? `about ${Math.round(hours)} h` : `about ${Math.round(hours / 24)} days`;
}

const round = (value: number): number => Math.round(value * 10) / 10;

type Entry = AuditAnswer['entries'][number];
const wholeId = /^acc_[0-9a-f-]{36}$/;

export function addAudit(parent: Command, actions: CliActions): void {
  const command = parent
    .command('audit')
    .description('show who changed what, the newest first')
    .option(
      '--account <account>',
      `only what concerns this account: ${accountWords}; a removed one by its whole id`,
    )
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 50)
    .option('--json', 'print {"entries": [...]}')
    .addHelpText('after', '\nExamples:\n  warp2api audit\n  warp2api audit --account me@example.com --json');
  type Options = { account?: string; limit: number; json?: true };
  answerFromPool(command, actions, async (admin, { account, limit, json }: Options) => {
    // A removed account still has a trail, so a whole id is not looked up.
    const id =
      account === undefined || wholeId.test(account) ? account : (await findAccount(admin, account)).id;
    const entries = await collectPages(limit, async (pageLimit, before: number | undefined) => {
      const page = await admin.audit({ limit: pageLimit, account_id: id, before });
      return [page.entries, page.next_before];
    });
    if (json) return [{ entries }, ''];
    const ids = entries.map((entry) => entry.account_id);
    const nameOf = await accountNames(
      (query) => admin.listAccounts(query),
      ids,
      (removed) => removed,
    );
    return [{ entries }, auditTable(entries, nameOf, actions.terminalWidth)];
  });
}

function auditTable(
  entries: readonly Entry[],
  nameOf: (accountId: string) => string,
  width: number | undefined,
): string {
  if (entries.length === 0) return 'Nothing is on record.\n';
  const detailOf = ({ detail }: Entry) => (Object.keys(detail).length === 0 ? null : JSON.stringify(detail));
  const accountOf = ({ account_id: id }: Entry) => id && nameOf(id);
  const columns: FittingColumn<Entry>[] = [
    { heading: 'at', cell: ({ at }) => at, brief: ({ at }) => at.slice(0, 16) },
    { heading: 'actor', cell: ({ actor }) => actor, leftOut: 1 },
    { heading: 'action', cell: ({ action }) => action },
    { heading: 'account', cell: accountOf, brief: (entry) => cutTo(accountOf(entry) ?? '', 20) },
    {
      heading: 'detail',
      cell: detailOf,
      brief: (entry) => cutTo(detailOf(entry) ?? '', Math.max(20, (width ?? 0) - 80)),
    },
  ];
  return formatToFit(entries, columns, width);
}

const marks = { ok: 'ok', problem: 'PROBLEM', skipped: '-' } as const;

export function addDoctor(parent: Command, actions: CliActions): void {
  const command = parent
    .command('doctor')
    .description('look at everything a working installation needs, whether or not the services run')
    .option('--answer', 'also ask the gateway for a short answer, which an account pays for')
    .option('--json', 'print {"ok": …, "checks": [...]}')
    .addHelpText(
      'after',
      `
Exit code 0 when all is well, 1 when something has to be done.

Example:
  warp2api doctor --answer`,
    );
  answer(command, actions, async ({ answer: wantsAnswer = false }: { answer?: boolean }) => {
    const findings = await actions.examine({ wantsAnswer });
    const count = findings.filter(({ result }) => result === 'problem').length;
    const lines = findings.map(
      ({ name, result, message }) => [`${marks[result].padEnd(8)} ${name}`, message] as const,
    );
    return [
      { ok: count === 0, checks: findings },
      formatPairs(lines),
      count > 0 && (count === 1 ? '1 thing has to be done.' : `${count} things have to be done.`),
    ];
  });
}
