import type { WebSocket, WebsocketPluginOptions } from '@fastify/websocket';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { docsPage, sendPage } from './api-docs-page.ts';
import { type ApiDescription, type ApiDocument, type ApiRoute, apiDocument } from './api-document.ts';

/** One call of a service: the server answers it, and the OpenAPI document and the page describe it, from this alone. */
export interface Route<Service> extends ApiRoute {
  /** The server's pattern, where the path does not say all of it. */
  readonly url?: string;
  /** In bytes, where it differs from the server's. */
  readonly bodyLimit?: number;
  /** False for a route that needs no body although its method may have one. */
  readonly takesBody?: boolean;
  /** See ServedRoute. */
  readonly isFrontPage?: boolean;
  /** What it returns is sent with the first status of `answers`, unless it sends something itself. */
  handle(service: Service, request: RouteRequest, reply: FastifyReply): unknown;
  /** For requests to upgrade to a WebSocket; `check` throws before there is one. */
  readonly socket?: {
    check(service: Service, request: FastifyRequest): void;
    accept(service: Service, socket: WebSocket, request: FastifyRequest): void;
  };
}

/** Each parameter is there where the path has it. */
interface RouteParams {
  Params: { id: string; '*': string };
}
export type RouteRequest = FastifyRequest<RouteParams>;

export interface Api<Service> extends ApiDescription {
  readonly routes: readonly Route<Service>[];
}

/**
 * Registers every route of an interface. Those for WebSockets are apart with the plugin that knows of such: of a route it sees,
 * it takes every upgrade, and it has hooks for every request.
 */
export function serveApi<Service>(
  app: FastifyInstance,
  api: Api<Service>,
  service: Service,
  sockets?: WebsocketPluginOptions,
): void {
  for (const route of api.routes) if (!route.socket) serveRoute(app, route, service);
  if (!sockets) return;
  app.register(async (scope) => {
    await scope.register(import('@fastify/websocket'), sockets);
    for (const route of api.routes) if (route.socket) serveRoute(scope, route, service);
  });
}

function serveRoute<Service>(app: FastifyInstance, route: Route<Service>, service: Service): void {
  const { method, path, access, bodyLimit, takesBody, bodyType, isFrontPage, answers, socket } = route;
  const url = route.url ?? path.replace(/\{(\w+)\}/g, ':$1');
  const status = Number(Object.keys(answers)[0]);
  app.route<RouteParams>({
    method,
    url,
    config: {
      access,
      ...(takesBody === undefined ? {} : { takesBody }),
      ...(bodyType === undefined ? {} : { takesForm: true }),
      ...(isFrontPage === undefined ? {} : { isFrontPage }),
    },
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
    ...(socket && {
      onRequest: async (request) => {
        if (request.ws) socket.check(service, request);
      },
      wsHandler: (client, request) => socket.accept(service, client, request),
    }),
    handler: (request, reply) => route.handle(service, request, reply.status(status)),
  });
}

/**
 * The interface with `/openapi.json` and `/docs`. Both are made at the first request: most processes are never asked. They are
 * kept as bytes, which all responses share: with a string each slow reader, who needs no key, would cost a copy.
 */
export function withDocs<Service>(api: Api<Service>): Api<Service> {
  let description: ApiDocument | undefined;
  let document: Buffer | undefined;
  let page: Buffer | undefined;
  const docs: readonly Route<Service>[] = [
    {
      method: 'GET',
      path: '/openapi.json',
      summary: 'This interface as an OpenAPI document',
      access: 'open',
      answers: { 200: { description: 'The document.', contentType: 'application/json' } },
      handle(_service, _request, reply) {
        description ??= apiDocument(whole);
        document ??= Buffer.from(JSON.stringify(description));
        return reply.type('application/json; charset=utf-8').send(document);
      },
    },
    {
      method: 'GET',
      path: '/docs',
      summary: 'This interface as a page for people',
      access: 'open',
      answers: { 200: { description: 'The page.', contentType: 'text/html' } },
      handle(_service, _request, reply) {
        description ??= apiDocument(whole);
        page ??= Buffer.from(docsPage(description));
        return sendPage(reply, page);
      },
    },
  ];
  const whole = { ...api, routes: [...api.routes, ...docs] };
  return whole;
}
