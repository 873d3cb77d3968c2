import { request as httpsRequest } from 'node:https';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../../core/errors.ts';
import { httpRequest } from '../../lib/node-http.ts';
import { NoAnswerError } from '../../pool-api/errors.ts';
import { appErrorFromPool } from '../turn/app-errors.ts';
import type { GatewayRoute } from './gateway-http.ts';

/** They lend what is secret to programs that borrow; these call the pool itself. */
const forBorrowers = new Set(['allocate', 'report']);

const passed = [
  ['GET', '/api/accounts'],
  ['POST', '/api/accounts'],
  ['GET', '/api/accounts/{id}'],
  ['POST', '/api/accounts/{id}'],
  ['PATCH', '/api/accounts/{id}'],
  ['DELETE', '/api/accounts/{id}'],
  ['POST', '/api/logins'],
  ['GET', '/api/logins/{id}'],
  ['POST', '/api/logins/{id}'],
  ['DELETE', '/api/logins/{id}'],
  ['GET', '/api/logins'],
  ['GET', '/api/sessions'],
  ['GET', '/api/audit'],
] as const;

/** What the admin page needs of the pool, at the gateway as well: with the caller's own key. */
export const poolRoutes: readonly GatewayRoute[] = [
  ...passed.map(
    ([method, path]): GatewayRoute => ({
      method,
      path,
      summary: 'As at the pool, which answers it',
      access: 'strictAdminKey',
      // The pool reads it, within its own limits.
      takesBody: false,
      answers: { 200: { description: 'The answer of the pool.', contentType: 'application/json' } },
      handle({ poolDoor }, request, reply) {
        if (forBorrowers.has(request.params.id)) {
          throw new AppError(
            'not_found',
            'Accounts are lent by the pool itself: call it at its own address.',
          );
        }
        return poolDoor(request, reply);
      },
    }),
  ),
  {
    method: 'GET',
    path: '/api/events',
    summary: 'What happens at the gateway and in the pool, as server-sent events',
    description:
      'Each event is a JSON object: those of the pool, `turn-began` and `turn-ended`, `key-near-limit` where a client key has used 80 or 100 % of a budget, and `figures` every second. ' +
      '`Last-Event-ID` resumes after an event of the pool, as long as it is known; `reset` says that some were missed.',
    access: 'adminKey',
    answers: {
      200: { description: 'The events, until the reader leaves.', contentType: 'text/event-stream' },
    },
    handle: ({ streams }, request, reply) => streams.open(request, reply, 'page'),
  },
];

/**
 * Lets the pool answer a request that came to the gateway, with the caller's own key or cookie. A pool in this process answers it
 * itself; `httpPoolDoor` sends it to another one.
 */
export type PoolDoor = (request: FastifyRequest, reply: FastifyReply) => unknown;

/** What the pool decides by; the gateway adds nothing. */
const passedHeaders = [
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'cookie',
  'x-warp2api-csrf',
  'sec-fetch-site',
  'accept',
] as const;
/** Of the body, whose headers are taken from a request before its handler runs. */
const bodyHeaders = new Set(['content-type', 'content-length', 'content-encoding', 'transfer-encoding']);
const returnedHeaders = ['content-type', 'content-length', 'cache-control', 'retry-after', 'allow'] as const;
/** Probes and refreshes of many accounts take their time. */
const headMs = 120_000;

export function httpPoolDoor(poolUrl: string): PoolDoor {
  const base = new URL(poolUrl);
  const start = base.protocol === 'https:' ? httpsRequest : httpRequest;
  return (request, reply) =>
    new Promise((resolve, reject) => {
      const { raw } = request;
      const call = start(new URL(base.pathname.replace(/\/+$/, '') + request.url, base), {
        method: request.method,
        headers: { ...headersOf(request), 'x-request-id': request.id },
        timeout: headMs,
      });
      call.on('timeout', () => call.destroy(new Error('the pool was silent')));
      call.on('error', (error) => {
        if (reply.raw.headersSent) reply.raw.destroy();
        else reject(appErrorFromPool(new NoAnswerError(error.message, { sent: 'maybe', cause: error })));
      });
      call.on('response', (answer) => {
        if (answer.statusCode === 401) {
          answer.resume();
          reject(keyRefused());
          return;
        }
        for (const name of returnedHeaders) {
          const value = answer.headers[name];
          if (value !== undefined) reply.header(name, value);
        }
        answer.on('error', () => reply.raw.destroy());
        resolve(reply.status(answer.statusCode ?? 502).send(answer));
      });
      reply.raw.once('close', () => call.destroy());
      raw.pipe(call);
    });
}

function headersOf({ headers, raw }: FastifyRequest): Record<string, string | string[] | undefined> {
  const passed: Record<string, string | string[] | undefined> = {};
  for (const name of passedHeaders) if (headers[name] !== undefined) passed[name] = headers[name];
  for (let at = 0; at < raw.rawHeaders.length; at += 2) {
    const name = raw.rawHeaders[at]?.toLowerCase() ?? '';
    if (bodyHeaders.has(name)) passed[name] = raw.rawHeaders[at + 1];
  }
  return passed;
}

/** No 401: the caller is signed in here, and would be sent to sign in again. */
function keyRefused(): AppError {
  return new AppError(
    'forbidden',
    'The account pool does not accept the key that opens this gateway: set the same ADMIN_KEY for both services.',
  );
}
