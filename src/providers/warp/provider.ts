import type { Outbound } from '../../core/protocol.ts';
import type {
  ExchangingProvider,
  Provider,
  ProviderAccount,
  ProviderHttp,
  ProviderModel,
} from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { createWarpOutbound } from '../../protocols/warp/outbound.ts';
import { checkApiKey, invalidKey } from '../api-key/provider.ts';
import { createPostForm } from '../token-http.ts';
import { createWarpDeviceLogins } from './device-login.ts';
import { createGraphqlClient } from './graphql.ts';
import { listModels, standIns } from './models.ts';
import { createWarpOauth } from './oauth.ts';
import { getQuota } from './quota.ts';
import { isWarpHost } from './warp-host.ts';

export interface WarpProviderOptions {
  /** Scheme, host and an optional path prefix; no trailing slash. */
  readonly serverUrl: string;
  readonly http: ProviderHttp;
  /** Our own name and version. */
  readonly userAgent: string;
  readonly outbound?: Outbound;
  readonly oauth?: WarpOauthSettings;
  /** For token endpoints, since `http` may use a connection again. */
  readonly tokenHttp: ProviderHttp;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface WarpOauthSettings {
  readonly clientId: string | undefined;
  readonly firebaseApiKey: string | undefined;
  readonly identityUrl: string;
  readonly tokenUrl: string;
}

/** What Warp itself and the built-in sandbox, which speaks like it, do not share. */
export interface WarpServer {
  readonly name: string;
  baseUrl(): string | Promise<string>;
  readonly needsHttp2: boolean;
  normalizeApiKey(key: string): string;
  readonly fallbackModels: readonly ProviderModel[];
}

export function createWarpProvider(options: WarpProviderOptions): ExchangingProvider {
  const { serverUrl } = options;
  const provider = createProviderOf(
    {
      name: 'warp',
      baseUrl: () => serverUrl,
      needsHttp2: isWarpHost(serverUrl),
      normalizeApiKey: normalizeWarpKey,
      // The one model every account has; all others come from the account's own list.
      fallbackModels: [{ id: 'auto', displayName: 'auto' }],
    },
    options,
  );
  return { ...provider, ...accessOf(options, serverUrl), standIns };
}

/** What can be done with refresh tokens, as far as the operator has configured it. */
function accessOf(
  options: WarpProviderOptions,
  serverUrl: string,
): Pick<Provider, 'tokens' | 'logins' | 'missing'> {
  const { clientId, firebaseApiKey, identityUrl, tokenUrl } = options.oauth ?? {};
  if (firebaseApiKey === undefined || identityUrl === undefined || tokenUrl === undefined) {
    const tokens = "Set WARP_FIREBASE_API_KEY, the web API key of Warp's identity project.";
    const logins = `${tokens} A device login also needs WARP_OAUTH_CLIENT_ID.`;
    return { missing: { tokens, logins: clientId === undefined ? logins : tokens } };
  }
  const postForm = createPostForm(options.tokenHttp, options.userAgent);
  const now = options.now ?? Date.now;
  const oauth = createWarpOauth({ serverUrl, tokenUrl, identityUrl, firebaseApiKey, postForm, now });
  if (clientId === undefined) {
    const logins = 'Set WARP_OAUTH_CLIENT_ID to an OAuth client id that Warp has given you.';
    return { tokens: oauth.tokens, missing: { logins } };
  }
  return {
    tokens: oauth.tokens,
    logins: createWarpDeviceLogins({
      serverUrl,
      clientId,
      exchange: oauth.exchange,
      postForm,
    }),
  };
}

/** The provider behind any server that speaks Warp's protocols. */
export function createProviderOf(
  server: WarpServer,
  options: Omit<WarpProviderOptions, 'serverUrl' | 'tokenHttp'>,
): ExchangingProvider {
  const now = options.now ?? Date.now;
  const client = createGraphqlClient({
    baseUrl: () => server.baseUrl(),
    http: options.http,
    userAgent: options.userAgent,
    authHeaders,
    now,
  });
  return {
    name: server.name,
    outbound: options.outbound ?? createWarpOutbound({ now }),
    baseUrl: () => server.baseUrl(),
    needsHttp2: server.needsHttp2,
    authHeaders,
    normalizeApiKey: (key) => server.normalizeApiKey(key),
    listModels: (account, signal) => listModels(client, account, signal),
    fallbackModels: server.fallbackModels,
    getQuota: (account, signal) => getQuota(client, account, now(), signal),
    hasTeams: true,
  };
}

/** Without a team's header the account's first team is billed. */
function authHeaders({ bearer, teamUid }: ProviderAccount): Record<string, string> {
  return {
    authorization: `Bearer ${bearer}`,
    ...(teamUid !== undefined && { 'x-warp-active-team-uid': teamUid }),
  };
}

/** As checkApiKey, with the `wk-` that every key of Warp begins with put in front if it is missing. */
export function normalizeWarpKey(key: string): string {
  const checked = checkApiKey(key);
  if (checked === 'wk-') throw invalidKey('The API key is only its prefix; paste the whole key.');
  return checked.startsWith('wk-') ? checked : `wk-${checked}`;
}

/** Warp's protocol, with what an answer held that was passed over in the log. */
export function createLoggedOutbound({ now }: Clock, logger: Logger): Outbound {
  return createWarpOutbound({
    now,
    onAnomaly(anomaly, { upstreamRequestId, detail }) {
      // What no version of this program knows yet is of no use to an operator.
      const level = anomaly.startsWith('unknown-') ? 'debug' : 'info';
      logger[level](
        { anomaly, detail, upstream_request_id: upstreamRequestId },
        'an odd event of the upstream',
      );
    },
  });
}
