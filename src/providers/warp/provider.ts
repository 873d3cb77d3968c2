import type { Outbound } from '../../core/protocol.ts';
import type { ProviderHttp, ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import { createWarpOutbound } from '../../protocols/warp/outbound.ts';
import { normalizeWarpKey } from './api-key.ts';
import { createGraphqlClient } from './graphql.ts';
import { listModels } from './models.ts';
import { getQuota } from './quota.ts';

export interface WarpProviderOptions {
  /** Scheme, host and an optional path prefix. */
  readonly serverUrl: string;
  readonly http: ProviderHttp;
  /** Our own name and version. */
  readonly userAgent: string;
  readonly outbound?: Outbound;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What Warp itself and the built-in sandbox, which speaks like it, do not share. */
export interface WarpServer {
  readonly name: string;
  baseUrl(): string | Promise<string>;
  normalizeApiKey(key: string): string;
  readonly fallbackModels: readonly ProviderModel[];
}

export function createWarpProvider(options: WarpProviderOptions): UpstreamProvider {
  const serverUrl = withoutTrailingSlash(options.serverUrl);
  return createProviderOf(
    {
      name: 'warp',
      baseUrl: () => serverUrl,
      normalizeApiKey: normalizeWarpKey,
      // The one model every account has; all others come from the account's own list.
      fallbackModels: [{ id: 'auto', displayName: 'auto' }],
    },
    options,
  );
}

/** The provider behind any server that speaks Warp's protocols. */
export function createProviderOf(
  server: WarpServer,
  options: Omit<WarpProviderOptions, 'serverUrl'>,
): UpstreamProvider {
  const now = options.now ?? Date.now;
  const authHeaders = (bearer: string) => ({ authorization: `Bearer ${bearer}` });
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
    authHeaders,
    normalizeApiKey: (key) => server.normalizeApiKey(key),
    listModels: (bearer, signal) => listModels(client, bearer, signal),
    fallbackModels: server.fallbackModels,
    getQuota: (bearer, signal) => getQuota(client, bearer, now(), signal),
  };
}

export function withoutTrailingSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
