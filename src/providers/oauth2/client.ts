import {
  type AuthorizationServer,
  allowInsecureRequests,
  type Client,
  type ClientAuth,
  ClientSecretPost,
  customFetch,
  None,
  OperationProcessingError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'oauth4webapi';
import { type ProviderHttp, TokenError } from '../../core/provider.ts';
import { readRetryAfter } from '../../lib/http/retry-after.ts';
import { isJsonObject, parseJson } from '../../lib/parse-json.ts';
import { secondsField, textField } from '../token-grant.ts';
import { asTokenError, failureByStatus, mustBeOfHost } from '../token-http.ts';

export interface Oauth2Settings {
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly deviceAuthorizationUrl: string | undefined;
}

/** One exchange with the authorisation server: what oauth4webapi needs, and what it does not tell. */
export interface Exchange {
  readonly server: AuthorizationServer;
  readonly client: Client;
  readonly authentication: ClientAuth;
  readonly options: { readonly [customFetch]: typeof fetch; readonly [allowInsecureRequests]: boolean };
  /** The ID token that came along, unchecked. */
  idToken(): string | undefined;
  /** Whatever was thrown, as what it says about the token. */
  failure(error: unknown): TokenError;
}

const tokenTimeoutMs = 5_000;
const deviceTimeoutMs = 10_000;
/** How long a login may take where its server does not say. */
const usualCodeSeconds = 600;

/** `host` is what the operator calls the place, such as `providers.corp.token_url`; `advice` is for when it refuses. */
export function beginExchange(
  settings: Oauth2Settings,
  parts: {
    readonly http: ProviderHttp;
    readonly userAgent: string;
    readonly host: string;
    readonly advice: string;
    readonly signal?: AbortSignal | undefined;
  },
): Exchange {
  const { http, userAgent, host, advice, signal } = parts;
  let idToken: string | undefined;
  let status = 0;
  let retryAfterMs: number | undefined;

  const send: typeof fetch = async (input, init) => {
    const answer = await http({
      method: 'POST',
      url: String(input),
      headers: { ...Object.fromEntries(new Headers(init?.headers)), 'user-agent': userAgent },
      body: String(init?.body ?? ''),
      timeoutMs: String(input) === settings.deviceAuthorizationUrl ? deviceTimeoutMs : tokenTimeoutMs,
      ...(signal && { signal }),
    }).catch((error: unknown) => {
      throw asTokenError(error, host);
    });
    mustBeOfHost(answer, host);
    status = answer.status;
    retryAfterMs = readRetryAfter(answer.headers);
    const read = tolerantly(Buffer.from(answer.body).toString('utf8'), status);
    idToken = read.idToken;
    return new Response(read.text, {
      // Response takes no others; what is not 200 is a failure to whoever reads it.
      status: status >= 200 && status <= 599 ? status : 502,
      headers: {
        'content-type': read.isJson ? 'application/json' : 'text/plain',
        ...(typeof answer.headers['www-authenticate'] === 'string'
          ? { 'www-authenticate': answer.headers['www-authenticate'] }
          : {}),
      },
    });
  };

  return {
    server: {
      issuer: new URL(settings.tokenUrl).origin,
      token_endpoint: settings.tokenUrl,
      ...(settings.deviceAuthorizationUrl === undefined
        ? {}
        : { device_authorization_endpoint: settings.deviceAuthorizationUrl }),
    },
    client: { client_id: settings.clientId },
    authentication: settings.clientSecret === undefined ? None() : ClientSecretPost(settings.clientSecret),
    options: {
      [customFetch]: send,
      // The configuration lets nothing else through than https, and http on this machine.
      [allowInsecureRequests]: true,
    },
    idToken: () => idToken,
    failure(error) {
      if (error instanceof TokenError) return error;
      // What the library throws holds the answer, and so perhaps a token: it is no cause to be logged.
      const word = error instanceof ResponseBodyError ? error.error : undefined;
      const said = word !== undefined && /^[a-z_]{1,40}$/.test(word) ? `${status} ${word}` : `${status}`;
      if (word === 'invalid_grant') {
        return new TokenError('invalid_grant', `${host} answered ${said}. Log in again.`);
      }
      const isAnswer =
        error instanceof ResponseBodyError ||
        error instanceof WWWAuthenticateChallengeError ||
        error instanceof OperationProcessingError;
      const answer = { status: isAnswer ? status : 0, retryAfterMs };
      const what = status === 200 ? 'an answer without a usable token' : said;
      return failureByStatus(answer, host, what, advice);
    },
  };
}

/**
 * A token was issued, or a code, by the time it is read, so nothing about its wrapping may lose it: what is only odd is put
 * right or left out. The ID token is taken out, since only its e-mail address is used and its issuer is not configured.
 */
function tolerantly(
  text: string,
  status: number,
): { readonly text: string; readonly isJson: boolean; readonly idToken?: string | undefined } {
  const body = parseJson(text);
  if (body === undefined) return { text, isJson: false };
  if (status !== 200 || !isJsonObject(body)) return { text, isJson: true };
  const { id_token: _id, refresh_token: _refresh, scope: _scope, ...rest } = body;
  const isCode = 'device_code' in body;
  const tidied = {
    ...rest,
    ...('access_token' in body && typeof body['token_type'] !== 'string' ? { token_type: 'bearer' } : {}),
    refresh_token: textField(body, 'refresh_token'),
    verification_uri: textField(body, 'verification_uri', 'verification_url'),
    expires_in: secondsField(body, 'expires_in') ?? (isCode ? usualCodeSeconds : undefined),
    interval: secondsField(body, 'interval'),
  };
  return { text: JSON.stringify(tidied), isJson: true, idToken: textField(body, 'id_token') };
}
