import type { Outbound } from '../../core/protocol.ts';
import type { ExchangingProvider, Provider, ProviderAccount } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { createWarpOutbound } from '../../protocols/warp/outbound.ts';
import { checkApiKey, invalidKey } from '../api-key/index.ts';
import type { ProviderContext } from '../definition.ts';
import { createPostForm } from '../tokens.ts';
import { GraphqlClient } from './graphql.ts';
import { listModels, standIns } from './models.ts';
import { createWarpDeviceLogins, createWarpOauth } from './oauth.ts';
import { getQuota } from './quota.ts';
import { isWarpHost } from './warp-host.ts';

export interface WarpContext extends Pick<ProviderContext, 'http' | 'userAgent'> {
  readonly outbound?: Outbound;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface WarpProviderOptions extends WarpContext, Pick<ProviderContext, 'tokenHttp'> {
  /** Scheme, host and an optional path prefix; no trailing slash. */
  readonly serverUrl: string;
  readonly oauth?: WarpOauthSettings;
}

export interface WarpOauthSettings {
  readonly clientId: string | undefined;
  readonly firebaseApiKey: string | undefined;
  readonly identityUrl: string;
  readonly tokenUrl: string;
}

/** What Warp itself and the built-in sandbox, which speaks like it, do not share. */
type WarpServer = Pick<
  ExchangingProvider,
  'name' | 'baseUrl' | 'needsHttp2' | 'normalizeApiKey' | 'fallbackModels'
>;

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
  { now = Date.now, outbound = createWarpOutbound({ now }), ...web }: WarpContext,
): ExchangingProvider {
  const client = new GraphqlClient({ ...web, baseUrl: server.baseUrl, authHeaders, now });
  return {
    ...server,
    outbound,
    authHeaders,
    listModels: (account, signal) => listModels(client, account, signal),
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
