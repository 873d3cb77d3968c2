import { z } from 'zod';
import {
  type ConfigPath,
  type ConfiguredRoute,
  deliveries,
  type ModelProfile,
  priceFrom,
} from './core/configured-routes.ts';
import { nearNames } from './core/near-names.ts';
import { providerNamePattern } from './core/provider.ts';

/** `routes:` of the configuration file: where the names of models lead. */

const name = z.string().min(1).max(256);
const seconds = z.number().min(0.1).max(3_600);

const candidate = z.strictObject({
  provider: z.string().regex(providerNamePattern, 'must be a provider name such as "openai"').meta({
    description: 'A provider of this file, or a built-in one.',
  }),
  model: name
    .refine(
      (model) => model === '*' || !model.includes('*'),
      'must be a name, or "*" alone for the name that was asked for',
    )
    .meta({ description: 'Its name there; "*": the name that was asked for.' }),
  tier: z.int().min(0).max(1_000).optional().meta({
    description: 'Lower tiers are tried first. Without one, a candidate follows the one before it.',
  }),
  weight: z.number().positive().max(1_000_000).optional().meta({
    description: 'How often, of the candidates of one tier, this one comes first.',
  }),
  when: z
    .strictObject({
      tools: z.boolean().optional().meta({ description: 'Only requests with tools, or only those without.' }),
      images: z
        .boolean()
        .optional()
        .meta({ description: 'Only requests with images, or only those without.' }),
      max_context: z.int().positive().optional().meta({
        description: 'Only requests of no more tokens, estimated by their length.',
      }),
    })
    .default({}),
  labels: z.array(z.string().min(1).max(200)).max(50).default([]).meta({
    description: 'Only accounts with one of these labels.',
  }),
  first_content_timeout_seconds: seconds.optional().meta({
    description: 'How long this candidate may take until its first content, where another follows.',
  }),
});

const route = z.strictObject({
  model: name.meta({ description: 'The name that clients ask for; * stands for any characters.' }),
  candidates: z.array(candidate).min(1, 'needs at least one candidate').max(50),
  delivery: z.enum(deliveries).default('stream').meta({
    description: 'What a client sees of an answer that breaks off; the header x-warp2api-delivery wins.',
  }),
  first_content_timeout_seconds: seconds.optional().meta({
    description: 'How long each candidate may take until its first content, where another follows.',
  }),
  prompt_cache: z.enum(['auto', 'off']).default('auto').meta({
    description: 'auto: the gateway asks the upstream to cache prompts where the client did not.',
  }),
});

export const routesSchema = z.array(route).max(1_000).default([]);

const money = z.number().min(0).max(1_000_000);
const tokens = z.int().positive();
const prices = {
  input: money,
  output: money,
  cache_read: money.optional(),
  cache_write: money.optional(),
};

/** `models:`, by name or pattern: what is known of a model, before what the catalogue says. */
export const modelsSchema = z
  .record(
    name,
    z.strictObject({
      context_window: tokens.optional().meta({ description: 'Tokens.' }),
      max_output: tokens.optional().meta({
        description: 'Tokens. No translated request asks for a longer answer.',
      }),
      prefill: z.boolean().optional().meta({
        description: 'It goes on with an answer that was begun for it.',
      }),
      tools: z.boolean().optional(),
      vision: z.boolean().optional(),
      reasoning: z.boolean().optional(),
      structured_output: z.boolean().optional(),
      price: z
        .strictObject({
          ...prices,
          above: z
            .strictObject({ tokens, ...prices })
            .optional()
            .meta({
              description: 'Of requests with more input tokens.',
            }),
        })
        .optional()
        .meta({ description: 'US dollars for a million tokens.' }),
    }),
  )
  .default({});

export function resolveModels(given: z.output<typeof modelsSchema>): Record<string, ModelProfile> {
  return Object.fromEntries(
    Object.entries(given).map(
      ([pattern, { context_window, max_output, structured_output, price, ...abilities }]) => {
        const facts = {
          contextWindow: context_window,
          maxOutput: max_output,
          structuredOutput: structured_output,
          ...abilities,
          price: price && priceFrom(price),
        };
        // What is not said of a model is left to the catalogue.
        const said = Object.entries(facts).filter(([, value]) => value !== undefined);
        return [pattern, Object.fromEntries(said) as ModelProfile];
      },
    ),
  );
}

/** `answering`: the providers that take turns. */
export function resolveRoutes(
  given: z.output<typeof routesSchema>,
  answering: ReadonlySet<string>,
  report: (path: ConfigPath, problem: string) => void,
): ConfiguredRoute[] {
  const taken = new Set<string>();
  return given.map((one, index) => {
    const place = ['routes', index];
    if (taken.has(one.model)) report([...place, 'model'], `another route is for "${one.model}" already`);
    taken.add(one.model);
    const [front] = one.model.split('/', 1);
    if (one.model.includes('/') && answering.has(front ?? '')) {
      report([...place, 'model'], `a name that begins with "${front}/" always means the provider ${front}`);
    }
    one.candidates.forEach(({ provider }, at) => {
      if (answering.has(provider)) return;
      report(
        [...place, 'candidates', at, 'provider'],
        `there is no provider "${provider}" that takes turns: ${nearWords(provider, answering)}`,
      );
    });
    const tiers = tiersOf(one.candidates);
    return {
      model: one.model,
      candidates: one.candidates.map(({ when, labels, ...candidate }, at) => ({
        provider: candidate.provider,
        model: candidate.model,
        tier: tiers[at] ?? 0,
        weight: candidate.weight ?? 1,
        when: { tools: when.tools, images: when.images, maxContext: when.max_context },
        labels,
        firstContentTimeoutMs: milliseconds(candidate.first_content_timeout_seconds),
      })),
      delivery: one.delivery,
      firstContentTimeoutMs: milliseconds(one.first_content_timeout_seconds),
      promptCache: one.prompt_cache,
    };
  });
}

/** One without a tier follows the one before it; where both have a weight and no tier, they share. */
function tiersOf(candidates: readonly z.output<typeof candidate>[]): number[] {
  const step = 1 / 1_024;
  let tier = 0;
  let isShared = false;
  return candidates.map((one) => {
    const isSharing = one.tier === undefined && one.weight !== undefined;
    if (one.tier !== undefined) tier = one.tier;
    else if (!(isSharing && isShared)) tier += step;
    isShared = isSharing;
    return tier;
  });
}

function nearWords(name: string, known: ReadonlySet<string>): string {
  const [near] = nearNames(name, [...known]);
  if (near !== undefined) return `did you mean "${near}"?`;
  return `add it to providers, or name one of ${[...known].join(', ')}`;
}

function milliseconds(given: number | undefined): number | undefined {
  return given === undefined ? undefined : Math.round(given * 1_000);
}
