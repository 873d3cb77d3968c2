import { AppError } from '../../core/errors.ts';
import { nearNames } from '../../core/near-names.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import type { KeyReach } from './key-reach.ts';
import {
  bareName,
  findAlias,
  hasScenario,
  isFamily,
  isSandboxName,
  matches,
  plainSandboxModel,
} from './model-choice.ts';
import type { ModelList, ModelLists, ModelUnion } from './model-lists.ts';

/** What a name leads to. */
export interface Found {
  readonly provider: UpstreamProvider;
  readonly list: ModelList;
  readonly model: string;
  /** An alias with a plain name means that very model, whatever effort a request asks for. */
  readonly isPinned?: boolean;
  /** The owner has said that the name means this model. */
  readonly isAlias?: boolean;
}

/** Whom a name means, and what it calls the model there. */
interface Address {
  readonly provider: UpstreamProvider;
  readonly model: string;
  /** The name says which provider is meant. */
  readonly isNamed: boolean;
}

export interface ModelNamesOptions {
  /** Plain names go to the first that has accounts; `NAME/model` goes to the one of that name. */
  readonly providers: readonly [UpstreamProvider, ...UpstreamProvider[]];
  readonly sandbox: UpstreamProvider;
  readonly models: Pick<ModelLists, 'get' | 'known' | 'getFresh'>;
  readonly poolWatch: Pick<PoolWatch, 'hasAccounts'>;
  /** STRICT_MODELS: no name is answered by another model unless an alias of the owner says so. */
  readonly isStrict: boolean;
}

/** What the names of models mean at the providers: listed models, aliases, stand-ins. */
export class ModelNames {
  readonly #options: ModelNamesOptions;
  readonly #byName: ReadonlyMap<string, UpstreamProvider>;
  /** Names of the owner's, and what they stand for; replaced when the configuration file is read again. */
  aliases: Readonly<Record<string, string>>;

  constructor(options: ModelNamesOptions, aliases: Readonly<Record<string, string>>) {
    this.#options = options;
    this.#byName = new Map(options.providers.map((provider) => [provider.name, provider]));
    this.aliases = aliases;
  }

  /** Of those that the key may ask. */
  inService(reach?: KeyReach): UpstreamProvider[] {
    return this.#options.providers.filter((provider) => this.#serves(provider, reach));
  }

  firstInService(reach?: KeyReach): UpstreamProvider | undefined {
    return this.#options.providers.find((provider) => this.#serves(provider, reach));
  }

  /** Whether any provider has accounts: mostly the one that the name means has, and no other is looked at. */
  isServed(name: string): boolean {
    const named = this.namedBy(name);
    return (named && this.#serves(named)) === true || this.firstInService() !== undefined;
  }

  #serves({ name }: UpstreamProvider, reach?: KeyReach): boolean {
    return this.#options.poolWatch.hasAccounts(name) === true && reach?.mayAsk(name) !== false;
  }

  /** The name under which a model is listed: without a prefix only where nothing else can be meant. */
  shownName(provider: UpstreamProvider, model: string): string {
    return provider === this.#options.providers[0] ? model : `${provider.name}/${model}`;
  }

  /** The provider that the name says it means. */
  namedBy(name: string): UpstreamProvider | undefined {
    const slash = name.indexOf('/');
    return slash <= 0 ? undefined : this.#byName.get(name.slice(0, slash));
  }

  addressOf(name: string, reach?: KeyReach): Address {
    const { providers } = this.#options;
    const named = this.namedBy(name);
    if (named) return { provider: named, model: name.slice(named.name.length + 1), isNamed: true };
    const first = this.firstInService(reach) ?? providers.find((one) => reach?.mayAsk(one.name) !== false);
    return { provider: first ?? providers[0], model: name, isNamed: false };
  }

  /** A model that a known list has, for whose name nothing else has to be asked; undefined: `lookUp` finds out. */
  listed(name: string, reach?: KeyReach): Found | undefined {
    const { provider, model } = this.addressOf(name, reach);
    const list = this.#options.models.known(provider);
    const isListed = list.isProven && model !== '' && list.models.some(({ id }) => id === model);
    return isListed ? { provider, list, model } : undefined;
  }

  async lookUp(name: string, effort?: string, reach?: KeyReach): Promise<Found> {
    const { models, isStrict } = this.#options;
    const address = this.addressOf(name, reach);
    const { provider, model } = address;
    const known = models.known(provider);
    const list = known.isProven ? known : await models.get(provider);
    if (model !== '' && list.models.some(({ id }) => id === model)) return { provider, list, model };
    const configured = await this.#findConfigured(name, address, list, reach);
    if (configured) return configured;
    const isListed = isFamily(list.models, model, effort);
    const elsewhere = address.isNamed || isListed ? undefined : await this.#findByList(name, reach);
    if (elsewhere) return elsewhere;
    const target = this.modelAt(provider, model, list, effort);
    if (target !== undefined) return { provider, list, model: target };
    const fresh = await models.getFresh(provider);
    const found = this.modelAt(provider, model, fresh, effort);
    if (found !== undefined) return { provider, list: fresh, model: found };
    // Its list need not be whole: variants and deployments of models have names of their own.
    if (address.isNamed && provider.isFoundByList && !isStrict && model !== '')
      return { provider, list: fresh, model };
    if (isStrict && !fresh.isProven && model !== '') throw modelsUnknown(name);
    const advice = this.#adviceOn(name, provider);
    throw modelNotFound(
      name,
      address.isNamed ? prefixed(provider, fresh) : fresh,
      Object.keys(this.aliases),
      advice,
    );
  }

