import type { Provider, ProviderHttp, UpstreamProvider } from '../core/provider.ts';
import { createWarpOutbound, type WarpOutboundOptions } from '../protocols/warp/outbound.ts';
import { createApiKeyProvider } from './api-key/provider.ts';
import { vendors } from './api-key/vendors.ts';
import { createOauth2Provider, type Oauth2ProviderOptions } from './oauth2/provider.ts';
import { createOzProvider, type OzProviderOptions } from './oz/provider.ts';
import { createSandboxProvider } from './sandbox/provider.ts';
import { createWarpProvider, type WarpOauthSettings } from './warp/provider.ts';

export interface ProvidersOptions {
  readonly warpServerUrl: string;
  readonly warpOauth?: WarpOauthSettings;
  readonly oz?: Pick<OzProviderOptions, 'environmentId' | 'runTimeoutMs' | 'clock' | 'logger'>;
  /** Absent when the sandbox is switched off. */
  readonly sandboxUrl?: () => Promise<string>;
  /** Those of the configuration file. One with a vendor's name takes its place. */
  readonly configured?: Readonly<Record<string, ConfiguredProvider>>;
  readonly http: ProviderHttp;
  /** Never uses a connection twice. */
  readonly tokenHttp: ProviderHttp;
  readonly userAgent: string;
  readonly onAnomaly?: WarpOutboundOptions['onAnomaly'];
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export type ConfiguredProvider =
  | { readonly type: 'api_key'; readonly checkUrl: string | undefined }
  | ({ readonly type: 'oauth2' } & Omit<
      Oauth2ProviderOptions,
      'name' | 'http' | 'tokenHttp' | 'userAgent' | 'now'
    >);

export interface Providers {
  /** Every provider by name: what the pool keeps accounts of. */
  readonly all: ReadonlyMap<string, Provider>;
  /** Those whose models the gateway offers. */
  readonly upstreams: ReadonlyMap<string, UpstreamProvider>;
}

/** All providers. Another one is a folder beside this file and a line here. */
export function createProviders(options: ProvidersOptions): Providers {
  const { http, userAgent, now, onAnomaly, sandboxUrl } = options;
  const clock = now && { now };
  const shared = {
    http,
    userAgent,
    outbound: createWarpOutbound({ ...clock, ...(onAnomaly && { onAnomaly }) }),
    ...clock,
  };
  const upstreams: UpstreamProvider[] = [
    createWarpProvider({
      ...shared,
      tokenHttp: options.tokenHttp,
      serverUrl: options.warpServerUrl,
      ...(options.warpOauth && { oauth: options.warpOauth }),
    }),
    createOzProvider({ http, userAgent, serverUrl: options.warpServerUrl, ...options.oz }),
    ...(sandboxUrl ? [createSandboxProvider({ ...shared, url: sandboxUrl })] : []),
  ];
  return {
    all: byName<Provider>([...upstreams, ...createPoolOnly(options)]),
    upstreams: byName(upstreams),
  };
}

/** Providers whose accounts only live in the pool, for programs that speak to the vendor themselves. */
function createPoolOnly(options: ProvidersOptions): Provider[] {
  const { configured = {}, http, tokenHttp, userAgent, now = Date.now } = options;
  const shared = { http, userAgent };
  const ready = Object.entries(vendors)
    .filter(([name]) => configured[name] === undefined)
    .map(([name, vendor]) => createApiKeyProvider({ ...shared, ...vendor, name }));
  const own = Object.entries(configured).map(([name, { type: _type, ...given }]) => {
    if ('tokenUrl' in given) return createOauth2Provider({ ...shared, ...given, tokenHttp, now, name });
    // A vendor asked at another address, such as a proxy of the owner's, still speaks the vendor's way.
    const { checkUrl, ...vendor } = vendors[name] ?? { checkUrl: undefined };
    return createApiKeyProvider({ ...shared, ...vendor, checkUrl: given.checkUrl ?? checkUrl, name });
  });
  return [...ready, ...own];
}

function byName<P extends Provider>(providers: readonly P[]): ReadonlyMap<string, P> {
  return new Map(providers.map((provider) => [provider.name, provider]));
}
