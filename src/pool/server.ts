import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { adviseOnPath, type ServicePlaces } from '../core/path-advice.ts';
import { serveApiDocs } from '../lib/api-docs-routes.ts';
import type { BodyBudget } from '../lib/body-budget.ts';
import { createDiskHealth, logFault } from '../lib/disk-health.ts';
import { commonLinks, serveFrontPage } from '../lib/front-page.ts';
import { createHttpServer } from '../lib/http-server.ts';
import type { Logger } from '../lib/logger.ts';
import { metricsType } from '../lib/metrics.ts';
import { shownKeys } from '../lib/shown-keys.ts';
import { createWrongKeyLog } from '../lib/wrong-keys.ts';
import { PoolError } from '../pool-api/errors.ts';
import type { PoolHealth } from '../pool-api/pool.ts';
import { judgePool, storeFaults } from '../pool-api/readiness.ts';
import { poolApi } from './api.ts';
import type { PoolService } from './create-pool.ts';
import { streamEvents } from './event-stream.ts';
import { createIdentify, type Identify, type PoolKeys } from './keys.ts';
import type { Caller } from './pool-context.ts';
import { errorBody, levelOf, poolErrorFrom, strangersBody } from './server-errors.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller by its key: set before any route runs that needs one. */
    keyHolder: Caller;
  }
}

export interface PoolServerOptions extends PoolKeys {
  readonly pool: PoolService;
  readonly bodies: BodyBudget;
  readonly logger: Logger;
  /** Folders that this process writes to. */
  readonly folders?: readonly string[];
  /** Names a request's Host and Origin may carry besides the loopback ones; null switches the check off. */
  readonly allowedHosts: readonly string[] | null;
  /** Where the gateway answers, if that is known, by the address a client has for the pool. */
  readonly gatewayAddress?: (poolAddress: string) => string | undefined;
  /** Fewer streams of events than usual, for tests. */
  readonly mostStreamsOfKey?: number;
}

/** The size of the largest valid requests: a thousand reports, ten thousand leases given back. */
const bodyLimitBytes = 1024 * 1024;
/** A thousand models of an account, or a thousand accounts to leave out. */
const listLimitBytes = 512 * 1024;
/** A few short fields. */
const smallLimitBytes = 16 * 1024;
const programDocs = 'docs/pool.md, beside this program';
/** Codes with a status of 500 or more that are no fault of the service. */
const expectedCodes: ReadonlySet<string> = new Set(['no_account_available', 'overloaded', 'shutting_down']);
/** Streams of events for each key: a gateway or program needs one. */
const mostStreamsOfKey = 500;
/** A sealed export of some ten thousand accounts. */
const importLimitBytes = 16 * 1024 * 1024;

/**
 * The pool's HTTP face, ready for `listen`. Closing it ends the event streams and the waits, not the pool itself.
 */
