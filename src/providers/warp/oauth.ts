import {
  type DeviceLogins,
  TokenError,
  type TokenFailure,
  type TokenGrant,
  type TokenIssuer,
} from '../../core/provider.ts';
import { isLoopbackUrl } from '../../lib/addresses/loopback.ts';
import { ownValue } from '../../lib/parse-json.ts';
import { createDeviceLogins, readTokens } from '../oauth2/client.ts';
import {
  failureByStatus,
  grantOf,
  type PostForm,
  secondsField,
  type TokenAnswer,
  textField,
} from '../tokens.ts';

export interface WarpOauthOptions {
  /** Warp's own server, whose proxy replaces the identity hosts where they cannot be reached. No trailing slash. */
  readonly serverUrl: string;
  /** A bare origin gets Firebase's own path; a URL with a path is used as it is. */
  readonly tokenUrl: string;
  readonly identityUrl: string;
  /** Names the identity project, in the query as its API demands. No secret of the account's. */
  readonly firebaseApiKey: string;
  readonly postForm: PostForm;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Turns Warp's refresh tokens and custom tokens into ID tokens, which are its bearers. */
export interface WarpOauth {
  readonly tokens: TokenIssuer;
  /** What a device login gives is good for this exchange only. It may be repeated. Throws TokenError. */
  exchange(customToken: string): Promise<TokenGrant>;
}

interface Place {
  readonly url: string;
  readonly host: string;
}

export function createWarpOauth(options: WarpOauthOptions): WarpOauth {
  const { postForm, now } = options;
  const placeOf = (setting: string, address: string, path: string): Place => ({
    url: withKey(withPath(address, path), options.firebaseApiKey),
    host: setting,
  });
  const refreshPlaces = [
    placeOf('WARP_TOKEN_URL', options.tokenUrl, '/v1/token'),
    placeOf("Warp's token proxy", `${options.serverUrl}/proxy/token`, ''),
  ] as const;
  const exchangePlaces = [
    placeOf('WARP_IDENTITY_URL', options.identityUrl, '/v1/accounts:signInWithCustomToken'),
    placeOf("Warp's token proxy", `${options.serverUrl}/proxy/customToken`, ''),
  ] as const;

  const grantFrom = (answer: TokenAnswer, host: string): TokenGrant => {
    if (answer.status === 200) return readGrant(answer, host, now());
    throw failureOf(answer, host);
  };

  return {
    tokens: {
      isLoopback: refreshPlaces.every(({ url }) => isLoopbackUrl(url)),
      async refresh(refreshToken) {
        const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
        const [first, proxy] = refreshPlaces;
        let failure: TokenError;
        try {
          const answer = await postForm({ ...first, form });
          if (!isAboutTheHost(answer)) return grantFrom(answer, first.host);
          failure = failureOf(answer, first.host);
        } catch (error) {
          // Whatever may have been executed has perhaps spent the token: it is not sent a second time.
          if (!(error instanceof TokenError) || error.failure !== 'unsent') throw error;
          failure = error;
        }
        if (first.url === proxy.url) throw failure;
        const answer = await postForm({ ...proxy, form }).catch((error: unknown) => {
          throw error instanceof TokenError && error.failure === 'unsent' ? failure : error;
        });
        // A server without that proxy says nothing new.
        if (isAboutTheHost(answer)) throw failure;
        return grantFrom(answer, proxy.host);
      },
    },

    async exchange(customToken) {
      const form = { returnSecureToken: 'true', token: customToken };
      const [first, proxy] = exchangePlaces;
      const at = async (place: Place): Promise<TokenGrant> =>
        grantFrom(await postForm({ ...place, form }), place.host);
      // Nothing is spent by it, so that any failure that says nothing of the token may be tried elsewhere.
      return at(first).catch((error: unknown) => {
        const isFinal =
          error instanceof TokenError && ['invalid_grant', 'account_gone'].includes(error.failure);
        if (isFinal || first.url === proxy.url) throw error;
        return at(proxy).catch((second: unknown) => {
          throw second instanceof TokenError && second.failure === 'refused' ? error : second;
        });
      });
    },
  };
}

function withPath(address: string, path: string): string {
  const url = new URL(address);
  if (url.pathname === '/' && path !== '') url.pathname = path;
  return url.href;
}

function withKey(address: string, key: string): string {
  const url = new URL(address);
  url.searchParams.set('key', key);
  return url.href;
}

/** What Warp's identity project answers, at its own hosts and through Warp's proxy. */

const failureByWord: Readonly<Record<string, TokenFailure>> = {
  TOKEN_EXPIRED: 'invalid_grant',
  INVALID_REFRESH_TOKEN: 'invalid_grant',
  MISSING_REFRESH_TOKEN: 'invalid_grant',
  INVALID_CUSTOM_TOKEN: 'invalid_grant',
  MISSING_CUSTOM_TOKEN: 'invalid_grant',
  USER_DISABLED: 'account_gone',
  USER_NOT_FOUND: 'account_gone',
};

const adviceByFailure: Partial<Record<TokenFailure, string>> = {
  invalid_grant: 'Log in again.',
  account_gone: 'The provider has closed this account; remove it from the pool.',
};

/** The tokens of a 200. Throws TokenError `unknown` where it holds none: one may have been issued anyway. */
function readGrant(answer: TokenAnswer, host: string, now: number): TokenGrant {
  const body = answer.body ?? {};
  const bearer = textField(body, 'id_token', 'idToken');
  if (bearer === undefined) {
    throw new TokenError('unknown', `${host} answered without a token. The token may have been used up.`);
  }
  return grantOf({
    bearer,
    idToken: bearer,
    refreshToken: textField(body, 'refresh_token', 'refreshToken'),
    lifetimeSeconds: secondsField(body, 'expires_in', 'expiresIn'),
    now,
  });
}

/** What an answer other than 200 means for the token. */
function failureOf(answer: TokenAnswer, host: string): TokenError {
  const word = wordOf(answer);
  const failure = word === undefined ? undefined : ownValue(failureByWord, word);
  if (failure !== undefined) {
    return new TokenError(failure, `${host} answered ${word}. ${adviceByFailure[failure]}`);
  }
  const said = word === undefined ? `${answer.status}` : `${answer.status} ${word}`;
  return failureByStatus(answer, host, said, 'Check the address and WARP_FIREBASE_API_KEY.');
}

/** The host would not take the question at all: it says nothing of the token, and has issued none. */
function isAboutTheHost(answer: TokenAnswer): boolean {
  const word = wordOf(answer);
  const isAboutTheToken = word !== undefined && ownValue(failureByWord, word) !== undefined;
  return [403, 404, 405].includes(answer.status) && !isAboutTheToken;
}

/** The error's word, such as TOKEN_EXPIRED; some come with an explanation behind a colon. */
function wordOf({ body }: TokenAnswer): string | undefined {
  const error = body?.['error'];
  const text = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
  if (typeof text !== 'string') return undefined;
  if (/^invalid_grant\b/.test(text)) return 'TOKEN_EXPIRED';
  return /^([A-Z][A-Z_]{2,60})(\s*:|$)/.exec(text)?.[1];
}

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
