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

/** As the environment has them; without the optional ones there are no refresh tokens, or no logins. */
export interface WarpSettings {
  /** Scheme, host and an optional path prefix; no trailing slash. */
  readonly WARP_SERVER_URL: string;
  readonly WARP_OAUTH_CLIENT_ID?: string | undefined;
  readonly WARP_FIREBASE_API_KEY?: string | undefined;
  readonly WARP_IDENTITY_URL: string;
  readonly WARP_TOKEN_URL: string;
}

/** What Warp itself and the built-in sandbox, which speaks like it, do not share. */
type WarpServer = Pick<
  ExchangingProvider,
  'name' | 'baseUrl' | 'needsHttp2' | 'normalizeApiKey' | 'fallbackModels'
>;

export function createWarpProvider(context: ProviderContext, settings: WarpSettings): ExchangingProvider {
  const { WARP_SERVER_URL: serverUrl } = settings;
  const server = {
    name: 'warp',
    baseUrl: () => serverUrl,
    needsHttp2: isWarpHost(serverUrl),
    normalizeApiKey: normalizeWarpKey,
    // The one model every account has; all others come from the account's own list.
    fallbackModels: [{ id: 'auto', displayName: 'auto' }],
  };
  return { ...createProviderOf(server, context), ...accessOf(context, settings), standIns };
}

/** What can be done with refresh tokens, as far as the operator has configured it. */
function accessOf(
  { tokenHttp, userAgent, clock }: ProviderContext,
  settings: WarpSettings,
): Pick<Provider, 'tokens' | 'logins' | 'missing'> {
  const { WARP_OAUTH_CLIENT_ID: clientId, WARP_FIREBASE_API_KEY: firebaseApiKey } = settings;
  if (firebaseApiKey === undefined) {
    const tokens = "Set WARP_FIREBASE_API_KEY, the web API key of Warp's identity project.";
    const logins = `${tokens} A device login also needs WARP_OAUTH_CLIENT_ID.`;
    return { missing: { tokens, logins: clientId === undefined ? logins : tokens } };
  }
  const postForm = createPostForm(tokenHttp, userAgent);
  const { WARP_SERVER_URL: serverUrl, WARP_TOKEN_URL: tokenUrl, WARP_IDENTITY_URL: identityUrl } = settings;
  const { now } = clock;
  const { tokens, exchange } = createWarpOauth({
    serverUrl,
    tokenUrl,
    identityUrl,
    firebaseApiKey,
    postForm,
    now,
  });
  if (clientId === undefined) {
    const logins = 'Set WARP_OAUTH_CLIENT_ID to an OAuth client id that Warp has given you.';
    return { tokens, missing: { logins } };
  }
  return { tokens, logins: createWarpDeviceLogins({ serverUrl, clientId, exchange, postForm }) };
}

/** The provider behind any server that speaks Warp's protocols. */
export function createProviderOf(
  server: WarpServer,
  { http, userAgent, clock, logger }: ProviderContext,
): ExchangingProvider {
  const { now } = clock;
  const client = new GraphqlClient({ http, userAgent, baseUrl: server.baseUrl, authHeaders, now });
  return {
    ...server,
    outbound: createLoggedOutbound(clock, logger),
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
function createLoggedOutbound({ now }: Clock, logger: Logger): Outbound {
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
