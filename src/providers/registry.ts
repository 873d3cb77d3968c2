import type { Provider, ProviderHttp } from '../core/provider.ts';
import { createWarpOutbound, type WarpOutboundOptions } from '../protocols/warp/outbound.ts';
import { createSandboxProvider } from './sandbox/provider.ts';
import { createWarpProvider } from './warp/provider.ts';

export interface ProvidersOptions {
  readonly warpServerUrl: string;
  /** Absent when the sandbox is switched off. */
  readonly sandboxUrl?: () => Promise<string>;
  readonly http: ProviderHttp;
  readonly userAgent: string;
  readonly onAnomaly?: WarpOutboundOptions['onAnomaly'];
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** All providers by name. Another one is a folder beside this file and a line here. */
export function createProviders(options: ProvidersOptions): ReadonlyMap<string, Provider> {
  const { http, userAgent, now, onAnomaly, sandboxUrl } = options;
  const clock = now && { now };
  const shared = {
    http,
    userAgent,
    outbound: createWarpOutbound({ ...clock, ...(onAnomaly && { onAnomaly }) }),
    ...clock,
  };
  const providers = [
    createWarpProvider({ ...shared, serverUrl: options.warpServerUrl }),
    ...(sandboxUrl ? [createSandboxProvider({ ...shared, url: sandboxUrl })] : []),
  ];
  return new Map(providers.map((provider) => [provider.name, provider]));
}
