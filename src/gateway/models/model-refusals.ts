import type { ConfiguredRoute } from '../../core/configured-routes.ts';
import { AppError } from '../../core/errors.ts';
import { nearNames } from '../../core/near-names.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import { isFamily } from './model-choice.ts';
import type { ModelList } from './model-lists.ts';
import type { ModelUnion } from './model-union.ts';
import type { RequestTraits } from './request-traits.ts';
import { hindranceOf } from './route-table.ts';

/** The list with its provider in front of each name. */
export function prefixed(provider: UpstreamProvider, { models, withheld }: ModelList) {
  const withPrefix = (model: ProviderModel) => ({ ...model, id: `${provider.name}/${model.id}` });
  return { models: models.map(withPrefix), withheld: withheld.map(withPrefix) };
}

/** The refusal of a name that leads to no model, with names like it, or with the reason why a model is kept back. */
export function modelNotFound(
  name: string,
  { models, withheld }: Pick<ModelUnion, 'models' | 'withheld'>,
  aliases: readonly string[],
): AppError {
  const near = nearNames(name, [
    ...models.map(({ id }) => id),
    ...aliases.filter((alias) => !alias.endsWith('*')),
  ]).map((one) => `"${one}"`);
  const kept =
    withheld.find((model) => model.id === name) ??
    withheld.find((model) => isFamily([model], name, undefined));
  if (kept?.withheld) {
    const hint = near.length === 0 ? '' : ` Near it: ${near.join(', ')}.`;
    const message = `The model "${name}" cannot be used: ${kept.withheld.reason}.${hint}`;
    return new AppError('model_not_found', message, { param: 'model' });
  }
  const hint =
    near.length === 0 ? 'GET /v1/models lists what there is.' : `did you mean ${near.join(' or ')}?`;
  return new AppError('model_not_found', `There is no model "${name}"; ${hint}`, { param: 'model' });
}

/** With STRICT_MODELS a name counts only once some account has listed its models. */
export function modelsUnknown(name: string): AppError {
  return new AppError(
    'model_unavailable',
    `No account could be asked for its models yet, so whether there is a model "${name}" is not known (STRICT_MODELS): try again in a moment; GET /health tells how the pool is doing.`,
    { param: 'model', retryAfterMs: 5_000 },
  );
}

/** No candidate of a configured route takes such a request. */
export function noCandidateTakes(
  name: string,
  { candidates }: ConfiguredRoute,
  traits: RequestTraits,
): AppError {
  const hindrances = new Set(candidates.map((candidate) => hindranceOf(candidate, () => traits)));
  if (hindrances.has('context') && hindrances.size === 1) {
    const message = `The request has about ${traits.tokens} tokens, more than any candidate of "${name}" takes: shorten it.`;
    return new AppError('context_too_long', message);
  }
  const words = {
    tools: traits.hasTools ? 'with tools' : 'without tools',
    images: traits.hasImages ? 'with images' : 'without images',
    context: `of about ${traits.tokens} tokens`,
  };
  const such = [...hindrances].flatMap((one) => (one ? [words[one]] : []));
  const message = `The route "${name}" takes no request ${such.join(', or ')}: choose another model, or change the conditions of its candidates.`;
  return new AppError('invalid_request', message, { param: 'model' });
}
