import type { Capabilities } from './capabilities.ts';
import type { AppError } from './errors.ts';
import type { ImageLimits, Outbound, RelayedRequest, RelayingOutbound, UpstreamHeaders } from './protocol.ts';
import type { TurnEvent, TurnRequest } from './turn.ts';

/** A model as its provider lists it. */
export interface ProviderModel {
  readonly id: string;
  readonly displayName?: string;
  readonly description?: string;
  /** Tokens. */
  readonly contextWindow?: number;
  readonly hasVision?: boolean;
  /** Who made it, such as `anthropic`. */
  readonly vendor?: string;
  /** What models that differ in their effort only have in common. */
  readonly baseName?: string;
  /** How hard it thinks, in the words of the dialects where they fit: `low`, `high`. */
  readonly effort?: string;
  /** How many times the usual price it costs. */
  readonly creditMultiplier?: number;
  /** It makes embeddings, and answers no turns. */
  readonly embeds?: boolean;
  /** The provider's own choice for whoever has none. */
  readonly isDefault?: boolean;
  /** Why the account may not use it now. `isPassing`: by itself it may be usable again at any time. */
  readonly withheld?: { readonly reason: string; readonly isPassing: boolean };
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
  /** The provider's own word on whether a request would be let in now: it may know of overage, or of unpaid bills. */
  readonly isAvailable?: boolean;
  /** Why not, in the provider's word, such as OUT_OF_CREDITS. */
  readonly denialReason?: string;
}

/** One plain HTTP exchange with a provider's side endpoints (models, quota): whole body in, whole body out. */
export type ProviderHttp = (request: {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** A POST that changes nothing there: it may be sent again where a kept connection closed. */
  readonly isRepeatable?: boolean;
}) => Promise<{
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}>;

/** What a token endpoint gave. */
export interface TokenGrant {
  /** What the provider takes as proof of who calls. */
  readonly bearer: string;
  /** How long it lasts from when the answer arrived: whose clock counts is the caller's affair. */
  readonly lifetimeMs: number;
  /** Absent when the endpoint did not hand out another one: the old one stays good. */
  readonly refreshToken?: string;
  /** Where the token says whose it is. */
  readonly email?: string;
}

/**
 * How a question to a token endpoint failed.
 * `invalid_grant`: the refresh token is dead, its owner must log in again. `account_gone`: the provider has closed the
 * account. `refused`: answered, and surely nothing was issued (rate limit, maintenance, a fault of ours). `unsent`: the
 * request surely never left this machine. `unknown`: a token may have been issued that we do not have.
 */
export type TokenFailure = 'invalid_grant' | 'account_gone' | 'refused' | 'unsent' | 'unknown';
/** With these the issuer has surely issued nothing. */
export const nothingIssued: readonly TokenFailure[] = ['unsent', 'refused'];

/** The message says what to do and holds no secret. */
export class TokenError extends Error {
  readonly failure: TokenFailure;
  readonly retryAfterMs: number | undefined;

