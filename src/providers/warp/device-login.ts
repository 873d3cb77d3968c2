import { type DeviceLogins, type DevicePoll, TokenError } from '../../core/provider.ts';
import { secondsField, textField } from '../token-grant.ts';
import type { PostForm, TokenAnswer } from '../token-http.ts';
import type { WarpOauth } from './oauth.ts';

export interface WarpDeviceLoginOptions {
  readonly serverUrl: string;
  readonly clientId: string;
  readonly exchange: WarpOauth['exchange'];
  readonly postForm: PostForm;
}

const host = 'WARP_SERVER_URL';
const startTimeoutMs = 10_000;
const usualIntervalSeconds = 5;
const usualLifetimeSeconds = 600;
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

/** Device authorisation at Warp. What it grants is a custom token, which is exchanged before anybody sees it. */
export function createWarpDeviceLogins(options: WarpDeviceLoginOptions): DeviceLogins {
  const { serverUrl, clientId, exchange, postForm } = options;
  return {
    async start(signal) {
      const answer = await postForm({
        url: `${serverUrl}/api/v1/oauth/device/auth`,
        host,
        form: { client_id: clientId },
        timeoutMs: startTimeoutMs,
        signal,
      });
      const body = answer.body ?? {};
      const deviceCode = textField(body, 'device_code');
      const userCode = textField(body, 'user_code');
      const verificationUri = webAddress(textField(body, 'verification_uri', 'verification_url'));
      if (answer.status !== 200 || !deviceCode || !userCode || !verificationUri) {
        throw new TokenError(
          'refused',
          `Warp began no login (${said(answer)}). Check WARP_OAUTH_CLIENT_ID, or try again later.`,
        );
      }
      const complete = webAddress(textField(body, 'verification_uri_complete'));
      return {
        deviceCode,
        userCode,
        verificationUri,
        ...(complete === undefined ? {} : { verificationUriComplete: complete }),
        expiresInMs: (secondsField(body, 'expires_in') ?? usualLifetimeSeconds) * 1_000,
        intervalMs: (secondsField(body, 'interval') ?? usualIntervalSeconds) * 1_000,
      };
    },

    async poll(deviceCode, signal): Promise<DevicePoll> {
      const answer = await postForm({
        url: `${serverUrl}/api/v1/oauth/token`,
        host,
        form: { grant_type: deviceGrant, device_code: deviceCode, client_id: clientId },
        signal,
      });
      if (answer.status !== 200) return pollResult(answer);
      const customToken = textField(answer.body ?? {}, 'access_token');
      if (customToken === undefined) throw approvedInVain('Warp gave no token');
      const grant = await exchange(customToken, signal).catch((error: unknown) => {
        // The approval is used up, so that polling on would bring nothing.
        if (!(error instanceof TokenError)) throw error;
        const failure = error.failure === 'account_gone' ? 'account_gone' : 'invalid_grant';
        throw approvedInVain(error.message.replace(/\.$/, ''), failure, error);
      });
      if (grant.refreshToken === undefined) throw approvedInVain('no refresh token came with it');
      return { result: 'granted', grant: { ...grant, refreshToken: grant.refreshToken } };
    },
  };
}

function pollResult(answer: TokenAnswer): DevicePoll {
  switch (answer.body?.['error']) {
    case 'authorization_pending':
      return { result: 'pending' };
    case 'slow_down':
      return { result: 'slow_down' };
    case 'access_denied':
      return { result: 'denied' };
    case 'expired_token':
      return { result: 'expired' };
    case 'invalid_grant':
    case 'invalid_client':
    case 'unauthorized_client':
      throw new TokenError(
        'invalid_grant',
        `Warp no longer knows this login (${said(answer)}). Start it again.`,
      );
    default: {
      const { retryAfterMs } = answer;
      throw new TokenError(
        answer.status >= 300 && answer.status < 500 ? 'refused' : 'unknown',
        `Warp could not say how the login stands (${said(answer)}).`,
        retryAfterMs === undefined ? {} : { retryAfterMs },
      );
    }
  }
}

function approvedInVain(
  reason: string,
  failure: 'invalid_grant' | 'account_gone' = 'invalid_grant',
  cause?: unknown,
): TokenError {
  const advice =
    failure === 'account_gone'
      ? ''
      : ' Check WARP_IDENTITY_URL and WARP_FIREBASE_API_KEY, then start it again.';
  return new TokenError(
    failure,
    `The login was approved, but its token could not be exchanged: ${reason}.${advice}`,
    cause === undefined ? {} : { cause },
  );
}

/** The status, and the error's word where it is one of RFC 6749's kind; no free text of another party. */
function said(answer: TokenAnswer): string {
  const error = answer.body?.['error'];
  return typeof error === 'string' && /^[a-z_]{1,40}$/.test(error)
    ? `${answer.status} ${error}`
    : `${answer.status}`;
}

/** A person will open it, so that nothing but a web page may come this way. */
function webAddress(text: string | undefined): string | undefined {
  return text !== undefined && URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
    ? text
    : undefined;
}