  /** On a name that tools have built in: what its owner can write to have it answered. */
  #adviceOn(name: string, { name: provider }: UpstreamProvider): string {
    const patterns = this.#options.providers.flatMap(({ standIns = {} }) => Object.keys(standIns));
    const builtIn = patterns.find((pattern) => matches(pattern, name));
    if (builtIn === undefined) return '';
    return ` To have names like it answered by a model of yours, put aliases: {"${builtIn}": "${provider}/MODEL"} into warp2api.yaml.`;
  }

  /** What the owner has said that a name stands for which is no model's own. */
  async #findConfigured(
    name: string,
    { provider, isNamed }: Address,
    list: ModelList,
    reach: KeyReach | undefined,
  ): Promise<Found | undefined> {
    const { models } = this.#options;
    const configured = findAlias(this.aliases, name);
    if (configured === undefined) return undefined;
    const isPinned = Object.hasOwn(this.aliases, name);
    const target = this.addressOf(configured, reach);
    // A name that says who is meant keeps to it.
    if (!target.isNamed || (isNamed && target.provider !== provider)) {
      return { provider, list, model: configured, isPinned, isAlias: true };
    }
    const isSame = target.provider === provider;
    const targetList = isSame ? list : await models.get(target.provider);
    return { provider: target.provider, list: targetList, model: target.model, isPinned, isAlias: true };
  }

  /** Another provider than the first that has accounts, which lists the very name. */
  async #findByList(name: string, reach: KeyReach | undefined): Promise<Found | undefined> {
    for (const provider of this.inService(reach).slice(1)) {
      if (!provider.isFoundByList) continue;
      const list = await this.#options.models.get(provider);
      const isListed = list.isProven && list.models.some(({ id }) => id === name);
      if (isListed) return { provider, list, model: name };
    }
    return undefined;
  }

  /** Other providers with accounts that list the very name, as far as their lists are known. */
  othersWith(name: string, first: UpstreamProvider): Found[] {
    const { models } = this.#options;
    if (this.namedBy(name)) return [];
    return this.#options.providers.flatMap((provider) => {
      if (provider === first || !provider.isFoundByList || !this.#serves(provider)) return [];
      const list = models.known(provider);
      return list.models.some(({ id }) => id === name) ? [{ provider, list, model: name }] : [];
    });
  }

  /** What a name stands for at one provider; undefined when it is not known there. */
  modelAt(
    { standIns = {} }: UpstreamProvider,
    name: string,
    { models: known, withheld, isProven }: ModelList,
    effort: string | undefined,
  ): string | undefined {
    // Of a name such as `warp/`.
    if (name === '') return undefined;
    const has = (id: string) => known.some((candidate) => candidate.id === id);
    if (has(name)) return name;
    // A model that is withheld is reported as such, and not replaced by another.
    if (withheld.some(({ id }) => id === name)) return undefined;
    if (isFamily(known, name, effort)) return name;
    if (isFamily(withheld, name, effort) || this.#options.isStrict) return undefined;
    const fallback = findAlias(standIns, name);
    if (fallback === undefined) return isProven ? undefined : name;
    if (has(fallback)) return fallback;
    return (known.find((model) => model.isDefault) ?? known[0])?.id ?? fallback;
  }

  /** Its plain model answers to every other name: people who try the service out have no list yet. */
  async sandboxModelOf(name: string): Promise<string> {
    const { sandbox, models, isStrict } = this.#options;
    const { aliases } = this;
    const names = [bareName(name), bareName(findAlias(aliases, bareName(name)) ?? '')];
    if (!isStrict) return names.find(isSandboxName) ?? plainSandboxModel;
    const list = await models.get(sandbox);
    const known = names.find((candidate) => hasScenario(list.models, candidate));
    if (known !== undefined) return known;
    if (!list.isProven) throw modelsUnknown(name);
    const ofScenarios = list.models.filter(({ id }) => isSandboxName(id));
    const useful = Object.keys(aliases).filter((one) =>
      hasScenario(list.models, bareName(aliases[one] ?? '')),
    );
    throw modelNotFound(name, { models: ofScenarios, withheld: [] }, useful);
  }
}

/** The list with its provider in front of each name. */
function prefixed(provider: UpstreamProvider, { models, withheld }: ModelList) {
  const withPrefix = (model: ProviderModel) => ({ ...model, id: `${provider.name}/${model.id}` });
  return { models: models.map(withPrefix), withheld: withheld.map(withPrefix) };
}

/** The refusal of a name that leads to no model, with names like it, or with the reason why a model is kept back. */
function modelNotFound(
  name: string,
  { models, withheld }: Pick<ModelUnion, 'models' | 'withheld'>,
  aliases: readonly string[],
  advice = '',
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
  return new AppError('model_not_found', `There is no model "${name}"; ${hint}${advice}`, { param: 'model' });
}

/** With STRICT_MODELS a name counts only once some account has listed its models. */
function modelsUnknown(name: string): AppError {
  return new AppError(
    'model_unavailable',
    `No account could be asked for its models yet, so whether there is a model "${name}" is not known (STRICT_MODELS): try again in a moment; GET /health tells how the pool is doing.`,
    { param: 'model', retryAfterMs: 5_000 },
  );
}
