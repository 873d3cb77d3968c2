import type {
  ConfiguredCandidate,
  ConfiguredRoute,
  ModelPrice,
  ModelProfile,
} from '../../core/configured-routes.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import type { ShownConditions, ShownModel, ShownRoute } from '../../core/shown-models.ts';
import type { FactSource } from './catalogue.ts';
import { matches } from './model-choice.ts';
import type { ModelList } from './model-lists.ts';

/** What of a provider's accounts is known here. */
interface Standing {
  readonly counts: Readonly<Record<string, number>>;
  /** Accounts whose limit for a model is used up. */
  spentFor(model: string): ReadonlySet<string>;
  /** Open ones that their owner keeps for these models. */
  readonly limited: readonly { readonly account_id: string; readonly models: readonly string[] | null }[];
}

/** One row of the table of models. */
export function shownModel(
  name: string,
  provider: UpstreamProvider,
  listed: ProviderModel,
  list: ModelList,
  { profile, from }: { readonly profile: ModelProfile; readonly from: FactSource },
  standing: Standing,
): Omit<ShownModel, 'aliases' | 'routes'> {
  const { id } = listed;
  const kept = standing.limited.filter(({ models }) => models?.includes(id) === false);
  const without = new Set([...(list.barred.get(id) ?? []), ...kept.map((one) => one.account_id)]);
  const spent = [...standing.spentFor(id)].filter((account) => !without.has(account));
  const { open = 0, open_for_models: limited = 0 } = standing.counts;
  return {
    name,
    provider: provider.name,
    model: id,
    display_name: listed.displayName ?? null,
    is_proven: list.isProven,
    accounts: {
      open: Math.max(0, open + limited - without.size - spent.length),
      without: without.size,
      spent: spent.length,
    },
    context_window: profile.contextWindow ?? null,
    context_window_from: from.contextWindow ?? null,
    max_output: profile.maxOutput ?? null,
    price: shownPrice(profile.price),
    price_from: from.price ?? null,
    credit_multiplier: listed.creditMultiplier ?? null,
    effort: listed.effort ?? null,
    abilities: {
      tools: profile.tools ?? null,
      vision: profile.vision ?? null,
      reasoning: profile.reasoning ?? null,
      structured_output: profile.structuredOutput ?? null,
      prefill: profile.prefill ?? null,
    },
  };
}

function shownPrice(price: ModelPrice | undefined): ShownModel['price'] {
  if (!price) return null;
  const { input, output, cacheRead, cacheWrite } = price;
  return { input, output, cache_read: cacheRead ?? null, cache_write: cacheWrite ?? null };
}

/** By which names of the configuration file a model may be asked for. Thousands of names are gone through once. */
export class NamesOfModels {
  readonly #aliases: ReadonlyMap<string, readonly { readonly name: string }[]>;
  readonly #routes: ReadonlyMap<string, readonly { readonly pattern: string }[]>;
  /** Candidates that stand for any model that the route's pattern fits. */
  readonly #open: readonly { readonly provider: string; readonly pattern: string }[];

  /** `aliases`: the names with the place, `provider/model`, that each leads to. */
  constructor(
    routes: readonly ConfiguredRoute[],
    aliases: readonly { readonly name: string; readonly place: string }[],
  ) {
    const all = routes.flatMap(({ model: pattern, candidates }) =>
      candidates.map(({ provider, model }) => ({ provider, model, pattern })),
    );
    this.#aliases = Map.groupBy(aliases, ({ place }) => place);
    this.#routes = Map.groupBy(all, ({ provider, model }) => `${provider}/${model}`);
    this.#open = all.filter(({ model }) => model === '*');
  }

  of(provider: string, model: string): Pick<ShownModel, 'aliases' | 'routes'> {
    const place = `${provider}/${model}`;
    const fitting = this.#open.filter((one) => one.provider === provider && matches(one.pattern, model));
    const routes = [...(this.#routes.get(place) ?? []), ...fitting].map(({ pattern }) => pattern);
    return {
      aliases: (this.#aliases.get(place) ?? []).map(({ name }) => name),
      routes: [...new Set(routes)],
    };
  }
}

export function shownConditionsOf(when: ConfiguredCandidate['when'] | undefined): ShownConditions {
  const { tools = null, images = null, maxContext = null } = when ?? {};
  return { tools, images, max_context: maxContext };
}

/** One that follows from the order of the file lies between whole ones, and means nothing to a reader. */
export function shownTierOf(tier: number | undefined): number | null {
  return Number.isInteger(tier) ? (tier ?? null) : null;
}

export function shownRoute(route: ConfiguredRoute): ShownRoute {
  const weightOf = (tier: number): number =>
    route.candidates.reduce((sum, one) => (one.tier === tier ? sum + one.weight : sum), 0);
  const tiers = [...new Set(route.candidates.map(({ tier }) => tier))].sort((one, other) => one - other);
  return {
    model: route.model,
    candidates: route.candidates.map(
      ({ provider, model, tier, weight, when, labels, firstContentTimeoutMs }) => ({
        provider,
        model,
        tier: shownTierOf(tier),
        rank: tiers.indexOf(tier) + 1,
        weight,
        share: weight / weightOf(tier),
        when: shownConditionsOf(when),
        labels: [...labels],
        first_content_timeout_ms: firstContentTimeoutMs ?? null,
      }),
    ),
    delivery: route.delivery,
    first_content_timeout_ms: route.firstContentTimeoutMs ?? null,
    prompt_cache: route.promptCache,
  };
}
