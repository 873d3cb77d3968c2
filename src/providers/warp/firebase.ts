import { TokenError, type TokenFailure, type TokenGrant } from '../../core/provider.ts';
import { ownValue } from '../../lib/own-value.ts';
import { grantOf, secondsField, textField } from '../token-grant.ts';
import { failureByStatus, type TokenAnswer } from '../token-http.ts';

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
export function readGrant(answer: TokenAnswer, host: string, now: number): TokenGrant {
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
export function failureOf(answer: TokenAnswer, host: string): TokenError {
  const word = wordOf(answer);
  const failure = word === undefined ? undefined : ownValue(failureByWord, word);
  if (failure !== undefined) {
    return new TokenError(failure, `${host} answered ${word}. ${adviceByFailure[failure]}`);
  }
  const said = word === undefined ? `${answer.status}` : `${answer.status} ${word}`;
  return failureByStatus(answer, host, said, 'Check the address and WARP_FIREBASE_API_KEY.');
}

/** The host would not take the question at all: it says nothing of the token, and has issued none. */
export function isAboutTheHost(answer: TokenAnswer): boolean {
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
