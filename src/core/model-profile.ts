/** US dollars for a million tokens. */
export interface ModelPrices {
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
