import { defineProvider } from '../definition.ts';

/** The built-in upstream, for trying things out. Its keys choose scenarios and so stay as they were given. */
export const sandbox = defineProvider({
  name: 'sandbox',
  async load(context) {
    const { createProviderOf } = await import('../warp/provider.ts');
    const { checkApiKey } = await import('../api-key/index.ts');
    const server = {
      name: 'sandbox',
      needsHttp2: false,
      // Asked each time, so that it may start on first use.
      baseUrl: context.sandboxUrl,
      normalizeApiKey: checkApiKey,
      fallbackModels: [{ id: 'sandbox', displayName: 'sandbox' }],
    };
    return { ...createProviderOf(server, context), isTrial: true, systemFingerprint: 'warp2api-sandbox' };
  },
});
