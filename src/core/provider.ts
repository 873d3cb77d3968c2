import type { Outbound } from './protocol.ts';

/** A model as its provider lists it. */
export interface ProviderModel {
  readonly id: string;
  readonly displayName?: string;
  readonly contextWindow?: number;
  readonly hasVision?: boolean;
}

/** What a provider answers when asked how much is left. Amounts are in the provider's own unit. */
export interface QuotaAnswer {
  readonly isUnlimited: boolean;
  /** Undefined when unlimited. */
  readonly limit?: number;
  readonly used?: number;
  /** What can still be spent: base allowance and unexpired grants. */
  readonly remaining?: number;
  readonly resetAt?: Date;
}

/** One plain HTTP exchange with a provider's side endpoints (models, quota): whole body in, whole body out. */
export type ProviderHttp = (request: {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}) => Promise<{
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}>;

/** Who issues accounts: where it listens, how it authenticates, which models and how much quota it has. */
export interface Provider {
  readonly name: string;
  /** How we speak to it. */
  readonly outbound: Outbound;
  /** Scheme, host and an optional path prefix; no trailing slash. A promise where it starts on first use. */
  baseUrl(): string | Promise<string>;
  /** Headers that carry the bearer on every request. */
  authHeaders(bearer: string): Readonly<Record<string, string>>;
  /** Brings an API key into its canonical form; throws AppError `invalid_request` when it cannot be one. */
  normalizeApiKey(key: string): string;
  /** The models one account may use. Throws AppError on failure. */
  listModels(bearer: string, signal?: AbortSignal): Promise<readonly ProviderModel[]>;
  /** Used when no list could be had yet. */
  readonly fallbackModels: readonly ProviderModel[];
  /** Asks what is left. Throws AppError: `upstream_unauthorized` (401), `upstream_refused` (403), others as they come. */
  getQuota(bearer: string, signal?: AbortSignal): Promise<QuotaAnswer>;
}
