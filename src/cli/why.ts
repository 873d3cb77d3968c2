import { type Command, Option } from 'commander';
import { keylessClient } from '../core/keyless-client.ts';
import { type ExplainedTurn, explainedTurn } from '../core/shown-models.ts';
import { type ShownTurn, shownTurn } from '../core/shown-turn.ts';
import { plainLine } from '../lib/shown-text.ts';
import { accountNames, shortId } from './account/account-names.ts';
import { accountsOf } from './account/gateway-accounts.ts';
import type { CliActions } from './actions.ts';
import { answer, type Shown } from './answers.ts';
import { commaList, UsageError, wholeNumber } from './option-values.ts';
import { fits, formatPairs, formatTable } from './table.ts';

/** All but the first three describe a request. */
interface WhyOptions {
  readonly gateway?: string;
  readonly json?: true;
  readonly model?: string;
  readonly dialect?: string;
  readonly tools?: true;
  readonly images?: true;
  readonly tokens?: number;
  readonly effort?: string;
  readonly key?: string;
  readonly labels?: readonly string[];
}

export function addWhy(parent: Command, actions: CliActions): void {
  const command = parent
    .command('why')
    .description('show why a turn of the gateway went as it did, or which account would answer a model')
    .argument('[request-id]', 'the x-request-id of its answer')
    .option('--model <name>', 'in its place: which account would answer this model, without a turn')
    .addOption(
      new Option('--dialect <name>', 'with --model: the dialect of the client').choices([
        'chat',
        'responses',
        'messages',
        'gemini',
      ]),
    )
    .option('--tools', 'with --model: the request has tools')
    .option('--images', 'with --model: it has images')
    .option('--tokens <n>', 'with --model: about how many tokens it has', wholeNumber(1, 1_000_000))
    .option('--effort <word>', 'with --model: the effort that it asks for')
    .option('--key <name>', 'with --model: the client key that it is sent with, by name or id')
    .option('--labels <a,b>', 'with --model: only accounts with one of these labels', commaList)
    .option('--gateway <url>', 'the gateway (default: the one of these settings)')
    .option('--json', 'print what the gateway answers')
    .addHelpText(
      'after',
      `
Examples:
  warp2api why req-1234
  warp2api why req-1234 --json
  warp2api why --model claude-sonnet-4-5 --dialect messages --tools --tokens 9000`,
    );
  const why = async (requestId: string | undefined, options: WhyOptions): Promise<Shown> => {
    const { gateway, json, model, ...traits } = options;
    if (model !== undefined) {
      if (requestId !== undefined) throw new UsageError('Give a request id or --model, not both.');
      const call = { method: 'POST', body: { model, ...traits } } as const;
      const found = explainedTurn.parse(await actions.askGateway('/api/models/explain', gateway, call));
      if (json) return [found, ''];
      const skipped = found.candidates.flatMap((one) => one.skipped);
      const ids = [...found.answers, ...skipped].map(({ account_id: id }) => id);
      return [
        found,
        describedModel(found, await accountNames(accountsOf(actions, gateway).listAccounts, ids)),
      ];
    }
    if (requestId === undefined) throw new UsageError('Give the id of a request, or --model NAME.');
    const path = `/api/turns/${encodeURIComponent(requestId)}`;
    const turn = shownTurn.parse(await actions.askGateway(path, gateway));
    if (json) return [turn, ''];
    const skipped = turn.candidates.flatMap((one) => one.skipped);
    const ids = [...turn.attempts, ...skipped].map(({ account_id: id }) => id);
    const nameOf = await accountNames(accountsOf(actions, gateway).listAccounts, ids);
    return [turn, describe(turn, nameOf, actions.terminalWidth)];
  };
  answer(command, actions, why);
}

type NameOf = (accountId: string) => string;
type Attempt = ShownTurn['attempts'][number];

