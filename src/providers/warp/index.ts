import { z } from 'zod';
import { safeAddress, safeUrl, secret, setting } from '../../lib/setting.ts';
import { defineProvider } from '../definition.ts';
import { isWarpHost } from './warp-host.ts';

/** Where Warp and its documented API listen. */
export const warpServer = {
  WARP_SERVER_URL: setting({
    default: 'https://app.warp.dev',
    schema: safeUrl,
    help: 'Where Warp listens; a path is kept before those of its calls.',
  }),
};

/** Warp, over the protocol of its own client. */
export const warp = defineProvider({
  name: 'warp',
  answersTurns: true,
  settings: {
    ...warpServer,
    WARP_API_KEY: setting({
      // One that cannot be a key is warned of when it is used: the other accounts serve without it.
      schema: z.string(),
      isSecret: true,
      help: 'A Warp API key of yours; it is added to the pool as an account.',
    }),
    WARP_OAUTH_CLIENT_ID: setting({
      schema: secret,
      help: 'OAuth client id for the device login at Warp. None is built in: use one that Warp has given you.',
    }),
    WARP_FIREBASE_API_KEY: setting({
      schema: secret,
      isSecret: true,
      help: "The web API key of Warp's identity project, needed to exchange and refresh tokens.",
    }),
    WARP_IDENTITY_URL: setting({
      default: 'https://identitytoolkit.googleapis.com',
      schema: safeAddress,
      help: 'Where a custom token is exchanged for an ID token.',
    }),
    WARP_TOKEN_URL: setting({
      default: 'https://securetoken.googleapis.com',
      schema: safeAddress,
      isTokenHost: true,
      help: 'Where refresh tokens are exchanged for ID tokens.',
    }),
  },
  accountSetting: 'WARP_API_KEY',
  server: ({ WARP_SERVER_URL: url }) => ({ url, needsHttp2: isWarpHost(url) }),
  async load(context, values) {
    const { createWarpProvider } = await import('./provider.ts');
    return createWarpProvider(context, values);
  },
});
