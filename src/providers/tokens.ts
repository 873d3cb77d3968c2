import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { type ProviderHttp, TokenError, type TokenGrant } from '../core/provider.ts';
import { readRetryAfter } from '../lib/backoff.ts';
import { isSurelyUnsent, unsentIn } from '../lib/network/transport-errors.ts';
import { type JsonObject, parseJson, parseJsonObject } from '../lib/parse-json.ts';
import { readFailedAnswer } from '../protocols/shared/failed-answer.ts';

/** Taken where neither the answer nor the token tells: what issuers commonly choose. */
const usualLifetimeMs = 3_600_000;

/** No token lasts longer. Times far beyond it cannot be stored, nor written as a date. */
const longestLifetimeMs = 10 * 365 * 24 * 3_600_000;

/** The first of these fields that holds text fit for a header or a form. */
export function textField(body: Readonly<Record<string, unknown>>, ...names: string[]): string | undefined {
  for (const name of names) {
    const value = body[name];
    if (typeof value === 'string' && /^[\x21-\x7e]{1,16384}$/.test(value)) return value;
  }
  return undefined;
}

/** A span in seconds, as a number or a decimal string. */
export function secondsField(
  body: Readonly<Record<string, unknown>>,
  ...names: string[]
): number | undefined {
  for (const name of names) {
    const value = body[name];
    const seconds =
      typeof value === 'string' && /^\d{1,10}(\.\d{1,9})?$/.test(value.trim()) ? Number(value) : value;
    if (typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0) return seconds;
  }
  return undefined;
}

export function grantOf(parts: {
  readonly bearer: string;
  readonly refreshToken: string | undefined;
  readonly lifetimeSeconds: number | undefined;
  /** Whose claims tell what the answer leaves out. */
  readonly idToken: string | undefined;
  readonly now: number;
}): TokenGrant {
  const { bearer, refreshToken, lifetimeSeconds, idToken, now } = parts;
  const { email } = readClaims(idToken ?? '');
  const lifetimeMs = lifetimeSeconds === undefined ? lifetimeOf(bearer, now) : lifetimeSeconds * 1_000;
  return {
    bearer,
    lifetimeMs: Math.floor(Math.min(longestLifetimeMs, Math.max(0, lifetimeMs))),
    ...(refreshToken === undefined ? {} : { refreshToken }),
    ...(email === undefined ? {} : { email }),
  };
}

/** Where the token tells both of its times, by them alone: the issuer's clock may be another. */
function lifetimeOf(bearer: string, now: number): number {
  const { iat, exp } = readClaims(bearer);
  if (exp === undefined) return usualLifetimeMs;
  return exp * 1_000 - (iat !== undefined && iat < exp ? iat * 1_000 : now);
}

const seconds = z.number().optional().catch(undefined);
const claims = z.object({
  iat: seconds,
  exp: seconds,
  email: z
    .string()
    .max(320)
    .regex(/^[^\s\p{C}]{1,300}@[^\s\p{C}]{1,300}$/u)
    .optional()
    .catch(undefined),
});

/** What an ID token says of itself. Read for its figures only: nothing depends on its truth, so its signature is not checked. */
function readClaims(token: string): Partial<z.infer<typeof claims>> {
  const part = token.split('.')[1] ?? '';
  return claims.safeParse(parseJson(Buffer.from(part, 'base64url'))).data ?? {};
}

/** What a token endpoint said, whatever the status. */
export interface TokenAnswer {
  readonly status: number;
  /** The JSON object of the body; undefined where it is none. */
  readonly body: JsonObject | undefined;
  /** Only where it was given in seconds: a date would need a clock that agrees with the server's. */
  readonly retryAfterMs: number | undefined;
}

/**
 * Posts a form to a token endpoint. Throws TokenError: `unsent` when the request surely never left this machine,
 * `unknown` when it may have been executed. The URL may hold a key, so no error names more than `host`.
 */
export type PostForm = (request: {
  readonly url: string;
  /** What the operator calls the place, such as WARP_TOKEN_URL. */
  readonly host: string;
  readonly form: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}) => Promise<TokenAnswer>;

const usualTimeoutMs = 5_000;

/**
 * `http` has a connection for every request alone: one that closes as it is used again would leave it open whether the
 * token was spent.
 */
export function createPostForm(http: ProviderHttp, userAgent: string): PostForm {
  return async ({ url, host, form, timeoutMs = usualTimeoutMs }) => {
    const answer = await http({
      method: 'POST',
      url,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
        'user-agent': userAgent,
      },
      body: new URLSearchParams(form).toString(),
      timeoutMs,
    }).catch((error: unknown) => {
      throw asTokenError(error, host);
    });
    mustBeOfHost(answer, host);
    return {
      status: answer.status,
      body: parseJsonObject(answer.body),
      retryAfterMs: readRetryAfter(answer.headers),
    };
  };
}

/**
 * A refusal by the page of a proxy or a captive portal: the token host never saw the token. Throws TokenError `unsent`.
 * Behind any other page the host may have answered.
 */
function mustBeOfHost(answer: Awaited<ReturnType<ProviderHttp>>, host: string): void {
  const isRefusal = answer.status >= 300 && answer.status < 500;
  if (!isRefusal || readFailedAnswer(answer).form !== 'page') return;
  throw new TokenError(
    'unsent',
    `${host} was not reached: something on the way answered in its place (${answer.status}). Check the network and the address.`,
  );
}

/** What a failed exchange says about the token that was sent. */
function asTokenError(error: unknown, host: string): TokenError {
  if (error instanceof TokenError) return error;
  if (isSurelyUnsent(error)) {
    const reason = unsentIn(error)?.message ?? 'Check the address and the network.';
    return new TokenError('unsent', `${host} was not reached: ${reason}`, { cause: error });
  }
  const isLate = error instanceof AppError && error.code === 'upstream_timeout';
  const message = isLate ? `${host} did not answer in time.` : `${host} broke off before it had answered.`;
  return new TokenError('unknown', `${message} The token may have been used up.`, { cause: error });
}

/** What an answer's status says about the token that was sent; `said` is the status, perhaps with the error's word. */
export function failureByStatus(
  { status, retryAfterMs }: Pick<TokenAnswer, 'status' | 'retryAfterMs'>,
  host: string,
  said: string,
  advice: string,
): TokenError {
  const isLater = status === 429 || status === 503;
  const isRefusal = isLater || (status >= 300 && status < 500);
  const next = isLater
    ? 'It will be asked again later.'
    : isRefusal
      ? advice
      : 'The token may have been used up.';
  return new TokenError(isRefusal ? 'refused' : 'unknown', `${host} answered ${said}. ${next}`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
