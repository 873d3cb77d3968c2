import { AppError } from '../core/errors.ts';
import { isFamily } from './model-choice.ts';
import type { ModelUnion } from './model-union.ts';

/** The refusal of a name nobody answers to, with names like it, or with the reason why a model is kept back. */
export function modelNotFound(
  name: string,
  { models, withheld }: Pick<ModelUnion, 'models' | 'withheld'>,
  aliases: readonly string[],
): AppError {
  const near = nearest(name, [
    ...models.map(({ id }) => id),
    ...aliases.filter((alias) => !alias.endsWith('*')),
  ]);
  const kept =
    withheld.find((model) => model.id === name) ??
    withheld.find((model) => isFamily([model], name, undefined));
  if (kept?.withheld) {
    const hint = near.length === 0 ? '' : ` Near it: ${near.join(', ')}.`;
    const message = `The model "${name}" cannot be used: ${kept.withheld.reason}.${hint}`;
    return new AppError('model_not_found', message, { param: 'model' });
  }
  const hint = near.length === 0 ? 'GET /v1/models lists what there is' : `did you mean ${near.join(' or ')}`;
  return new AppError('model_not_found', `There is no model "${name}"; ${hint}.`, { param: 'model' });
}

/** Up to three names that share most of their letter pairs with the one asked for. */
function nearest(name: string, known: readonly string[]): string[] {
  const wanted = letterPairs(name);
  return known
    .map((candidate) => {
      const pairs = letterPairs(candidate);
      const shared = [...wanted].filter((pair) => pairs.has(pair)).length;
      return { candidate, score: (2 * shared) / (wanted.size + pairs.size || 1) };
    })
    .filter(({ score }) => score >= 0.5)
    .sort((left, right) => right.score - left.score)
    .slice(0, 3)
    .map(({ candidate }) => `"${candidate}"`);
}

function letterPairs(text: string): Set<string> {
  const lower = text.toLowerCase();
  const pairs = new Set<string>();
  for (let index = 0; index + 1 < lower.length; index += 1) pairs.add(lower.slice(index, index + 2));
  return pairs;
}
