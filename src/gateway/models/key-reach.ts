import type { ConfiguredRoute } from '../../core/configured-routes.ts';
import { AppError } from '../../core/errors.ts';
import type { ClientKey, ManagedKey } from '../keys/client-key.ts';
import { matches } from './model-choice.ts';
import type { Route } from './route.ts';

/** What a client's key may use; undefined: everything. */
export function reachOf(client: ClientKey | undefined): KeyReach | undefined {
  const { managed } = client ?? {};
  return managed && (managed.models ?? managed.providers ?? managed.labels)
    ? new KeyReach(managed)
    : undefined;
}

/** The models, providers and accounts that a managed key is for. */
export class KeyReach {
  readonly #key: ManagedKey;

  constructor(key: ManagedKey) {
    this.#key = key;
  }

  mayAsk(provider: string): boolean {
    return this.#key.providers?.includes(provider) ?? true;
  }

  /** Whether it may use a model that is called so, at least in one of these ways. `labels`: those that its accounts may have. */
  allows(provider: string, names: readonly string[], labels?: readonly string[]): boolean {
    const { models } = this.#key;
    if (!this.mayAsk(provider) || labels?.length === 0) return false;
    return models === null || names.some((name) => models.some((pattern) => matches(pattern, name)));
  }

  /** Which of these labels an account may have; undefined: it need have none, empty: there is no such account. */
  #labelsOf(labels: readonly string[] | undefined): readonly string[] | undefined {
    const own = this.#key.labels;
    if (own === null) return labels;
    return labels === undefined ? own : labels.filter((label) => own.includes(label));
  }

  /**
   * The route as the key may take it, if it may. `names`: what else than its own name the model goes by: the request's, where the
   * operator has said that it means this model. What stands in for a name that is not known counts by its own name alone.
   */
  narrowed(route: Route, names: readonly string[]): readonly Route[] {
    const provider = route.provider.name;
    const labels = this.#labelsOf(route.labels);
    const isAllowed = this.allows(provider, [route.model, `${provider}/${route.model}`, ...names], labels);
    return isAllowed ? [{ ...route, labels }] : [];
  }

  /** Whether it may use any candidate of a configured route. */
  mayTake({ model: name, candidates }: ConfiguredRoute): boolean {
    return candidates.some(({ provider, model, labels }) => {
      const asked = model === '*' ? name : model;
      const own = this.#labelsOf(labels.length > 0 ? labels : undefined);
      return this.allows(provider, [name, asked, `${provider}/${asked}`], own);
    });
  }

  refusal(name: string): AppError {
    const { name: key, models, providers, labels } = this.#key;
    const parts = [
      ...(models ? [`the models ${models.join(', ')}`] : []),
      ...(providers ? [`the providers ${providers.join(', ')}`] : []),
      ...(labels ? [`accounts labelled ${labels.join(', ')}`] : []),
    ];
    return new AppError(
      'forbidden',
      `The key "${key}" may not use the model "${name}": it is for ${parts.join(' and ')}. GET /v1/models lists what it may use.`,
      { param: 'model' },
    );
  }
}