  constructor(
    failure: TokenFailure,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number } = {},
  ) {
    super(message, options);
    this.name = 'TokenError';
    this.failure = failure;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Turns refresh tokens into bearers. */
export interface TokenIssuer {
  /** The token host is on this machine, so that tests may refresh more often than once an hour. */
  readonly isLoopback: boolean;
  /** One refresh; ends within 15 s. Throws TokenError. Never repeats a request that may have been executed. */
  refresh(refreshToken: string): Promise<TokenGrant>;
}

/** A login that waits for a person (RFC 8628). */
export interface DeviceLogin {
  readonly deviceCode: string;
  readonly userCode: string;
  readonly verificationUri: string;
  readonly verificationUriComplete?: string;
  readonly expiresInMs: number;
  readonly intervalMs: number;
}

export type DevicePoll =
  | { readonly result: 'pending' | 'slow_down' | 'denied' | 'expired' }
  | { readonly result: 'granted'; readonly grant: TokenGrant & { readonly refreshToken: string } };

/** Logs a person in on a second device. Both calls throw TokenError. */
export interface DeviceLogins {
  start(): Promise<DeviceLogin>;
  poll(deviceCode: string): Promise<DevicePoll>;
}

/** A provider's own API by which an owner's admin key makes and deletes API keys. Throws AppError. */
export interface KeyIssuer {
  /** `name` shows in the provider's console. `handle` names the key to `revoke`; it is no secret. */
  issue(name: string, signal?: AbortSignal): Promise<{ readonly apiKey: string; readonly handle: string }>;
  /** Done as well when the key is gone already. */
  revoke(handle: string): Promise<void>;
  /** The handle of the key with this name, for one whose answer never came; null when there is none. */
  find(name: string): Promise<string | null>;
}

/** What a provider needs to know of an account. */
export interface ProviderAccount {
  readonly bearer: string;
  /** The team that pays; undefined leaves the choice to the provider. Only where the provider `hasTeams`. */
  readonly teamUid?: string | undefined;
}

/** What a provider may be called. */
export const providerNamePattern = /^[a-z][a-z0-9-]{0,31}$/;

/** Who issues accounts, as the pool sees it: what their credentials are and how much is left. */
export interface Provider {
  readonly name: string;
  /** Brings an API key into its canonical form; throws AppError `invalid_request` when it cannot be one. */
  normalizeApiKey(key: string): string;
  /**
   * Asks what is left; an answer without figures proves the credential all the same.
   * Throws AppError: `upstream_unauthorized` (401), `upstream_refused` (403), others as they come.
   */
  getQuota(account: ProviderAccount, signal?: AbortSignal): Promise<QuotaAnswer>;
  /** The built-in one: its accounts are lent while the pool has no other. */
  readonly isTrial?: true;
  /** An account needs no key: its bearer is empty then, and none is sent. */
  readonly takesNoKey?: true;
  /** An account may belong to several teams, and a request says which of them is billed. */
  readonly hasTeams?: true;
  /** Absent where accounts have API keys only. */
  readonly tokens?: TokenIssuer;
  /** Absent where nobody can log in from here, or the operator has given no client id. */
  readonly logins?: DeviceLogins;
  /** What the operator has to set for what is absent; undefined where it cannot be had at all. */
  readonly missing?: { readonly tokens?: string; readonly logins?: string };
}

interface ModelProvider extends Provider {
  /** The models one account may use. Throws AppError on failure. */
  listModels(account: ProviderAccount, signal?: AbortSignal): Promise<readonly ProviderModel[]>;
  /** Where models natively do less than their protocol has fields for. */
  capabilitiesOf?(model: string): Capabilities;
  /** Used when no list could be had yet. */
  readonly fallbackModels: readonly ProviderModel[];
  /** Names, or patterns ending in `*`, that tools have built in and no account lists, and the model they get instead. */
  readonly standIns?: Readonly<Record<string, string>>;
  /** A plain name finds it by its list although another provider comes first. */
  readonly isFoundByList?: true;
  /** What answers of the OpenAI dialect say as their `system_fingerprint`. */
  readonly systemFingerprint?: string;
}

/** A provider that answers a turn within one HTTP exchange. */
export interface ExchangingProvider extends ModelProvider {
  /** How we speak to it: turns of other dialects are translated to this one. */
  readonly outbound: Outbound;
  /** Further protocols it speaks: a turn of such a dialect is relayed, and no other is translated to it. */
  readonly furtherOutbounds?: readonly Outbound[];
  /** Scheme, host and an optional path prefix; no trailing slash. A promise where it starts on first use. */
  baseUrl(): string | Promise<string>;
  /** Turns fail where the server does not speak HTTP/2: it would refuse them in other words. */
  readonly needsHttp2?: boolean;
  /** Headers that say on every request whose it is: the bearer, and the team that pays. */
  authHeaders(account: ProviderAccount): Readonly<Record<string, string>>;
  readonly caller?: undefined;
}

/** A provider with another way to carry a turn. */
export interface CallingProvider extends ModelProvider {
  readonly caller: TurnCaller;
  readonly outbound?: undefined;
  readonly furtherOutbounds?: undefined;
}

/** A provider whose models the gateway offers. */
export type UpstreamProvider = ExchangingProvider | CallingProvider;

/** What it does natively with this model. */
export function capabilitiesOf(provider: UpstreamProvider, model: string): Capabilities {
  return provider.capabilitiesOf?.(model) ?? (provider.caller ?? provider.outbound).capabilities;
}

/** The protocol in which the provider takes requests of this dialect as they are; undefined where it speaks none. */
export function relayingOutbound(
  { outbound, furtherOutbounds = [] }: UpstreamProvider,
  { dialect }: Pick<RelayedRequest, 'dialect'>,
): RelayingOutbound | undefined {
  const relays = (candidate: Outbound): candidate is RelayingOutbound => candidate.relay?.dialect === dialect;
  if (!outbound || relays(outbound)) return outbound;
  return furtherOutbounds.find(relays);
}

export function isUpstream(provider: Provider): provider is UpstreamProvider {
  return 'listModels' in provider;
}

/** Those that the gateway sends turns of real accounts to. */
export function answering(providers: Iterable<Provider>): UpstreamProvider[] {
  return [...providers].filter(isUpstream).filter(({ isTrial }) => !isTrial);
}

export interface UpstreamTimeouts {
  /** From the request to the first event of the answer. */
  readonly firstEventMs: number;
  /** Between two events. */
  readonly idleMs: number;
}

/** A turn under way at an upstream. */
export interface RunningCall {
  /** False while the upstream has surely not begun to work on the request: it never came there, or was refused. */
  readonly isTaken: boolean;
  resume(): void;
  /** Ends the call from our side; `error` becomes its terminal event. */
  abort(error: AppError): void;
  /** Ends the call silently: the consumer has all it wants. */
  discard(): void;
  /** To be called now and then with the call's own time: ends a call whose upstream has been silent for too long. */
  checkTimeouts(now: number): void;
}

/** Who hears of a running call. */
export interface CallListener {
  /**
   * Every batch of events of one read, in order. The last batch of a call ends with a `finish` or an `error`, and
   * exactly one batch does. Returning false asks for a pause until `resume`. Must not throw.
   */
  onEvents(events: readonly TurnEvent[]): boolean;
  /** A connection to the upstream stands, and the request is on its way. */
  onConnected?(): void;
  /** The head of the upstream's answer, where a turn is one exchange. */
  onHead?(status: number, headers: UpstreamHeaders): void;
  /** Where a person can watch the answer being made. Before the first event, at most twice. */
  onRunUrl?(url: string): void;
  /** The upstream is done with: nothing is left to watch over. */
  onClosed(): void;
}

export interface TurnCall {
  /** With the upstream's own model name. */
  readonly request: TurnRequest;
  readonly account: ProviderAccount;
  readonly timeouts: UpstreamTimeouts;
  /** Milliseconds in which the upstream could be heard; silence is measured by them. */
  readonly now: () => number;
  readonly listener: CallListener;
}

/** Carries turns over an API where a turn is more than one HTTP exchange. Calls nobody back before `start` returns. */
export interface TurnCaller {
  /** Throws AppError `invalid_request` naming the parameter when the upstream cannot carry the request. */
  start(call: TurnCall): RunningCall;
  readonly capabilities: Capabilities;
  readonly images: ImageLimits;
  /** Waits, for some seconds at most, until what was ended here has ended there too. */
  close(): Promise<void>;
}
