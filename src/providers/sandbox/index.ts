import { defineProvider } from '../definition.ts';

/** The built-in upstream, for trying things out. Its keys choose scenarios and so stay as they were given. */
export const sandbox = defineProvider({
  name: 'sandbox',
  async load({ clock, logger, sandboxUrl, ...context }) {
    const { createLoggedOutbound, createProviderOf } = await import('../warp/provider.ts');
    const { checkApiKey } = await import('../api-key/index.ts');
    const server = {
      name: 'sandbox',
      needsHttp2: false,
      // Asked each time, so that it may start on first use.
      baseUrl: sandboxUrl,
      normalizeApiKey: checkApiKey,
      fallbackModels: [{ id: 'sandbox', displayName: 'sandbox' }],
    };
    const outbound = createLoggedOutbound(clock, logger);
    const provider = createProviderOf(server, { ...context, now: clock.now, outbound });
    return { ...provider, isTrial: true, systemFingerprint: 'warp2api-sandbox' };
  },
});
