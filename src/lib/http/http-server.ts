import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  fastify,
  LogController,
} from 'fastify';
import type { Logger } from '../log/logger.ts';
import { plainJson, shortened } from '../shown-text.ts';
import type { BodyBudget, HeldBody } from './body-budget.ts';
import { addressSeen, type CallerRules, checkHost, createCallers } from './callers.ts';
import {
  type ConnectionLimits,
  Connections,
  connectionLimits,
  isAnswering,
  takeBody,
} from './connections.ts';
import {
  bodyTooLarge,
  cuts,
  HttpFault,
  type Refusal,
  type UnreadableError,
  unknownMethod,
  unreadable,
} from './http-fault.ts';
import { declaredCharset } from './json-body.ts';
import { acceptedCodings, bodyCodings, discardRest, type ExpectedBody, readBody } from './request-body.ts';
import { isMeant, methodsAt, pathOf, type ServedRoute } from './served-routes.ts';

const idleLookMs = 50;
/** How long unfinished requests and answers may take after the server stops listening. Turns and streams have ended before. */
const lastAnswersMs = 5_000;

/** Bodies are checked by zod. Without this Fastify loads its compilers of JSON schemas: 30 ms and 4 MiB. */
const noSchemas = (): never => {
  throw new Error('Routes here have no JSON schema.');
};

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route: `open`, or a name of the server's `access`. Every route has to say so. */
    access?: string;
    /** False for a route that needs no body although its method may have one. */
    takesBody?: boolean;
    /** The body is `multipart/form-data`: it is kept as its bytes, with its content type. */
    takesForm?: boolean;
    /** See ServedRoute. */
    isFrontPage?: boolean;
  }
  interface FastifyRequest {
    /** The service's count of the body, until the answer has ended; work that goes on after that has to share it. */
    heldBody: HeldBody | null;
  }
}

/**
 * Returns an id of the key that a request shows, which is no secret. Throws if the key does not open the route. May note on the
 * request whose key it is.
 */
export type AccessCheck = (request: FastifyRequest) => string;

export interface HttpServerOptions extends Pick<FastifyServerOptions, 'rewriteUrl'> {
  readonly logger: Logger;
  readonly bodyLimitBytes: number;
  /** For all bodies together. */
  readonly bodies: BodyBudget;
  readonly callers: CallerRules;
  /** The checks by the name that routes give as `config.access`. They run before anything of a body is read. */
  readonly access: Readonly<Record<string, AccessCheck>>;
  /** Whether the text of a body is kept beside its value, for a URL. */
  keepsText?(url: string): boolean;
  /** The access of a path that no route has, with or without another method; `open` by default. */
  accessToUnknown?(path: string): string;
  /** Requests to upgrade to a WebSocket come through all hooks, and to a route that takes them. */
  readonly takesWebSockets?: boolean;
  /** The body of the answer to a request that reaches no route, as it is not valid HTTP or its method is unknown. */
  encodeUnreadable(fault: HttpFault, path: string, requestId: string): string;
  /** Others than the usual ones, for tests. */
  readonly connectionLimits?: Partial<ConnectionLimits>;
  /** Advice for a client that asked for an unknown path. `address` is the service's, as the client named it. */
  adviseOnPath(path: string, address: string): string;
}

/** Any page can name a new origin. */
const maxLoggedRefusals = 100;
const methodsWithBody = new Set(['POST', 'PUT', 'PATCH']);
const longestShownPath = 200;
/** The key id of routes that are open to all. */
const noKey = '';
/** The headers that announce a body and its form. */
const bodyHeaders = ['content-length', 'transfer-encoding', 'content-type', 'content-encoding'] as const;
const requestIdPattern = /^[A-Za-z0-9._-]{1,128}$/;

const crowded =
  'more connections were opened than the service holds: some were closed, those without a key first';