function describe(turn: ShownTurn, nameOf: NameOf, width: number | undefined): string {
  const { candidates, attempts, omitted } = turn;
  const last = attempts.at(-1);
  const pairs = formatPairs([
    ['request', turn.request_id],
    ['at', turn.at],
    ['asked for', `${turn.model} (${turn.dialect}${turn.stream ? ', streamed' : ''})`],
    ['client key', turn.key_name ?? (turn.client_key === keylessClient ? 'none' : turn.client_key)],
    ['outcome', outcomeWords(turn)],
    [
      'answered by',
      last?.outcome === 'success' ? `${placeOf(last)}, account ${withId(last.account_id, nameOf)}` : null,
    ],
    ['tokens', tokensOf(turn.usage)],
    ['cost', costOf(turn.usage)],
  ]);
  const looked = candidates.map((candidate, index) => {
    const isTried = attempts.some((attempt) => placeOf(attempt) === placeOf(candidate));
    const skipped = candidate.skipped.map((skip) => `     ${skipWords(skip, nameOf)}\n`);
    return `  ${index + 1}. ${placeOf(candidate)}: ${isTried ? 'tried' : 'passed over'}\n${skipped.join('')}`;
  });
  const more = omitted > 0 ? `\n${omitted} further notes were not kept.\n` : '';
  return `${pairs}\nCandidates, in order\n${looked.join('') || '  none\n'}${attemptsOf(attempts, nameOf, width)}${more}`;
}

function attemptsOf(attempts: readonly Attempt[], nameOf: NameOf, width: number | undefined): string {
  if (attempts.length === 0) return '';
  const table = formatTable(attempts, [
    ['attempt', placeOf],
    ['account', ({ account_id }) => nameOf(account_id)],
    ['why', choiceOf],
    ['waited', ({ waited_ms }) => time(waited_ms)],
    ...times.map(([word, timeOf]) => [word, (one: Attempt) => time(timeOf(one))] as const),
    ['status', ({ status }) => status],
    ['outcome', ({ outcome }) => outcome ?? 'running'],
  ]);
  const shown = width === undefined || fits(table, width) ? table : attemptBlocks(attempts, nameOf);
  const failed = attempts.filter(({ message }) => message !== null);
  const said = failed.map(
    ({ account_id, message, account_status: status }) =>
      `  ${plainLine(nameOf(account_id))}: ${plainLine(message ?? '')}${status === null ? '' : ` The account is ${status} now.`}\n`,
  );
  const shorter = attempts.flatMap(({ account_id, output_limit: limit }) =>
    limit === null
      ? []
      : [
          `  ${plainLine(nameOf(account_id))}: asked for ${limit.tokens} tokens at most, ${limitWords[limit.from]}.\n`,
        ],
  );
  return `\n${shown}${said.join('')}${shorter.join('')}`;
}

const times: readonly (readonly [string, (attempt: Attempt) => number | null])[] = [
  ['began', ({ started_ms }) => started_ms],
  ['connected', ({ connected_ms }) => connected_ms],
  ['content', ({ first_content_ms }) => first_content_ms],
  ['ended', ({ ended_ms }) => ended_ms],
];

/** For a terminal that the table is too wide for. */
function attemptBlocks(attempts: readonly Attempt[], nameOf: NameOf): string {
  const blocks = attempts.map((attempt, index) => {
    const { account_id: id, waited_ms: waited, status, outcome } = attempt;
    const known = times.filter(([, timeOf]) => timeOf(attempt) !== null);
    const said = known.map(([word, timeOf]) => `, ${word} ${timeOf(attempt)} ms`);
    return [
      `  ${index + 1}. ${placeOf(attempt)}: ${outcome ?? 'running'}${status === null ? '' : ` (${status})`}`,
      `     account ${plainLine(nameOf(id))}: ${choiceOf(attempt)}`,
      `     waited ${waited} ms${said.join('')}`,
    ];
  });
  return `Attempts\n${blocks.flat().join('\n')}\n`;
}

