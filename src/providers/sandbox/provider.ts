import type { Outbound } from '../../core/protocol.ts';
import type { ExchangingProvider, ProviderHttp } from '../../core/provider.ts';
import { checkApiKey } from '../api-key/provider.ts';
import { createProviderOf } from '../warp/provider.ts';

export interface SandboxProviderOptions {
  /** Where the sandbox listens; asked each time, so that it may start on first use. */
  readonly url: () => Promise<string>;
  readonly http: ProviderHttp;
  readonly userAgent: string;
  readonly outbound?: Outbound;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** The built-in upstream for trying things out. Its keys choose scenarios and so stay as they were given. */
export function createSandboxProvider(options: SandboxProviderOptions): ExchangingProvider {
  const provider = createProviderOf(
    {
      name: 'sandbox',
      needsHttp2: false,
      baseUrl: options.url,
      normalizeApiKey: checkApiKey,
      fallbackModels: [{ id: 'sandbox', displayName: 'sandbox' }],
    },
    options,
  );
  return { ...provider, isTrial: true, systemFingerprint: 'warp2api-sandbox' };
}
