import { randomUUID } from 'node:crypto';
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  fastify,
  LogController,
} from 'fastify';
import type { Logger } from './logger.ts';

/** What is wrong with a request before any route has read it. */
export type HttpFaultKind =
  | 'foreign_host'
  | 'foreign_origin'
  | 'invalid_json'
  | 'too_large'
  | 'unsupported_encoding'
  | 'not_found'
  | 'method_not_allowed';

export class HttpFault extends Error {
  readonly kind: HttpFaultKind;
  constructor(kind: HttpFaultKind, message: string) {
    super(message);
    this.name = 'HttpFault';
    this.kind = kind;
  }
}

export interface HttpServerOptions {
  readonly logger: Logger;
  readonly bodyLimitBytes: number;
  /**
   * Names a request's Host and Origin may carry, besides the loopback ones; null switches the check off.
   * Without keys this check is what keeps a web page from using the owner's browser to reach the service.
   */
  readonly allowedHosts: readonly string[] | null;
}

const loopbackNames = ['localhost', '127.0.0.1', '[::1]', '::1'];
const requestIdPattern = /^[A-Za-z0-9._-]{1,128}$/;

/**
 * A Fastify server with what both services share: a request id on every answer, the Host and Origin check, and a
 * body that is always read as JSON, whatever content type the client gave it (an empty body is undefined).
 * Faults reach the caller's error handler as HttpFault.
 */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const app: FastifyInstance = fastify({
    loggerInstance: options.logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimitBytes,
    keepAliveTimeout: 75_000,
    forceCloseConnections: 'idle',
    // What a closing service answers is its own affair.
    return503OnClosing: false,
    // A path that cannot be decoded comes by no hook.
    frameworkErrors(_error, request, reply) {
      reply.header('x-request-id', request.id);
      const fault = new HttpFault('not_found', 'The path of the request is not a valid one.');
      app.errorHandler.call(app, fault as unknown as FastifyError, request, reply);
    },
    routerOptions: { maxParamLength: 512, ignoreTrailingSlash: true },
    genReqId(request) {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID();
    },
  });

  const routes: ServedRoute[] = [];
  served.set(app, routes);
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (one !== 'HEAD') routes.push({ method: one, url });
  });

  const names = options.allowedHosts && new Set([...loopbackNames, ...options.allowedHosts]);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    if (names) checkNames(names, request.headers.host, request.headers.origin);
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      throw new HttpFault(
        'unsupported_encoding',
        `The body is compressed with ${encoding}; send it without Content-Encoding.`,
      );
    }
    // Fastify refuses a type it cannot parse before any parser is asked.
    if (request.headers['content-type'] !== undefined) request.headers['content-type'] = 'application/json';
  });

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined);
    try {
      return done(null, JSON.parse(body as string));
    } catch (error) {
      return done(new HttpFault('invalid_json', `The body is not valid JSON${placeIn(error)}.`));
    }
  });

  app.setNotFoundHandler((request) => {
    const path = request.url.split('?', 1)[0] ?? '';
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE'] as const) {
      if (method !== request.method && app.findRoute({ url: path, method })) {
        throw new HttpFault('method_not_allowed', `${path} takes ${method}, not ${request.method}.`);
      }
    }
    throw new HttpFault('not_found', `There is nothing at ${request.method} ${path}.`);
  });
  return app;
}

/** A route as it was given to the server. */
interface ServedRoute {
  readonly method: string;
  readonly url: string;
}

const served = new WeakMap<FastifyInstance, ServedRoute[]>();

/** What a server of `createHttpServer` answers to, for whoever describes it. */
export function routesOf(app: FastifyInstance): readonly ServedRoute[] {
  return served.get(app) ?? [];
}

/** Fastify's own faults as HttpFault; any other error as it is. */
export function httpFaultFrom(error: unknown): unknown {
  if (typeof error !== 'object' || error === null || !('code' in error)) return error;
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new HttpFault('too_large', 'The body is larger than this service takes.');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new HttpFault('invalid_json', 'The body does not have the length its header says.');
    default:
      return error;
  }
}

/** Where JSON broke off. The parser's own message quotes the text around it, which may hold a key. */
function placeIn(error: unknown): string {
  const place =
    error instanceof Error && /at position \d+( \(line \d+ column \d+\))?/.exec(error.message)?.[0];
  return place ? `: it breaks off ${place}` : '';
}

function checkNames(names: ReadonlySet<string>, host: string | undefined, origin: string | undefined): void {
  const hostName = host?.replace(/:\d+$/, '').toLowerCase() ?? '';
  if (!names.has(hostName)) {
    throw new HttpFault(
      'foreign_host',
      `This service does not answer to the name "${hostName}"; add it to ALLOWED_HOSTS, or set keys.`,
    );
  }
  if (origin === undefined) return;
  const originHost = URL.canParse(origin) ? new URL(origin).hostname.toLowerCase() : origin;
  if (!names.has(originHost)) {
    throw new HttpFault(
      'foreign_origin',
      `A page of "${originHost}" may not call this service; add its host to ALLOWED_HOSTS, or set keys.`,
    );
  }
}
