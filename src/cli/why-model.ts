import { type ExplainedTurn, explainedTurn } from '../core/explained-turn.ts';
import { plainLine } from '../lib/shown-text.ts';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs } from './table.ts';

/** A request as the options describe it. */
export interface AskedModel {
  readonly model: string;
  readonly dialect?: string;
  readonly tools?: true;
  readonly images?: true;
  readonly tokens?: number;
  readonly effort?: string;
  readonly key?: string;
  readonly labels?: readonly string[];
}

/** Which account would answer, without a turn. */
export async function explainModel(
  actions: CliActions,
  asked: AskedModel,
  { gateway, json }: { readonly gateway?: string; readonly json?: true },
): Promise<void> {
  const call = { method: 'POST', body: asked } as const;
  const found = explainedTurn.parse(await actions.askGateway('/api/models/explain', gateway, call));
  actions.write(json ? formatJson(found) : described(found));
}

function described({ model, dialect, way, answers, error, candidates, ...found }: ExplainedTurn): string {
  const pairs = formatPairs([
    ['asked for', `${model} (${dialect})`],
    ['leads there by', wayWords(way)],
    ...answers.map(
      ({ share, account_id: id, ...place }) =>
        [
          'would answer',
          `${placeOf(place)}${id === null ? '' : `, account ${id.slice(0, 12)}`}${share < 1 ? `, ${percent(share)} of turns` : ''}`,
        ] as const,
    ),
    ['the client gets', error ? `${error.status} ${error.code}: ${plainLine(error.message)}` : null],
  ]);
  const looked = candidates.map((one, index) => {
    const counts = Object.entries(one.accounts ?? {}).map(
      ([word, count]) => `${count} ${word.replaceAll('_', ' ')}`,
    );
    const accounts = one.accounts === null ? 'accounts not known' : counts.join(', ') || 'no account matches';
    const share = one.share < 1 ? `, first in ${percent(one.share)} of turns` : '';
    const skipped = one.skipped.map(({ says }) => `     ${plainLine(says)}\n`);
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

function placeOf({ provider, model }: { readonly provider: string; readonly model: string }): string {
  return `${provider}/${model}`;
}

function percent(share: number): string {
  return `${Math.round(1000 * share) / 10} %`;
}
