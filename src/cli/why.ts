import type { Command } from 'commander';
import { type ShownTurn, shownTurn } from '../core/shown-turn.ts';
import { plainLine } from '../lib/shown-text.ts';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs, formatTable } from './table.ts';

export function addWhy(parent: Command, actions: CliActions): void {
  parent
    .command('why')
    .description('show why a turn of the gateway went as it did: what was passed over, tried and answered')
    .argument('<request-id>', 'the x-request-id of its answer')
    .option('--gateway <url>', 'the gateway that answered it (default: the one of these settings)')
    .option('--json', 'print what GET /api/turns/{id} answers')
    .addHelpText('after', '\nExamples:\n  warp2api why req-1234\n  warp2api why req-1234 --json')
    .action(async (requestId: string, options: { gateway?: string; json?: true }) => {
      const path = `/api/turns/${encodeURIComponent(requestId)}`;
      const turn = shownTurn.parse(await actions.askGateway(path, options.gateway));
      actions.write(options.json ? formatJson(turn) : describe(turn));
    });
}

function describe(turn: ShownTurn): string {
  const { candidates, attempts, omitted } = turn;
  const last = attempts.at(-1);
  const pairs = formatPairs([
    ['request', turn.request_id],
    ['at', turn.at],
    ['asked for', `${turn.model} (${turn.dialect}${turn.stream ? ', streamed' : ''})`],
    ['client key', turn.key_name ?? turn.client_key],
    ['outcome', outcomeWords(turn)],
    [
      'answered by',
      last?.outcome === 'success' ? `${placeOf(last)}, account ${shortId(last.account_id)}` : null,
    ],
    ['tokens', tokensOf(turn.usage)],
    ['cost', costOf(turn.usage)],
  ]);
  const looked = candidates.map((candidate, index) => {
    const isTried = attempts.some((attempt) => placeOf(attempt) === placeOf(candidate));
    const skipped = candidate.skipped.map(({ says }) => `     ${plainLine(says)}\n`);
    return `  ${index + 1}. ${placeOf(candidate)}: ${isTried ? 'tried' : 'passed over'}\n${skipped.join('')}`;
  });
  const more = omitted > 0 ? `\n${omitted} further notes were not kept.\n` : '';
  return `${pairs}\nCandidates, in order\n${looked.join('') || '  none\n'}${attemptsOf(attempts)}${more}`;
}

function attemptsOf(attempts: ShownTurn['attempts']): string {
  if (attempts.length === 0) return '';
  const table = formatTable(attempts, [
    ['attempt', placeOf],
    ['account', ({ account_id }) => shortId(account_id)],
    [
      'why',
      ({ choice, from }) => `${choiceWords[choice]}, ${from === 'held' ? 'held here' : 'lent by the pool'}`,
    ],
    ['waited', ({ waited_ms }) => `${waited_ms} ms`],
    ['began', ({ started_ms }) => time(started_ms)],
    ['connected', ({ connected_ms }) => time(connected_ms)],
    ['content', ({ first_content_ms }) => time(first_content_ms)],
    ['ended', ({ ended_ms }) => time(ended_ms)],
    ['status', ({ status }) => status],
    ['outcome', ({ outcome }) => outcome ?? 'running'],
  ]);
  const failed = attempts.filter(({ message }) => message !== null);
  const said = failed.map(
    ({ account_id, message, account_status: status }) =>
      `  ${shortId(account_id)}: ${plainLine(message ?? '')}${status === null ? '' : ` The account is ${status} now.`}\n`,
  );
  return `\n${table}${said.join('')}`;
}

const choiceWords = {
  same: 'tried again',
  conversation: 'has the conversation',
  session: 'has the session',
  free: 'free',
} as const;

function outcomeWords({ outcome, message, duration_ms, first_content_ms, finish }: ShownTurn): string {
  const took = duration_ms === null ? '' : ` after ${duration_ms} ms`;
  const first = first_content_ms === null ? '' : `, first content after ${first_content_ms} ms`;
  const end = finish === null ? '' : `, finish ${finish}`;
  return `${outcome}${took}${first}${end}${message === null ? '' : `: ${message}`}`;
}

function tokensOf(usage: ShownTurn['usage']): string | null {
  if (!usage) return null;
  const cached = usage.cached_input_tokens ? ` (${usage.cached_input_tokens} from a cache)` : '';
  const reasoning = usage.reasoning_tokens ? ` (${usage.reasoning_tokens} of reasoning)` : '';
  const estimated = usage.is_estimated ? ', estimated' : '';
  return `${usage.input_tokens} in${cached}, ${usage.output_tokens} out${reasoning}${estimated}`;
}

function costOf(usage: ShownTurn['usage']): string | null {
  if (!usage) return null;
  const { credits, cost_cents: cents } = usage;
  const parts = [
    ...(credits === null ? [] : [`${credits} credits`]),
    ...(cents === null ? [] : [`${cents} cents`]),
  ];
  return parts.join(', ') || 'unknown';
}

function placeOf({ provider, model }: { readonly provider: string; readonly model: string }): string {
  return `${provider}/${model}`;
}

const shortId = (accountId: string): string => accountId.slice(0, 12);
const time = (ms: number | null): string | null => (ms === null ? null : `${ms} ms`);