export function createPoolServer(options: PoolServerOptions): FastifyInstance {
  const { pool, logger, allowedHosts } = options;
  const disks = createDiskHealth(options.folders ?? [], logger);
  const identify = createIdentify({ onWrongKey: createWrongKeyLog(logger, pool.clock), ...options });
  const app = createHttpServer({
    logger,
    bodyLimitBytes,
    bodies: options.bodies,
    callers: { allowedHosts, keysSetting: 'ADMIN_KEY' },
    access: {
      poolKey(request) {
        request.keyHolder = identify(shownKeys(request.headers, request.url));
        return request.keyHolder.keyId;
      },
      adminKey(request) {
        request.keyHolder = identify(shownKeys(request.headers, request.url));
        if (request.keyHolder.role === 'admin') return request.keyHolder.keyId;
        throw new PoolError(
          'forbidden',
          'This needs the admin key; the key given may only borrow, return and report.',
        );
      },
    },
    adviseOnPath: (path, address) => adviseOnPath(path, 'pool', placesFrom(address)).advice,
    encodeUnreadable: (fault) => JSON.stringify(errorBody(poolErrorFrom(fault))),
  });
  const placesFrom = (address: string): ServicePlaces => ({
    pool: address,
    gateway: options.gatewayAddress?.(address),
  });
  /** By the function that ends a stream of events, the key it was opened with. */
  const openStreams = new Map<() => void, string>();

  app.setErrorHandler((thrown, request, reply) => {
    // The owner sends credentials, which no answer repeats.
    const isOwner = request.keyHolder?.role === 'admin';
    const error = pool.secrets.clean(
      poolErrorFrom(thrown, request.routeOptions.config.access === 'adminKey'),
      () => request.url + (isOwner ? '' : JSON.stringify(request.body ?? '')),
    );
    if (error.status >= 500 && !expectedCodes.has(error.code)) {
      logger[levelOf(error)]({ err: error.cause ?? error, requestId: request.id }, 'a request failed');
    }
    if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1000));
    const isStray = request.is404 && isOfGateway(request.url.split('?', 1)[0] ?? '');
    const body = isStray ? strangersBody(error) : errorBody(error);
    return reply.status(error.status).send(body);
  });
  app.addHook('preClose', async () => {
    pool.stopAccepting();
    for (const end of openStreams.keys()) end();
  });

  app.decorateRequest('keyHolder');
  app.addHook('onRequest', async ({ query }) => {
    // A key may be shown there; routes that know all their fields would refuse it.
    if (typeof query === 'object' && query !== null && 'key' in query) delete query.key;
  });
  const open = { config: { access: 'open' } };
  const poolKey = { config: { access: 'poolKey' } };
  const adminKey = { config: { access: 'adminKey' } };

  app.get('/health', open, async ({ headers, url }) => {
    const caller = whoIs(identify, shownKeys(headers, url));
    const health = await pool.health(caller === 'gateway');
    const { isSandbox, providers, accounts, gatewayOnly } = health;
    const { log, disk } = disks();
    const isWritable = health.isReadOnly !== true;
    const reasons = [...faultsOf(health), ...(log.writable ? [] : [logFault])];
    return {
      status: reasons.length === 0 ? 'ok' : 'degraded',
      ...(reasons.length > 0 && { reason: reasons.join(' ') }),
      sandbox: isSandbox,
      ...(providers && { providers }),
      ...(caller !== 'unknown' && accounts && { accounts }),
      caller,
      ...((caller === 'borrower' || caller === 'admin') && { gateway_only_accounts: gatewayOnly }),
      store: { reachable: health.lacksStore !== true, writable: isWritable },
      log,
      disk,
      version: pool.version,
    };
  });
  app.get('/api/accounts/status', adminKey, () => pool.status());
  app.post('/api/accounts/allocate', { ...poolKey, bodyLimit: listLimitBytes }, (request, reply) =>
    allocate(pool, request.keyHolder, request, reply),
  );
  app.post('/api/accounts/release', poolKey, (request) => pool.release(request.keyHolder, request.body));
  app.post('/api/accounts/report', poolKey, (request) => pool.report(request.keyHolder, request.body));
  app.post('/api/accounts/replenish', { ...adminKey, bodyLimit: smallLimitBytes }, (request) =>
    pool.replenish(request.keyHolder, request.body),
  );
  app.post('/api/accounts/refresh-tokens', { ...adminKey, bodyLimit: smallLimitBytes }, (request) =>
    pool.refreshTokens(request.keyHolder, request.body),
  );

  app.post('/api/accounts/import', { ...adminKey, bodyLimit: importLimitBytes }, (request) =>
    pool.importAccounts(request.keyHolder, request.body),
  );
  app.post('/api/accounts/export', { ...adminKey, bodyLimit: smallLimitBytes }, async (request, reply) => {
    const sealed = await pool.exportAccounts(request.keyHolder, request.body);
    return reply
      .type('text/plain; charset=utf-8')
      .header('cache-control', 'no-store')
      .send(Readable.from(sealed));
  });

  app.get('/api/accounts', adminKey, (request) => pool.list(request.query));
  app.post('/api/accounts', { ...adminKey, bodyLimit: listLimitBytes }, async (request, reply) => {
    const answer = await pool.add(request.keyHolder, request.body);
    return reply.status(201).send(answer);
  });
  app.get<{ Params: { id: string } }>('/api/accounts/:id', adminKey, (request) =>
    pool.get(request.params.id),
  );
  app.patch<{ Params: { id: string } }>(
    '/api/accounts/:id',
    { ...adminKey, bodyLimit: listLimitBytes },
    (request) => pool.change(request.keyHolder, request.params.id, request.body),
  );
  app.delete<{ Params: { id: string } }>('/api/accounts/:id', adminKey, (request) =>
    pool.remove(request.keyHolder, request.params.id),
  );

  app.post('/api/logins', { ...adminKey, bodyLimit: listLimitBytes }, async (request, reply) => {
    const answer = await pool.startLogin(request.keyHolder, request.body);
    return reply.status(201).send(answer);
  });
  app.get<{ Params: { id: string } }>('/api/logins/:id', adminKey, (request) =>
    pool.getLogin(request.params.id),
  );
  app.get('/api/sessions', adminKey, (request) => pool.listSessions(request.query));
  app.get('/api/audit', adminKey, (request) => pool.trail(request.query));
  app.get('/metrics', adminKey, async (_request, reply) => {
    const text = await pool.metrics();
    return reply.type(metricsType).send(text);
  });
  serveApiDocs(app, poolApi);
  serveFrontPage(app, ['/'], {
    name: poolApi.title,
    description: poolApi.description,
    links(address) {
      const gateway = options.gatewayAddress?.(address);
      return {
        status: {
          place: '/api/accounts/status',
          says: 'the accounts in numbers; needs the admin key where one is set',
        },
        ...commonLinks,
        programs: { place: programDocs, says: 'how programs borrow accounts' },
        ...(gateway && {
          gateway: { place: gateway, says: 'the gateway, which answers OpenAI and Anthropic clients' },
        }),
      };
    },
  });
  app.get('/api/events', poolKey, (request, reply) => {
    const { keyId } = request.keyHolder;
    const ofKey = [...openStreams.values()].filter((other) => other === keyId).length;
    if (ofKey >= (options.mostStreamsOfKey ?? mostStreamsOfKey)) throw tooManyStreams();
    reply.hijack();
    const last = request.headers['last-event-id'];
    const end = streamEvents({
      hub: pool.events,
      clock: pool.clock,
      response: reply.raw,
      lastEventId: typeof last === 'string' ? last : undefined,
      headers: { 'x-request-id': request.id },
    });
    openStreams.set(end, keyId);
    reply.raw.once('close', () => openStreams.delete(end));
  });
  return app;
}

