import { type DeviceLogins, TokenError, type TokenGrant } from '../../core/provider.ts';
import { ownValue } from '../../lib/own-value.ts';
import { secondsField, textField } from '../token-grant.ts';
import type { TokenAnswer } from '../token-http.ts';
import { askForToken, clientForm, errorWord, failureOf, type Oauth2Client } from './client.ts';

export interface DeviceLoginOptions {
  readonly client: Oauth2Client & { readonly settings: { readonly deviceAuthorizationUrl: string } };
  /** Who is named in errors. */
  readonly name: string;
  readonly scope?: string | undefined;
  /** Throws TokenError where the answer holds no tokens. */
  grantFrom(answer: TokenAnswer): TokenGrant | Promise<TokenGrant>;
  /** Why a grant has no refresh token, without which the login is of no use. */
  readonly noRefreshToken: string;
}

const startTimeoutMs = 10_000;
/** Where the server does not say. */
const usualIntervalSeconds = 5;
const usualCodeSeconds = 600;
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';
const pollResults: Readonly<Record<string, 'pending' | 'slow_down' | 'denied' | 'expired'>> = {
  authorization_pending: 'pending',
  slow_down: 'slow_down',
  access_denied: 'denied',
  expired_token: 'expired',
};

/** Logins on a second device (RFC 8628). */
export function createDeviceLogins(options: DeviceLoginOptions): DeviceLogins {
  const { client, name, scope, noRefreshToken } = options;
  const { settings, postForm, deviceHost, advice } = client;
  return {
    async start() {
      const answer = await postForm({
        url: settings.deviceAuthorizationUrl,
        host: deviceHost,
        form: { ...clientForm(settings), ...(scope !== undefined && { scope }) },
        timeoutMs: startTimeoutMs,
      });
      const body = answer.status === 200 ? (answer.body ?? {}) : {};
      const deviceCode = textField(body, 'device_code');
      const userCode = shownText(body['user_code']);
      const address = textField(body, 'verification_uri', 'verification_url');
      if (deviceCode === undefined || userCode === undefined || address === undefined) {
        throw failureOf(answer, deviceHost, advice);
      }
      const verificationUri = webAddress(address);
      if (verificationUri === undefined) {
        throw new TokenError('refused', `${name} named no web page to log in at.`);
      }
      const complete = webAddress(shownText(body['verification_uri_complete']));
      return {
        deviceCode,
        userCode,
        verificationUri,
        ...(complete === undefined ? {} : { verificationUriComplete: complete }),
        expiresInMs: (secondsField(body, 'expires_in') ?? usualCodeSeconds) * 1_000,
        intervalMs: (secondsField(body, 'interval') ?? usualIntervalSeconds) * 1_000,
      };
    },

    async poll(deviceCode) {
      const form = { grant_type: deviceGrant, device_code: deviceCode };
      const answer = await askForToken(client, form);
      const word = errorWord(answer) ?? '';
      const result = ownValue(pollResults, word);
      if (result !== undefined) return { result };
      // Asking again would change nothing.
      if (word === 'invalid_client' || word === 'unauthorized_client') {
        const message = `${name} does not take this client (${word}). Check its settings, then start the login again.`;
        throw new TokenError('invalid_grant', message);
      }
      const { refreshToken, ...grant } = await options.grantFrom(answer);
      if (refreshToken === undefined) throw new TokenError('invalid_grant', noRefreshToken);
      return { result: 'granted', grant: { ...grant, refreshToken } };
    },
  };
}

/** A person will read or open it; it goes into no header or form, and so may hold spaces. */
function shownText(value: unknown): string | undefined {
  return typeof value === 'string' && /^\P{Cc}{1,2048}$/u.test(value) ? value : undefined;
}

/** A person will open it, so that nothing but a web page may come this way. */
function webAddress(text: string | undefined): string | undefined {
  return text !== undefined && URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
    ? text
    : undefined;
}