function choiceOf({ choice, from }: Attempt): string {
  return `${choiceWords[choice]}, ${from === 'held' ? 'held here' : 'lent by the pool'}`;
}

const limitWords = {
  configured: 'which is `max_output` of the model in the configuration file',
  earlier_refusal: 'since the upstream refused more at an earlier turn',
  refusal: 'since the upstream had refused more',
} as const;

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
    ...(credits === null ? [] : [`${credits} ${credits === 1 ? 'credit' : 'credits'}`]),
    ...(cents === null ? [] : [`${cents} cents`]),
  ];
  return parts.join(', ') || 'unknown';
}

/** The name, and the id, by which the account is found after its name has changed. */
function withId(id: string, nameOf: NameOf): string {
  const name = nameOf(id);
  return name.includes(shortId(id)) ? name : `${name} (${shortId(id)})`;
}

type Skip = ExplainedTurn['candidates'][number]['skipped'][number];

/** The gateway, which knows no names, names an account in it by how its id begins. */
function skipWords({ says, account_id: id }: Skip, nameOf: NameOf): string {
  return plainLine(id === null ? says : says.replace(shortId(id), () => nameOf(id)));
}

function placeOf({ provider, model }: { readonly provider: string; readonly model: string }): string {
  return `${provider}/${model}`;
}

const time = (ms: number | null): string | null => (ms === null ? null : `${ms} ms`);

function describedModel(
  { model, dialect, way, answers, error, candidates, ...found }: ExplainedTurn,
  nameOf: NameOf,
): string {
  const pairs = formatPairs([
    ['asked for', `${model} (${dialect})`],
    ['leads there by', wayWords(way)],
    ...answers.map(
      ({ share, account_id: id, ...place }) =>
        [
          'would answer',
          `${placeOf(place)}${id === null ? '' : `, account ${withId(id, nameOf)}`}${share < 1 ? `, ${percent(share)} of turns` : ''}`,
        ] as const,
    ),
    ...(error ? [['the client gets', `${error.status} ${error.code}: ${error.message}`] as const] : []),
  ]);
  const looked = candidates.map((one, index) => {
    const counts = Object.entries(one.accounts ?? {}).map(
      ([word, count]) => `${count} ${word.replaceAll('_', ' ')}`,
    );
    const accounts = one.accounts === null ? 'accounts not known' : counts.join(', ') || 'no account matches';
    const share = one.share < 1 ? `, first in ${percent(one.share)} of turns` : '';
    const skipped = one.skipped.map((skip) => `     ${skipWords(skip, nameOf)}\n`);
    return `  ${index + 1}. ${placeOf(one)}: ${one.can_serve ? 'can serve' : 'cannot'}${share} (${accounts})\n${skipped.join('')}`;
  });
  const passed = found.passed_over.map((one) => `  -  ${placeOf(one)}: ${plainLine(one.says)}\n`);
  const notes = found.notes.map((note) => `\n${plainLine(note)}\n`);
  return `${pairs}\nCandidates, in order\n${[...looked, ...passed].join('') || '  none\n'}${notes.join('')}`;
}

const wayWordsOf: Readonly<Record<ExplainedTurn['way']['kind'], string>> = {
  route: 'a route of the configuration file',
  alias: 'an alias',
  named: 'the provider in the name',
  listed: 'the list of a provider with accounts',
  effort: 'the effort, which chooses in a family of models',
  stand_in: 'a stand-in, since no list has the name',
  sandbox: 'the built-in sandbox, since the pool has no account',
  none: 'nothing',
};

function wayWords({ kind, route, alias }: ExplainedTurn['way']): string {
  const names = [route === null ? '' : `route ${route}`, alias === null ? '' : `alias for ${alias}`];
  const named = names.filter((name) => name !== '').join(', ');
  return named === '' ? wayWordsOf[kind] : named;
}

function percent(share: number): string {
  return `${Math.round(1000 * share) / 10} %`;
}