/** Lends, unless the client goes away before it has its answer: then all that was added goes back. */
async function allocate(
  pool: PoolService,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const gone = new AbortController();
  let undo: (() => Promise<void>) | undefined;
  reply.raw.once('close', () => {
    if (reply.raw.writableFinished) return;
    gone.abort(new Error('the client has gone'));
    undo?.().catch((error: unknown) => request.log.error({ err: error }, 'leases could not be given back'));
  });
  try {
    const allocation = await pool.allocate(caller, request.body, gone.signal);
    if (gone.signal.aborted) await allocation.undo();
    else undo = allocation.undo;
    return allocation.answer;
  } catch (error) {
    // Nobody reads this any more; without a body there is nothing to fail on.
    if (gone.signal.aborted) return reply.hijack();
    throw error;
  }
}

/** Why the pool cannot lend, each with what to do. */
function faultsOf({ isReachable, isReadOnly, isSandbox, accounts }: PoolHealth): string[] {
  if (!isReachable) return [storeFaults.unreachable];
  const verdict = isSandbox || accounts === undefined ? undefined : judgePool(accounts);
  return [
    ...(isReadOnly ? [storeFaults.readOnly] : []),
    ...(verdict?.isReady === false ? [verdict.reason] : []),
  ];
}

/** For `/health`, by which a caller can check its key. */
function whoIs(identify: Identify, shown: readonly string[]): NonNullable<PoolHealth['caller']> {
  try {
    const { role, isGateway } = identify(shown);
    return isGateway ? 'gateway' : role;
  } catch {
    return 'unknown';
  }
}

function tooManyStreams(): PoolError {
  return new PoolError(
    'overloaded',
    'Too many programs with this key follow the events: open one stream for each program.',
    { retryAfterMs: 10_000 },
  );
}

/** Whether a path of no route is one of the gateway's, or nearly so. */
function isOfGateway(path: string): boolean {
  return adviseOnPath(path, 'pool', { gateway: undefined, pool: undefined }).dialect !== undefined;
}
