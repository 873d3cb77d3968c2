import { defineProvider } from '../definition.ts';

/** The built-in upstream, for trying things out. */
export const sandbox = defineProvider({
  name: 'sandbox',
  async load({ clock, logger, sandboxUrl, ...context }) {
    const { createSandboxProvider } = await import('./provider.ts');
    const { createLoggedOutbound } = await import('../warp/provider.ts');
    const outbound = createLoggedOutbound(clock, logger);
    return createSandboxProvider({ ...context, url: sandboxUrl, now: clock.now, outbound });
  },
});
