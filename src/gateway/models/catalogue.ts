import { readFileSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import {
  type ModelPrice,
  type ModelProfile,
  priceFrom,
  type RoutingSettings,
  type WrittenPrice,
} from '../../core/configured-routes.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import type { Usage } from '../../core/turn.ts';
import { factsOf } from '../../protocols/anthropic-messages/claude-models.ts';
import { bySpecificity, matches } from './model-choice.ts';

/** What the file of the catalogue says of a model. `scripts/catalogue.ts` writes it. */
interface Entry {
  readonly context_window?: number;
  readonly max_output?: number;
  /** What it can do, word by word. */
  readonly can: string;
  readonly price?: WrittenPrice;
}
interface CatalogueFile {
  readonly providers: Readonly<Record<string, Readonly<Record<string, Entry>>>>;
}

const mostFound = 2_000;

let file: CatalogueFile | undefined;

/** Read when a model is first looked for. */
function catalogue(): CatalogueFile {
  file ??= JSON.parse(readFileSync(new URL('./catalogue.json', import.meta.url), 'utf8')) as CatalogueFile;
  return file;
}

/** What is known of models: what the owner says counts before what the provider lists, and that before the catalogue. */
export class Catalogue {
  readonly #own: readonly (readonly [pattern: string, facts: ModelProfile])[];
  readonly #found = new LRUCache<string, { readonly own: ModelProfile; readonly filed: ModelProfile }>({
    max: mostFound,
  });

  constructor(own: RoutingSettings['models']) {
    this.#own = Object.entries(own).toSorted(([one], [other]) => bySpecificity(one, other));
  }

  profileOf(provider: UpstreamProvider, model: string, listed?: ProviderModel): ModelProfile {
    const { own, filed } = this.#find(provider, model);
    return { ...filed, ...toldOf(listed), ...own };
  }

  /** What a model puts out at most, as its owner says: the other figures may be older than the model. */
  ownMaxOutput(provider: UpstreamProvider, model: string): number | undefined {
    return this.#find(provider, model).own.maxOutput;
  }

  /** The same as `profileOf`, and where each fact comes from. */
  factsOf(
    provider: UpstreamProvider,
    model: string,
    listed: ProviderModel,
  ): { readonly profile: ModelProfile; readonly from: FactSource } {
    const { own, filed } = this.#find(provider, model);
    const told = toldOf(listed);
    const sourcesOf = (facts: ModelProfile, source: string) =>
      Object.fromEntries(Object.keys(facts).map((fact) => [fact, source]));
    return {
      profile: { ...filed, ...told, ...own },
      from: { ...sourcesOf(filed, 'catalogue'), ...sourcesOf(told, 'provider'), ...sourcesOf(own, 'own') },
    };
  }

  #find(provider: UpstreamProvider, model: string) {
    const name = `${provider.name}/${model}`;
    let found = this.#found.get(name);
    if (!found) {
      const fitting = this.#own.filter(([pattern]) => matches(pattern, name) || matches(pattern, model));
      const own = Object.assign({}, ...fitting.toReversed().map(([, facts]) => facts)) as ModelProfile;
      found = { own, filed: filed(provider, model) };
      this.#found.set(name, found);
    }
    return found;
  }
}

function toldOf(listed: ProviderModel | undefined): ModelProfile {
  return {
    ...(listed?.contextWindow && { contextWindow: listed.contextWindow }),
    ...(listed?.hasVision !== undefined && { vision: listed.hasVision }),
  };
}

/** Which of the three said a fact. */
export type FactSource = { readonly [Fact in keyof ModelProfile]?: 'own' | 'provider' | 'catalogue' };

const date = /-(\d{8}|\d{4}-\d{2}-\d{2})$/;

function filed(provider: UpstreamProvider, model: string): ModelProfile {
  // A vendor's deployments have names of their owners, which are often those of the models.
  const vendor = provider.name === 'azure-openai' ? 'openai' : provider.name;
  const { providers } = catalogue();
  const models = Object.hasOwn(providers, vendor) ? providers[vendor] : undefined;
  const id = [model, model.replace(date, '')].find((one) => models && Object.hasOwn(models, one));
  const entry = id === undefined ? undefined : models?.[id];
  const speaksMessages = provider.outbound?.relay?.dialect === 'messages';
  const takesPrefill = speaksMessages ? factsOf(model).takesPrefill : undefined;
  const prefill = takesPrefill === undefined ? {} : { prefill: takesPrefill };
  if (!entry) return prefill;
  const can = new Set(entry.can.split(' '));
  return {
    ...prefill,
    ...(entry.context_window && { contextWindow: entry.context_window }),
    ...(entry.max_output && { maxOutput: entry.max_output }),
    tools: can.has('tools'),
    vision: can.has('vision'),
    reasoning: can.has('reasoning'),
    structuredOutput: can.has('structured_output'),
    ...(entry.price && { price: priceFrom(entry.price) }),
  };
}

const million = 1_000_000;

/** US dollars; undefined where the price or the usage is not known. What the upstream said itself counts before prices. */
export function costOf(usage: Usage | undefined, price: ModelPrice | undefined): number | undefined {
  if (usage?.costCents !== undefined) return usage.costCents / 100;
  if (!usage || !price) return undefined;
  const { inputTokens, outputTokens, cachedInputTokens = 0, cacheWriteTokens = 0 } = usage;
  const {
    input,
    output,
    cacheRead = input,
    cacheWrite = input,
  } = price.above && inputTokens > price.above.tokens ? price.above : price;
  const fresh = Math.max(0, inputTokens - cachedInputTokens - cacheWriteTokens);
  return (
    (fresh * input + cachedInputTokens * cacheRead + cacheWriteTokens * cacheWrite + outputTokens * output) /
    million
  );
}
