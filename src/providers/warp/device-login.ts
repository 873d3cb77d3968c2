import { type DeviceLogins, type ProviderHttp, TokenError } from '../../core/provider.ts';
import { beginExchange } from '../oauth2/client.ts';
import { createDeviceLogins } from '../oauth2/device-logins.ts';
import type { WarpOauth } from './oauth.ts';

export interface WarpDeviceLoginOptions {
  readonly serverUrl: string;
  readonly clientId: string;
  readonly exchange: WarpOauth['exchange'];
  readonly http: ProviderHttp;
  readonly userAgent: string;
}

/** Device authorisation at Warp. What it grants is a custom token, which is exchanged before anybody sees it. */
export function createWarpDeviceLogins(options: WarpDeviceLoginOptions): DeviceLogins {
  const { serverUrl, clientId, exchange, http, userAgent } = options;
  const settings = {
    tokenUrl: `${serverUrl}/api/v1/oauth/token`,
    deviceAuthorizationUrl: `${serverUrl}/api/v1/oauth/device/auth`,
    clientId,
    clientSecret: undefined,
  };
  return createDeviceLogins({
    name: 'Warp',
    noRefreshToken: approvedInVain('no refresh token came with it'),
    begin: (_place, signal) =>
      beginExchange(settings, {
        http,
        userAgent,
        host: 'WARP_SERVER_URL',
        advice: 'Check WARP_OAUTH_CLIENT_ID.',
        signal,
      }),
    grantFrom: ({ access_token: customToken }, _exchange, signal) =>
      exchange(customToken, signal).catch((error: unknown) => {
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
