import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
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
  | 'client_left'
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

const idleLookMs = 50;

export interface HttpServerOptions {
  readonly logger: Logger;
  readonly bodyLimitBytes: number;
  /**
   * Names a request's Host and Origin may carry, besides the loopback ones; null switches the check off.
   * Without keys this check is what keeps a web page from using the owner's browser to reach the service.
   */
  readonly allowedHosts: readonly string[] | null;
  /** Requests to upgrade to a WebSocket come through all hooks, and to a route that takes them. */
  readonly takesWebSockets?: boolean;
  /** The service's own body for a request that is no HTTP and so reaches no route. */
  encodeUnreadable(message: string): string;
}

const loopbackNames = ['localhost', '127.0.0.1', '[::1]', '::1'];
/** For a whole request to arrive. Node's own limit, which Fastify switches off unless it is asked for one. */
const requestTimeoutMs = 300_000;
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
    requestTimeout: requestTimeoutMs,
    // Any other upgrade is an offer the server need not take: some clients make one for HTTP/2 with every POST.
    http: {
      shouldUpgradeCallback: (request) => options.takesWebSockets === true && asksForWebSocket(request),
    },
    clientErrorHandler: (error, socket) =>
      refuseUnreadable(error, socket as Socket, options.encodeUnreadable),
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

  // A connection whose answer ends while the server closes is idle a moment after the one look the close takes.
  app.addHook('preClose', async () => {
    if (!app.server.listening) return;
    // While it listens, a connection without a request is a client about to ask, who is to hear that the service stops.
    const timer = setInterval(() => {
      if (!app.server.listening) app.server.closeIdleConnections();
    }, idleLookMs);
    app.server.once('close', () => clearInterval(timer));
  });

  // An upgrade that was refused leaves a connection that no server watches over any more.
  if (options.takesWebSockets) {
    app.addHook('onResponse', async ({ raw }) => {
      if (asksForWebSocket(raw)) raw.socket.destroySoon();
    });
  }

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

  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const methods = (['GET', 'POST', 'PATCH', 'DELETE'] as const).filter((method) =>
      app.findRoute({ url: path, method }),
    );
    if (methods.length > 0) {
      reply.header('allow', methods.join(', '));
      throw new HttpFault(
        'method_not_allowed',
        `${path} takes ${methods.join(' and ')}, not ${request.method}.`,
      );
    }
    throw new HttpFault('not_found', `There is nothing at ${request.method} ${path}.`);
  });
  return app;
}

function asksForWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket';
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
    case 'ECONNRESET':
      return new HttpFault('client_left', 'The client left before its request was complete.');
    default:
      return error;
  }
}

/** Answers what Node's parser gave up on, as far as the connection still takes an answer, and cuts it. */
function refuseUnreadable(
  error: NodeJS.ErrnoException,
  socket: Socket,
  encode: (message: string) => string,
): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const [status, message] = unreadable(error.code);
  const body = encode(message);
  const head = [
    `HTTP/1.1 ${status}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${randomUUID()}`,
    'connection: close',
  ];
  if (socket.writable) socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  socket.destroy();
}

function unreadable(code: string | undefined): readonly [status: string, message: string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return ['431 Request Header Fields Too Large', 'The headers of the request are larger than 16 KiB.'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['408 Request Timeout', 'The request did not arrive in time.'];
    default:
      return ['400 Bad Request', 'The request is not valid HTTP.'];
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
