import { type DeviceLogins, TokenError, type TokenGrant } from '../../core/provider.ts';
import { ownValue } from '../../lib/parse-json.ts';
import {
  failureByStatus,
  grantOf,
  type PostForm,
  secondsField,
  type TokenAnswer,
  textField,
} from '../tokens.ts';

export interface Oauth2Settings {
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly deviceAuthorizationUrl: string | undefined;
}

/** An authorisation server as one client speaks to it. */
export interface Oauth2Client {
  readonly settings: Oauth2Settings;
  readonly postForm: PostForm;
  /** What the operator calls its two addresses, such as `providers.corp.token_url`. */
  readonly tokenHost: string;
  readonly deviceHost: string;
  /** For when it refuses. */
  readonly advice: string;
}

/** Asks for a token, naming the client in the form (RFC 6749, section 2.3.1). Throws TokenError where no answer came. */
export function askForToken(
  { settings, postForm, tokenHost }: Oauth2Client,
  form: Readonly<Record<string, string>>,
): Promise<TokenAnswer> {
  return postForm({
    url: settings.tokenUrl,
    host: tokenHost,
    form: { ...clientForm(settings), ...form },
  });
}

function clientForm({ clientId, clientSecret }: Oauth2Settings): Readonly<Record<string, string>> {
  return { client_id: clientId, ...(clientSecret !== undefined && { client_secret: clientSecret }) };
}

/** The error's word of a refusal (RFC 6749, section 5.2). */
function errorWord({ status, body }: TokenAnswer): string | undefined {
  const word = status >= 400 && status < 500 ? body?.['error'] : undefined;
  return typeof word === 'string' && /^[a-z_]{1,40}$/.test(word) ? word : undefined;
}

/** What an answer without what was asked for says about the token that was sent. */
function failureOf(answer: TokenAnswer, host: string, advice: string): TokenError {
  const word = errorWord(answer);
  const said = word === undefined ? `${answer.status}` : `${answer.status} ${word}`;
  if (word === 'invalid_grant')
    return new TokenError('invalid_grant', `${host} answered ${said}. Log in again.`);
  const what = answer.status === 200 ? 'an answer without a usable token' : said;
  return failureByStatus(answer, host, what, advice);
}

/**
 * The tokens of a 200. A token was issued by the time it is read, so nothing about its wrapping may lose it: what is only odd
 * is passed over. Throws TokenError.
 */
export function readTokens(
  answer: TokenAnswer,
  { tokenHost, advice }: Oauth2Client,
  now: number,
): TokenGrant {
  const body = answer.status === 200 ? (answer.body ?? {}) : {};
  const { access_token: token, token_type: type } = body;
  const isBearer = typeof type !== 'string' || /^(bearer|dpop)$/i.test(type);
  if (typeof token !== 'string' || token === '' || !isBearer) throw failureOf(answer, tokenHost, advice);
  const bearer = textField(body, 'access_token');
  if (bearer === undefined) {
    throw new TokenError('unknown', `${tokenHost} gave a token that no header can hold.`);
  }
  return grantOf({
    bearer,
    refreshToken: textField(body, 'refresh_token'),
    lifetimeSeconds: secondsField(body, 'expires_in'),
    // Read for its e-mail address only: its issuer is not configured.
    idToken: textField(body, 'id_token'),
    now,
  });
}

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
