import type { FastifyInstance, FastifyRequest } from 'fastify';
import { adviseOnPath } from '../../core/path-advice.ts';
import type { ServiceFacts } from '../../core/shown-settings.ts';
import { serveApi } from '../../lib/api/api-routes.ts';
import { EventStreams } from '../../lib/api/event-streams.ts';
import type { BodyBudget } from '../../lib/http/body-budget.ts';
import { createWrongKeyLog, shownKeys } from '../../lib/http/callers.ts';
import { createHttpServer } from '../../lib/http/http-server.ts';
import { SignIn } from '../../lib/http/sign-in.ts';
import { createDiskHealth } from '../../lib/log/disk-health.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { recordCallSpans } from '../../lib/telemetry/call-spans.ts';
import type { Telemetry } from '../../lib/telemetry/telemetry.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Caller } from '../base/basics.ts';
import { logFailure } from '../base/failures.ts';
import type { PoolService } from '../create-pool.ts';
import { errorBody, poolErrorFrom, strangersBody } from './answers.ts';
import { createIdentify, type PoolKeys } from './keys.ts';
import { poolApi } from './routes.ts';

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
  /** What the owner is shown of this process and its settings. */
  readonly facts: () => Promise<ServiceFacts>;
  readonly telemetry?: Telemetry | undefined;
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
/** Codes with a status of 500 or more that are no fault of the service. */
const expectedCodes: ReadonlySet<string> = new Set(['no_account_available', 'overloaded', 'shutting_down']);

/**
 * The pool's HTTP face, ready for `listen`. Closing it ends the event streams and the waits, not the pool itself.
 */
export function createPoolServer(options: PoolServerOptions): FastifyInstance {
  const { pool, logger, allowedHosts } = options;
  const onWrongKey = createWrongKeyLog(logger, pool.clock);
  const identify = createIdentify({ onWrongKey, ...options });
  const { adminKey } = options;
  const signIn = new SignIn({
    keys: adminKey === undefined ? [] : [adminKey],
    clock: pool.clock,
    onWrongKey,
  });
  const callerOf = (request: FastifyRequest): Caller => {
    const { headers, url } = signIn.withKey(request);
    return identify(shownKeys(headers, url));
  };
  const app = createHttpServer({
    logger,
    bodyLimitBytes,
    bodies: options.bodies,
    callers: { allowedHosts, keysSetting: 'ADMIN_KEY' },
    access: {
      poolKey(request) {
        request.keyHolder = callerOf(request);
        return request.keyHolder.keyId;
      },
      adminKey(request) {
        request.keyHolder = callerOf(request);
        if (request.keyHolder.role === 'admin') return request.keyHolder.keyId;
        throw new PoolError(
          'forbidden',
          'This needs the admin key; the key given may only borrow, return and report.',
        );
      },
    },
    adviseOnPath: (path, address) =>
      adviseOnPath(path, 'pool', { pool: address, gateway: gatewayAddress(address) }).advice,
    encodeUnreadable: (fault) => JSON.stringify(errorBody(poolErrorFrom(fault))),
  });
  const gatewayAddress = (address: string): string | undefined => options.gatewayAddress?.(address);
  const streams = new EventStreams(pool.events, pool.clock, callerOf, options.mostStreamsOfKey);

  app.setErrorHandler((thrown, request, reply) => {
    // The owner sends credentials, which no answer repeats.
    const isOwner = request.keyHolder?.role === 'admin';
    const error = pool.secrets.clean(
      poolErrorFrom(thrown, request.routeOptions.config.access === 'adminKey'),
      () => request.url + (isOwner ? '' : JSON.stringify(request.body ?? '')),
    );
    if (error.status >= 500 && !expectedCodes.has(error.code)) {
      logFailure(logger, error, 'a request failed', { err: error.cause ?? error, requestId: request.id });
    }
    if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1000));
    const isStray = request.is404 && isOfGateway(request.url);
    const body = isStray ? strangersBody(error) : errorBody(error);
    return reply.status(error.status).send(body);
  });
  app.addHook('preClose', async () => {
    pool.stopAccepting();
    streams.close();
  });

  app.decorateRequest('keyHolder');
  app.addHook('onRequest', async ({ query }) => {
    // A key may be shown there; routes that know all their fields would refuse it.
    if (typeof query === 'object' && query !== null && 'key' in query) delete query.key;
  });
  if (options.telemetry) recordCallSpans(app, options.telemetry, pool.clock);
  const disks = createDiskHealth(options.folders ?? [], logger);
  serveApi(app, poolApi, { pool, signIn, identify, streams, disks, gatewayAddress, facts: options.facts });
  return app;
}

/** Whether a path of no route is one of the gateway's, or nearly so. */
function isOfGateway(url: string): boolean {
  const [path = ''] = url.split('?', 1);
  return adviseOnPath(path, 'pool', { gateway: undefined, pool: undefined }).dialect !== undefined;
}
