import { TokenError, type TokenGrant } from '../../core/provider.ts';
import { grantOf, secondsField, textField } from '../token-grant.ts';
import { failureByStatus, type PostForm, type TokenAnswer } from '../token-http.ts';

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

export function clientForm({ clientId, clientSecret }: Oauth2Settings): Readonly<Record<string, string>> {
  return { client_id: clientId, ...(clientSecret !== undefined && { client_secret: clientSecret }) };
}

/** The error's word of a refusal (RFC 6749, section 5.2). */
export function errorWord({ status, body }: TokenAnswer): string | undefined {
  const word = status >= 400 && status < 500 ? body?.['error'] : undefined;
  return typeof word === 'string' && /^[a-z_]{1,40}$/.test(word) ? word : undefined;
}

/** What an answer without what was asked for says about the token that was sent. */
export function failureOf(answer: TokenAnswer, host: string, advice: string): TokenError {
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
