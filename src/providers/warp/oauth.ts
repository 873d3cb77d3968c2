import { TokenError, type TokenGrant, type TokenIssuer } from '../../core/provider.ts';
import { isLoopbackUrl } from '../../lib/addresses/loopback.ts';
import type { PostForm, TokenAnswer } from '../token-http.ts';
import { failureOf, isAboutTheHost, readGrant } from './firebase.ts';

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
