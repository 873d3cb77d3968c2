import { Agent, type Dispatcher } from 'undici';
import { AppError } from '../core/errors.ts';
import { type ProviderHttp, TokenError } from '../core/provider.ts';
import { createProviderHttp } from './http.ts';

/** What a token endpoint said, whatever the status. */
export interface TokenAnswer {
  readonly status: number;
  /** The JSON object of the body; undefined where it is none. */
  readonly body: Readonly<Record<string, unknown>> | undefined;
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
  readonly signal?: AbortSignal | undefined;
}) => Promise<TokenAnswer>;

const defaultTimeoutMs = 5_000;
const connectTimeoutMs = 3_000;

/**
 * HTTP for token endpoints. Every request has a connection of its own: one that is closed while it is used again would
 * leave it open whether the token was spent.
 */
export function createTokenHttp(): ProviderHttp {
  const dispatcher: Dispatcher = new Agent({ pipelining: 0, connect: { timeout: connectTimeoutMs } });
  return createProviderHttp(dispatcher);
}

export function createPostForm(http: ProviderHttp, userAgent: string): PostForm {
  return async ({ url, host, form, timeoutMs = defaultTimeoutMs, signal }) => {
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
      ...(signal && { signal }),
    }).catch((error: unknown) => {
      throw asTokenError(error, host);
    });
    return {
      status: answer.status,
      body: jsonObject(answer.body),
      retryAfterMs: retryAfterOf(answer.headers['retry-after']),
    };
  };
}

/** What a failed exchange says about the token that was sent. */
export function asTokenError(error: unknown, host: string): TokenError {
  if (error instanceof TokenError) return error;
  if (isSurelyUnsent(error)) {
    return new TokenError('unsent', `${host} cannot be reached. Check the address and the network.`, {
      cause: error,
    });
  }
  const isLate = error instanceof AppError && error.code === 'upstream_timeout';
  const message = isLate ? `${host} did not answer in time.` : `${host} broke off before it had answered.`;
  return new TokenError('unknown', `${message} The token may have been used up.`, { cause: error });
}

/** Failures of a connection that was never made, so that nothing can have been sent over it. */
const unsentCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** No byte of the request has reached the other side. */
export function isSurelyUnsent(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 5) return false;
  // Several addresses were tried: each of them must have failed so.
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every((one) => isSurelyUnsent(one, depth + 1));
  }
  if ('code' in error && unsentCodes.has(String(error.code))) return true;
  return isSurelyUnsent(error.cause, depth + 1);
}

function jsonObject(body: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Only seconds: the other form would need a clock that agrees with the server's. */
export function retryAfterOf(header: string | string[] | undefined): number | undefined {
  const text = Array.isArray(header) ? header[0] : header;
  return text !== undefined && /^\d{1,7}$/.test(text.trim()) ? Number(text) * 1_000 : undefined;
}
