import { type DeviceLogins, TokenError } from '../../core/provider.ts';
import { readTokens } from '../oauth2/client.ts';
import { createDeviceLogins } from '../oauth2/device-logins.ts';
import type { PostForm } from '../token-http.ts';
import type { WarpOauth } from './oauth.ts';

export interface WarpDeviceLoginOptions {
  readonly serverUrl: string;
  readonly clientId: string;
  readonly exchange: WarpOauth['exchange'];
  readonly postForm: PostForm;
}

/** Device authorisation at Warp. What it grants is a custom token, which is exchanged before anybody sees it. */
export function createWarpDeviceLogins(options: WarpDeviceLoginOptions): DeviceLogins {
  const { serverUrl, clientId, exchange, postForm } = options;
  const client = {
    settings: {
      tokenUrl: `${serverUrl}/api/v1/oauth/token`,
      deviceAuthorizationUrl: `${serverUrl}/api/v1/oauth/device/auth`,
      clientId,
      clientSecret: undefined,
    },
    postForm,
    tokenHost: 'WARP_SERVER_URL',
    deviceHost: 'WARP_SERVER_URL',
    advice: 'Check WARP_OAUTH_CLIENT_ID.',
  };
  return createDeviceLogins({
    client,
    name: 'Warp',
    noRefreshToken: approvedInVain('no refresh token came with it'),
    grantFrom: (answer) =>
      exchange(readTokens(answer, client, 0).bearer).catch((error: unknown) => {
        if (!(error instanceof TokenError)) throw error;
        const reason = error.message.replace(/\.$/, '');
        // The approval is used up, so that polling on would bring nothing.
        throw error.failure === 'account_gone'
          ? new TokenError('account_gone', inVain(reason), { cause: error })
          : new TokenError('invalid_grant', approvedInVain(reason), { cause: error });
      }),
  });
}

const inVain = (reason: string): string =>
  `The login was approved, but its token could not be exchanged: ${reason}.`;

const approvedInVain = (reason: string): string =>
  `${inVain(reason)} Check WARP_IDENTITY_URL and WARP_FIREBASE_API_KEY, then start it again.`;
