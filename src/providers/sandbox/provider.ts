import type { ExchangingProvider } from '../../core/provider.ts';
import { checkApiKey } from '../api-key/provider.ts';
import { createProviderOf, type WarpContext } from '../warp/provider.ts';

export interface SandboxProviderOptions extends WarpContext {
  /** Where the sandbox listens; asked each time, so that it may start on first use. */
  readonly url: () => Promise<string>;
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
