import type { Command } from 'commander';
import type { StatusAnswer } from '../pool-api/schema.ts';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs } from './table.ts';

export function addStatus(parent: Command, actions: CliActions): void {
  parent
    .command('status')
    .description('show how the pool is doing')
    .option('--json', 'print what GET /api/accounts/status answers')
    .addHelpText('after', '\nExamples:\n  warp2api status\n  warp2api status --json')
    .action(async (options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const status = await admin.status();
      actions.write(options.json ? formatJson(status) : describe(status));
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

/** What is left, and how long that lasts. */
function left(forecast: StatusAnswer['forecast']): string {
  const { remaining, unmetered_accounts: unmetered, lasts_hours: hours } = forecast;
  const lasts = hours === null ? '' : `, lasts ${duration(hours)} at the present rate`;
  const others = unmetered === 0 ? '' : `, beside ${unmetered} without known limit`;
  return `${round(remaining)}${lasts}${others}`;
}

function duration(hours: number): string {
  if (hours < 1) return `about ${Math.max(1, Math.round(hours * 60))} min`;
  return hours < 48 ? `about ${Math.round(hours)} h` : `about ${Math.round(hours / 24)} days`;
}

const round = (value: number): number => Math.round(value * 10) / 10;
