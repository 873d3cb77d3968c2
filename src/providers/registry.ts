import type { Provider, ProviderHttp, UpstreamProvider } from '../core/provider.ts';
import { createWarpOutbound, type WarpOutboundOptions } from '../protocols/warp/outbound.ts';
import { createSandboxProvider } from './sandbox/provider.ts';
import { createWarpProvider, type WarpOauthSettings } from './warp/provider.ts';

export interface ProvidersOptions {
  readonly warpServerUrl: string;
  readonly warpOauth?: WarpOauthSettings;
  /** Absent when the sandbox is switched off. */
  readonly sandboxUrl?: () => Promise<string>;
  readonly http: ProviderHttp;
  readonly userAgent: string;
  readonly onAnomaly?: WarpOutboundOptions['onAnomaly'];
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

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
      serverUrl: options.warpServerUrl,
      ...(options.warpOauth && { oauth: options.warpOauth }),
    }),
    ...(sandboxUrl ? [createSandboxProvider({ ...shared, url: sandboxUrl })] : []),
  ];
  return { all: byName<Provider>(upstreams), upstreams: byName(upstreams) };
}

function byName<P extends Provider>(providers: readonly P[]): ReadonlyMap<string, P> {
  return new Map(providers.map((provider) => [provider.name, provider]));
}
