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
