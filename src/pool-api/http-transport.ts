import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { z } from 'zod';
import { upToFirstProblem } from '../core/first-problem-only.ts';
import { readRetryAfter } from '../lib/backoff.ts';
import { afterReading, systemClock } from '../lib/clock.ts';
import { errorCode } from '../lib/errors.ts';
import { isSurelyUnsent } from '../lib/network/transport-errors.ts';
import { HttpAgent, httpRequest } from '../lib/node-http.ts';
import { parseJson as jsonIn } from '../lib/parse-json.ts';
import { readBytes } from '../lib/read-bytes.ts';
import { NoAnswerError, NotPoolError, PoolError, type PoolErrorCode, poolErrorCodes } from './errors.ts';
import { errorAnswer } from './schema.ts';

/** An answer larger than this is not the pool's: a full page of accounts stays far below it. */
const maxAnswerBytes = 32 * 1024 * 1024;

const brokenOff = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT']);

export interface TransportOptions {
  /** Where the pool is, such as `http://localhost:8019`; a path is kept as a prefix. */
  readonly baseUrl: string | URL;
  /** Sent as `Authorization: Bearer`. */
  readonly apiKey?: string | undefined;
  /** A gateway's own key, sent as `x-api-key`. A pool that does not know it may know `apiKey`. */
  readonly gatewayKey?: string | undefined;
  /** A Unix domain socket to connect to, in place of the host and port of `baseUrl`. */
  readonly socketPath?: string | undefined;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** With the query, starting with a slash. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** For the whole exchange, with `open` until the headers are there; absent: no limit. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export type Transport = ReturnType<typeof createTransport>;

/**
 * JSON over kept-alive HTTP connections. Built on node:http so that the client library runs on every Node since 20;
 * `localhost` is tried on both loopback addresses.
 */
export function createTransport(options: TransportOptions) {
  const base = parseBaseUrl(options.baseUrl);
  const prefix = base.pathname.replace(/\/+$/, '');
  const { socketPath } = options;
  const place = socketPath ?? `${base.origin}${prefix}`;
  const authorization = bearer(options.apiKey);
  const gatewayKey = bearer(options.gatewayKey)?.slice('Bearer '.length);
  const isSecure = base.protocol === 'https:';
  const agentOptions = {
    keepAlive: true,
    maxFreeSockets: 32,
    autoSelectFamily: true,
    ...(base.hostname === 'localhost' && { lookup: lookUpLoopback }),
  };
  const agent = isSecure ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  let isClosed = false;

  function send(call: Call, signal: AbortSignal): Promise<IncomingMessage> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers = {
      accept: 'application/json',
      ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      ...(authorization && { authorization }),
      ...(gatewayKey && { 'x-api-key': gatewayKey }),
      ...call.headers,
    };
    return new Promise((resolve, reject) => {
      const start = isSecure ? httpsRequest : httpRequest;
      const request = start(new URL(prefix + call.path, base), {
        agent,
        socketPath,
        method: call.method,
        headers,
        signal,
      });
      request.on('response', resolve);
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Runs `use` over the answer under the call's time limit and signal, and gives every failure its typed form. */
  async function run<T>(
    call: Call,
    use: (answer: IncomingMessage, stopTimer: () => void) => Promise<T>,
  ): Promise<T> {
    if (isClosed) throw new PoolError('pool_unavailable', 'This client is closed.');
    call.signal?.throwIfAborted();
    const controller = new AbortController();
    const onAbort = () => controller.abort();
    call.signal?.addEventListener('abort', onAbort, { once: true });
    let isLate = false;
    const late = (): void => {
      isLate = true;
      controller.abort();
    };
    const stopTimer =
      call.timeoutMs === undefined ? () => {} : afterReading(systemClock, call.timeoutMs, late, true);
    try {
      return await use(await send(call, controller.signal), stopTimer);
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason;
      if (isLate) {
        const message = `The pool at ${place} did not answer within ${call.timeoutMs} ms.`;
        throw new NoAnswerError(message, { sent: 'maybe', isTimeout: true, cause: error });
      }
      throw typed(error, place);
    } finally {
      stopTimer();
      call.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The text of an answer that is none of an error. */
  async function readGood(answer: IncomingMessage): Promise<string> {
    const { statusCode: status = 0, headers } = answer;
    const tooLarge = (): Error => notThePool(place, new Error('the answer is too large'));
    const text = (await readBytes(answer, maxAnswerBytes, tooLarge)).toString('utf8');
    if (status >= 200 && status < 300) return text;
    throw errorFromAnswer(status, headers, text, place);
  }

  return {
    /** One exchange without retries. Throws PoolError, or the signal's reason when it aborts. */
    exchange<T>(call: Call, schema: z.ZodType<T>): Promise<T> {
      return run(call, async (answer) => {
        const read = schema.safeParse(parseJson(await readGood(answer), place), upToFirstProblem);
        if (read.success) return read.data;
        throw notThePool(place, read.error);
      });
    },
    /** An answer of status 200 to be read as it comes; the caller's signal ends it. */
    async open(call: Call): Promise<IncomingMessage> {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        // The call's signal has to stay attached while the body is read, so `run` ends only with the body.
        run(call, async (answer, stopTimer) => {
          if (answer.statusCode !== 200) parseJson(await readGood(answer), place);
          stopTimer();
          resolve(answer);
          await new Promise((done) => answer.once('close', done));
        }).catch(reject);
      });
    },
    close(): void {
      isClosed = true;
      agent.destroy();
    },
  };
}

/** Both loopback addresses, for many machines know `localhost` as one of them only. */
const lookUpLoopback: LookupFunction = (_hostname, options, callback) => {
  if (!options.all) return callback(null, '127.0.0.1', 4);
  return callback(null, [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ]);
};

function parseBaseUrl(baseUrl: string | URL): URL {
  const text = String(baseUrl);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new PoolError('invalid_request', `"${text}" is no http or https address of a pool.`, {
    param: 'baseUrl',
  });
}

function bearer(apiKey: string | undefined): string | undefined {
  if (apiKey === undefined || apiKey === '') return undefined;
  if (/^[\x21-\x7e]+$/.test(apiKey)) return `Bearer ${apiKey}`;
  throw new PoolError('invalid_key', 'The pool key has characters that no HTTP header may carry.', {
    param: 'apiKey',
  });
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notThePool(place, error);
  }
}

/** The pool's error answer as the error it stands for; a proxy's page in between as `pool_unavailable`. */
function errorFromAnswer(
  status: number,
  headers: IncomingHttpHeaders,
  text: string,
  place: string,
): PoolError {
  const retryAfterMs = readRetryAfter(headers, Date.now());
  const answer = errorAnswer.safeParse(jsonIn(text)).data;
  if (answer === undefined) {
    const message = `${place} answered with status ${status} and no word of the pool; check the address.`;
    // What a proxy says while the pool behind it restarts.
    if (status >= 502 && status <= 504) {
      return new NoAnswerError(message, { retryAfterMs, sent: 'maybe' });
    }
    return new NotPoolError(message, { retryAfterMs });
  }
  const { code, message, param, shortage } = answer.error;
  const known = Object.hasOwn(poolErrorCodes, code) ? (code as PoolErrorCode) : codeOfStatus(status);
  return new PoolError(known, message, { retryAfterMs, param, shortage });
}

/** For codes of a newer pool than this client. */
function codeOfStatus(status: number): PoolErrorCode {
  if (status === 401) return 'invalid_key';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not_found';
  if (status === 503) return 'pool_unavailable';
  return status < 500 ? 'invalid_request' : 'internal';
}

function notThePool(place: string, cause: unknown): PoolError {
  const message = `What answers at ${place} does not speak the pool's language; check the address.`;
  return new NotPoolError(message, { cause });
}

function typed(error: unknown, place: string): unknown {
  if (error instanceof PoolError) return error;
  const code = errorCode(error) ?? 'no answer';
  if (isSurelyUnsent(error)) {
    const message = `The pool at ${place} cannot be reached (${code}); start it with "warp2api serve", or correct the address.`;
    return new NoAnswerError(message, { sent: 'no', cause: error });
  }
  if (brokenOff.has(code)) {
    const message = `The connection to the pool at ${place} broke off (${code}).`;
    return new NoAnswerError(message, { sent: 'maybe', cause: error });
  }
  return new PoolError('pool_unavailable', `The call to the pool at ${place} failed (${code}).`, {
    cause: error,
  });
}
