/** How an answer is delivered: as it is made, held until it is whole, or streamed and continued elsewhere after a break. */
export const deliveries = ['stream', 'whole', 'continue'] as const;
export type Delivery = (typeof deliveries)[number];

/** Where a value stands in the configuration file. */
export type ConfigPath = readonly (string | number)[];

/** Where a request of a configured route may go. */
export interface ConfiguredCandidate {
  readonly provider: string;
  /** `*`: the name that was asked for. */
  readonly model: string;
  /** Lower tiers are tried first; those of one tier share by weight. */
  readonly tier: number;
  readonly weight: number;
  /** Requests it takes; absent: all. */
  readonly when: {
    readonly tools?: boolean | undefined;
    readonly images?: boolean | undefined;
    /** Estimated tokens of the request. */
    readonly maxContext?: number | undefined;
  };
  /** Its accounts carry one of these; empty: any account. */
  readonly labels: readonly string[];
  readonly firstContentTimeoutMs?: number | undefined;
}

/** A model name of the configuration file, or a pattern with `*`, and where it leads. */
export interface ConfiguredRoute {
  readonly model: string;
  readonly candidates: readonly ConfiguredCandidate[];
  readonly delivery: Delivery;
  /** How long a candidate may take until its first content, where another follows it. */
  readonly firstContentTimeoutMs?: number | undefined;
  /** `auto`: the gateway asks the upstream to cache prompts where the client did not. */
  readonly promptCache: 'auto' | 'off';
}

/** What the configuration file says of model names. */
export interface RoutingSettings {
  /** Other names of models: an exact name, or a pattern ending in `*`. */
  readonly aliases: Readonly<Record<string, string>>;
  readonly routes: readonly ConfiguredRoute[];
  /** What the owner says of models, by name or pattern. */
  readonly models: Readonly<Record<string, ModelProfile>>;
}

/** How the configuration file stands, as `/health` shows it. */
export interface ConfigStanding {
  readonly status: 'ok' | 'error';
  /** What is wrong with the file as it is now: what it said before stays in force. */
  readonly error?: string;
  /** When what is in force was read. */
  readonly loaded_at: string;
}

/** US dollars for a million tokens. */
interface ModelPrices {
  readonly input: number;
  readonly output: number;
  /** Absent: as other input. */
  readonly cacheRead?: number | undefined;
  readonly cacheWrite?: number | undefined;
}

export interface ModelPrice extends ModelPrices {
  /** Of requests with more input tokens. */
  readonly above?: (ModelPrices & { readonly tokens: number }) | undefined;
}

interface WrittenPrices {
  readonly input: number;
  readonly output: number;
  readonly cache_read?: number | undefined;
  readonly cache_write?: number | undefined;
}

/** A price as files have it. */
export interface WrittenPrice extends WrittenPrices {
  readonly above?: (WrittenPrices & { readonly tokens: number }) | undefined;
}

export function priceFrom({ above, ...price }: WrittenPrice): ModelPrice {
  return { ...pricesFrom(price), ...(above && { above: { ...pricesFrom(above), tokens: above.tokens } }) };
}

function pricesFrom({ input, output, cache_read, cache_write }: WrittenPrices): ModelPrices {
  return { input, output, cacheRead: cache_read, cacheWrite: cache_write };
}

/** What is known of a model; what is absent is not known. */
export interface ModelProfile {
  /** Tokens. */
  readonly contextWindow?: number | undefined;
  readonly maxOutput?: number | undefined;
  /** It goes on with an answer that was begun for it. */
  readonly prefill?: boolean | undefined;
  readonly tools?: boolean | undefined;
  readonly vision?: boolean | undefined;
  readonly reasoning?: boolean | undefined;
  readonly structuredOutput?: boolean | undefined;
  readonly price?: ModelPrice | undefined;
}