/**
 * A Fastify server with what both services share: a request id on every answer, the Host and Origin check, the check of
 * keys that the matched route asks for, and a body that is decompressed and always read as JSON, whatever content type the
 * client gave it (an empty body is undefined). Nothing of a body is read before these checks, nor where no route takes one.
 * Faults reach the caller's error handler as HttpFault.
 */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const callers = createCallers(options.callers);
  const limits = { ...connectionLimits(), ...options.connectionLimits };
  const connections = new Connections(limits, {
    refuse: (socket, reason) => refuse(socket, cuts[reason], ''),
    crowded: (count) => options.logger.warn({ connections: count, most: limits.most }, crowded),
  });
  // Fastify gets no logger here: with one it makes a child logger and adds listeners for each request.
  const app: FastifyInstance = fastify({
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimitBytes,
    ...(options.rewriteUrl && { rewriteUrl: options.rewriteUrl }),
    keepAliveTimeout: 75_000,
    connectionTimeout: limits.silentMs,
    // Any other upgrade is an offer the server need not take: some clients make one for HTTP/2 with every POST.
    http: {
      // Checked below, where the answer has the service's own words.
      requireHostHeader: false,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: Math.min(limits.headersMs, 5_000),
      shouldUpgradeCallback: (request) => options.takesWebSockets === true && asksForWebSocket(request),
    },
    clientErrorHandler: (error, socket) => refuseUnreadable(error, socket as Socket),
    forceCloseConnections: 'idle',
    // Also the limit of hooks that run while the server closes: running turns have their own deadline.
    pluginTimeout: 0,
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
    // What a closing service answers is its own affair.
    return503OnClosing: false,
    // A path that cannot be decoded comes by no hook.
    frameworkErrors(_error, request, reply) {
      reply.header('x-request-id', request.id).headers(callers.corsHeaders(request.headers));
      const fault = new HttpFault(
        'not_found',
        'The path of the request cannot be decoded: check its percent-encoding.',
      );
      app.errorHandler.call(app, fault as unknown as FastifyError, request, reply);
      if (hasMore(request.raw)) discardRest(request.raw, reply.raw);
      closeUpgraded(request.raw);
    },
    routerOptions: { maxParamLength: 512, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    genReqId(request) {
      const given = request.headers['x-request-id'];
      // Node joins the id of pieces; `toLowerCase` makes one flat string of it, which takes half as long to write into lines and records.
      return typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID().toLowerCase();
    },
  });

  app.setChildLoggerFactory(() => options.logger as FastifyBaseLogger);

  const servers: Server[] = [];
  function guard(server: Server): void {
    servers.push(server);
    connections.watch(server);
    server.on('connect', (_request, socket) => refuse(socket as Socket, unknownMethod, ''));
  }
  guard(app.server);
  app.addHook('onListen', async () => {
    for (const server of secondServers(app)) guard(server);
  });

  const routes: ServedRoute[] = [];
  served.set(app, routes);
  const checks: HttpServerOptions['access'] = { open: () => noKey, ...options.access };
  app.addHook('onRoute', ({ method, url, config }) => {
    const access = config?.access ?? '';
    if (!Object.hasOwn(checks, access)) {
      throw new Error(
        `The route ${method} ${url} does not say who may call it: config.access is "${access}".`,
      );
    }
    const isFrontPage = config?.isFrontPage === true;
    for (const one of [method].flat()) {
      if (one !== 'HEAD') routes.push({ method: one, url, access, isFrontPage });
    }
  });

  // A connection whose answer ends while the server closes is idle a moment after the one look the close takes.
  app.addHook('preClose', async () => {
    const open = new Set(servers.filter(({ listening }) => listening));
    if (open.size === 0) return;
    let looksLeft = lastAnswersMs / idleLookMs;
    // While it listens, a connection without a request is a client about to ask, who is to hear that the service stops.
    const timer = setInterval(() => {
      if (app.server.listening) return;
      for (const server of open) if (!server.listening) server.closeIdleConnections();
      looksLeft -= 1;
      if (looksLeft <= 0) connections.closeUnserved();
    }, idleLookMs);
    for (const server of open) {
      server.once('close', () => {
        open.delete(server);
        if (open.size === 0) clearInterval(timer);
      });
    }
  });

  /** An upgrade that was refused leaves a connection that no server watches over any more. */
  function closeUpgraded(request: IncomingMessage): void {
    if (options.takesWebSockets && asksForWebSocket(request)) request.socket.destroySoon();
  }

  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id);
    if (hasMore(request.raw)) discardRest(request.raw, reply.raw);
    // Errors repeat what was sent, and are read in terminals.
    done(null, reply.statusCode >= 400 && typeof payload === 'string' ? plainJson(payload) : payload);
  });

  const logged = new Set<string>();
  /** Logs what it refuses, each once: a browser shows its page no answer that the page may not read. */
  function admit(request: FastifyRequest): Readonly<Record<string, string>> | undefined {
    try {
      callers.check(request.headers);
      return callers.preflight(request.method, request.headers);
    } catch (error) {
      if (error instanceof HttpFault && logged.size < maxLoggedRefusals && !logged.has(error.message)) {
        logged.add(error.message);
        request.log.warn({ request_id: request.id }, error.message);
      }
      throw error;
    }
  }

  app.addHook('onRequest', (request, reply, done) => {
    const { raw } = request;
    if (options.takesWebSockets && asksForWebSocket(raw))
      reply.raw.once('finish', () => raw.socket.destroySoon());
    let expected: ExpectedBody | undefined;
    try {
      // On the raw answer, so that those that are streamed past Fastify have them too.
      for (const [name, value] of Object.entries(callers.corsHeaders(raw.headers)))
        reply.raw.setHeader(name, value);
      checkHost(raw);
      const preflight = admit(request);
      if (preflight) {
        reply.code(204).headers(preflight).send();
        return;
      }
      expected = enter(request, reply);
    } catch (error) {
      // Node's parser may yet find in the same bytes that they are no request at all, and answers that itself.
      queueMicrotask(() => done(error as Error));
      return;
    }
    if (!expected) {
      done();
      return;
    }
    readBody(raw, expected, (fault, body) => {
      request.body = body;
      if (fault === undefined) done();
      else done(fault as Error);
    });
  });

  /** Checks the key and what is asked for, before anything of a body is read. Returns which body is read now. Throws. */
  function enter(request: FastifyRequest, reply: FastifyReply): ExpectedBody | undefined {
    const { headers, raw } = request;
    const { config, bodyLimit, url } = request.routeOptions;
    const access = config.access ?? options.accessToUnknown?.(pathOf(request.url)) ?? 'open';
    const keyId = checks[access]?.(request) ?? noKey;
    if (access !== 'open') connections.showedKey(raw.socket, keyId);
    if (request.is404 || (url !== request.url && !isMeant(routes, request))) refusePath(request, reply);
    let expected: ExpectedBody | undefined;
    if (config.takesBody ?? methodsWithBody.has(request.method)) {
      const declaredLength = Number(headers['content-length'] ?? 0);
      if (declaredLength > bodyLimit) throw bodyTooLarge();
      const { 'content-type': contentType } = headers;
      const codings = bodyCodings(headers['content-encoding'], () =>
        reply.header('accept-encoding', acceptedCodings),
      );
      const charset = declaredCharset(contentType);
      const formType = config.takesForm ? (contentType ?? '') : undefined;
      const held = options.bodies.begin(keyId, declaredLength);
      held.keepsText = options.keepsText?.(request.url) === true;
      request.heldBody = held;
      expected = { codings, charset, formType, declaredLength, limit: bodyLimit, held };
      reply.raw.on('close', () => held.release());
      takeBody(raw, reply.raw);
    }
    // Fastify takes every request for one without a body: it is read here, whatever its headers say.
    for (const name of bodyHeaders) if (headers[name] !== undefined) headers[name] = undefined;
    return expected;
  }

  app.decorateRequest('heldBody', null);
  app.removeAllContentTypeParsers();

  app.setNotFoundHandler((request, reply) => refusePath(request, reply));

  /** For a path that no route has, or one that none has with this method. Throws HttpFault. */
  function refusePath(request: FastifyRequest, reply: FastifyReply): never {
    const { method } = request;
    const path = pathOf(request.url);
    const methods = methodsAt(routes, path);
    if (methods.length === 0) {
      const advice = options.adviseOnPath(path, addressSeen(request));
      throw new HttpFault(
        'not_found',
        `There is nothing at ${method} ${shortened(path, longestShownPath)}. ${advice}`,
      );
    }
    reply.header('allow', methods.join(', '));
    const isReading = method === 'GET' && methods.includes('POST');
    const hint = isReading ? ': send the request as JSON in the body of a POST' : '';
    const fault = `${shortened(path, longestShownPath)} takes ${methods.join(' and ')}, not ${method}${hint}.`;
    const isFront = routes.some(({ url, isFrontPage }) => isFrontPage && url === path);
    const advice = isFront ? ` ${options.adviseOnPath(path, addressSeen(request))}` : '';
    throw new HttpFault('method_not_allowed', fault + advice);
  }

  /** Answers what Node's parser gave up on, as far as the connection still takes an answer, and cuts it. */
  function refuseUnreadable(error: UnreadableError, socket: Socket): void {
    if (error.code === 'ECONNRESET' || socket.destroyed) return;
    refuse(socket, ...unreadable(error));
  }

  /** Answers and closes a connection that no route answers. */
  function refuse(socket: Socket, { status, fault }: Refusal, path: string): void {
    socket.on('error', () => socket.destroy());
    if (!socket.writable || isAnswering(socket)) {
      socket.destroy();
      return;
    }
    const id = randomUUID();
    const body = plainJson(options.encodeUnreadable(fault, path, id));
    const own = methodsAt(routes, path);
    const methods = own.length > 0 ? own : [...new Set(routes.map(({ method }) => method))];
    const head = [
      `HTTP/1.1 ${status}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      ...(fault.kind === 'method_not_allowed' ? [`allow: ${methods.join(', ')}`] : []),
      ...(fault.retryAfterMs === undefined ? [] : [`retry-after: ${fault.retryAfterMs / 1000}`]),
      `x-request-id: ${id}`,
      'connection: close',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    socket.destroySoon();
  }
  return app;
}

/** Fastify makes a server for each further address of "localhost", which its interface does not show. */
function secondServers(app: FastifyInstance): readonly Server[] {
  const name = Object.getOwnPropertySymbols(app).find(
    ({ description }) => description === 'fastify.serverBindings',
  );
  return name === undefined ? [] : ((app as unknown as Record<symbol, Server[]>)[name] ?? []);
}

/** Whether a body is still arriving. What follows a request for a WebSocket is none. */
function hasMore(request: IncomingMessage): boolean {
  return request.complete === false && !asksForWebSocket(request);
}

function asksForWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket';
}

const served = new WeakMap<FastifyInstance, ServedRoute[]>();

/** The routes of a server made by `createHttpServer`. */
export function routesOf(app: FastifyInstance): readonly ServedRoute[] {
  return served.get(app) ?? [];
}
