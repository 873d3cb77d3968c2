import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Delivery, deliveries } from '../../core/configured-routes.ts';
import { AppError, refused } from '../../core/errors.ts';
import { adviseOnPath, type ServicePlaces } from '../../core/path-advice.ts';
import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { ServiceFacts } from '../../core/shown-settings.ts';
import { serveApi } from '../../lib/api/api-routes.ts';
import { EventStreams } from '../../lib/api/event-streams.ts';
import type { BodyBudget } from '../../lib/http/body-budget.ts';
import { createWrongKeyLog } from '../../lib/http/callers.ts';
import { createHttpServer } from '../../lib/http/http-server.ts';
import { pathOf } from '../../lib/http/served-routes.ts';
import { SignIn } from '../../lib/http/sign-in.ts';
import { createDiskHealth } from '../../lib/log/disk-health.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { collectGarbage } from '../../lib/process/own-turn.ts';
import type { Telemetry } from '../../lib/telemetry/telemetry.ts';
import { traceHeadersIn } from '../../lib/telemetry/trace-headers.ts';
import type { Pool } from '../../pool-api/pool.ts';
import { type ClientKey, ClientKeys } from '../keys/client-key.ts';
import type { ManagedKeys } from '../keys/managed-keys.ts';
import { OperatorAccess } from '../keys/operator-access.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import { rateHeaderNames } from '../limits/allowance.ts';
import type { Limits } from '../limits/limits.ts';
import { AnswerHead } from '../output/answer-head.ts';
import { type EventLog, FollowedEvents } from '../output/event-log.ts';
import { PassedAnswer, StreamedAnswer, WholeAnswer } from '../output/http-answer.ts';
import { Idempotency, type RecordedAnswer, responseOf } from '../output/idempotency.ts';
import { BackgroundResponses } from '../responses/background-responses.ts';
import { ResponsesSockets } from '../responses/responses-socket.ts';
import type { StoredResponses } from '../responses/stored-responses.ts';
import type { BufferedStore } from '../state/buffered-store.ts';
import type { StateStore } from '../state/state-store.ts';
import { Admission, type Load, LoadMeter } from '../turn/admission.ts';
import { affinityKeyOf } from '../turn/affinity.ts';
import { appErrorFrom } from '../turn/app-errors.ts';
import { ClientTurns, type TurnDependencies } from '../turn/client-turns.ts';
import { createGatewayMetrics } from '../turn/metrics.ts';
import type { UsageDatabase } from '../usage/ledger.ts';
import { gatewayApi } from './api.ts';
import { decodeTurn } from './decode-turn.ts';
import { endpointPath } from './endpoint-routes.ts';
import type { GatewayHttp } from './gateway-http.ts';
import { geminiCall, withCollection } from './gemini-routes.ts';
import { type HealthSources, healthOf, VerdictLog } from './health.ts';
import type { LiveEvents } from './live-events.ts';
import type { PoolDoor } from './pool-routes.ts';
import { adviceOn, dialectOf, errorDialects, sendError, turnDialect } from './request-dialect.ts';
import { gatewaySettings } from './settings-routes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose turn it is: set before any route runs that takes client keys. */
    client: ClientKey;
    /** Where the answer goes to a request with an Idempotency-Key; set before its turn runs. */
    recorded: RecordedAnswer | undefined;
  }
}

/** What is given to the gateway from outside. */
export interface GatewayServerSettings {
  /** Of the configuration. */
  readonly apiKeys: readonly string[];
  /** Also while there is none: other machines can reach the gateway. */
  readonly isKeyNeeded?: boolean | undefined;
  /** For the bodies and messages of all clients. */
  readonly bodies: BodyBudget;
  readonly isPoolInside: boolean;
  /** Where the pool answers, if it does and that is known, by the address a client has for the gateway. */
  readonly poolAddress?: ((gatewayAddress: string) => string | undefined) | undefined;
  readonly configWatch?: HealthSources['configWatch'];
  /** Opens `/metrics`; unset: any client of the gateway may read them. */
  readonly adminKey: string | undefined;
  readonly poolDoor: PoolDoor;
  readonly allowedHosts: readonly string[] | null;
  /** Web pages and apps that may call and read the answers; without any there are no CORS headers. */
  readonly corsOrigins?: readonly string[];
  /** How long running turns may go on once the server closes. */
  readonly shutdownMs: number;
  /** What the owner is shown of this process and its settings. */
  readonly facts: () => Promise<ServiceFacts>;
  /** Where this process writes. */
  readonly folders?: readonly string[];
  /** How hard the process has to work; absent: it is measured. */
  readonly readLoad?: () => Load;
  /** Absent: neither traces nor metrics are sent. */
  readonly telemetry?: Telemetry | undefined;
  readonly logger: Logger;
}

export interface GatewayServerOptions extends GatewayServerSettings {
  readonly dependencies: TurnDependencies;
  readonly managedKeys: ManagedKeys;
  /** Whose accounts a key may be for. */
  readonly providerNames: readonly string[];
  readonly limits: Pick<Limits, 'keyOf' | 'reserve' | 'refused' | 'passed' | 'uses'>;
  readonly poolWatch: PoolWatch;
  readonly pool: Pick<Pool, 'eligible'>;
  readonly responses: StoredResponses;
  /** What may expire or be lost. */
  readonly store: StateStore;
  readonly keep: Pick<BufferedStore, 'figures' | 'failures'>;
  readonly database: HealthSources['database'];
  readonly usage: UsageDatabase;
  readonly live: Pick<LiveEvents, 'feed'>;
}

const bodyLimitBytes = 32 * 1024 * 1024;
const tickMs = 500;
/** Admin pages that are open at the same time. */
const mostPages = 50;
const deliveryHeader = 'x-warp2api-delivery';
/** Turns of these may go to an upstream of the client's own dialect as they came. */
const relayedPaths = /^\/v1\/(chat\/completions|messages(\/count_tokens)?|responses)$/;
/** What a web page may read of an answer's headers. */
const exposedHeaders = [
  'x-request-id',
  'request-id',
  'retry-after',
  'x-should-retry',
  'x-warp2api-model',
  'x-warp2api-route',
  'x-warp2api-ignored',
  'x-warp2api-usage',
  'x-warp2api-credits',
  'x-warp2api-cost-cents',
  'x-warp2api-run-url',
  'idempotent-replayed',
  ...rateHeaderNames,
];

/** The gateway's HTTP face. `close` lets running turns end until the deadline, then ends them with an error. */
export function createGatewayServer(options: GatewayServerOptions): FastifyInstance {
  const { dependencies, poolWatch, logger, apiKeys, managedKeys } = options;
  const disks = createDiskHealth(options.folders ?? [], logger);
  const { clock, listening, running } = dependencies;
  const onWrongKey = createWrongKeyLog(logger, clock);
  const keys = new ClientKeys({
    ...options,
    keys: apiKeys,
    managed: managedKeys,
    onWrongKey,
  });
  const operator = new OperatorAccess({ ...options, managed: managedKeys, onWrongKey });
  const pageKeys = options.adminKey === undefined ? apiKeys : [options.adminKey];
  const signIn = new SignIn({ keys: pageKeys, clock, onWrongKey });
  const checkOperator = (request: FastifyRequest) => operator.check(request, signIn.withKey(request));
  const app = createHttpServer({
    logger,
    takesWebSockets: true,
    bodyLimitBytes,
    bodies: options.bodies,
    callers: {
      allowedHosts: options.allowedHosts,
      keysSetting: 'API_KEYS',
      cors: { origins: options.corsOrigins ?? [], exposedHeaders },
    },
    access: {
      clientKey(request) {
        request.client = keys.identify(request);
        return request.client.id;
      },
      adminKey: checkOperator,
      strictAdminKey: (request) => operator.checkStrictly(request, signIn.withKey(request)),
    },
    rewriteUrl: ({ url = '' }) => withCollection(url),
    keepsText: (url) => {
      const path = pathOf(url);
      return relayedPaths.test(path) || endpointPath.test(path) || geminiCall.test(path);
    },
    // A client whose key and base URL are both wrong hears of the key first.
    accessToUnknown: (path) => (/^\/v1(beta|alpha)?\//.test(path) ? 'clientKey' : 'open'),
    adviseOnPath: (path, address) => adviseOnPath(path, 'gateway', placesFrom(address)).advice,
    encodeUnreadable: (fault, path, requestId) =>
      errorDialects[adviceOn(path).dialect ?? 'openai'].encodeError(appErrorFrom(fault), requestId),
  });

  const placesFrom = (address: string): ServicePlaces => ({
    gateway: address,
    pool: options.poolAddress?.(address),
  });

  const meter = new LoadMeter();
  const admission = new Admission(options.readLoad ?? meter.read, collectGarbage, logger);
  const health = () => healthOf({ ...options, disks, admission, isStopping: clientTurns.isClosing });
  const metrics = createGatewayMetrics({
    admission,
    limits: options.limits,
    turns: () => running.count,
    waiting: () => dependencies.leases.waiting,
    streams: () => running.streamCount,
    leases: () => dependencies.leases.held.accounts.length,
    bodyBytes: () => options.bodies.heldBytes,
    isPoolReachable: () => poolWatch.isReachable,
    isDatabaseReachable: () => options.database.isReachable,
    health,
    providers: () => dependencies.reach.all,
    openCircuits: () => dependencies.circuits.open,
    keep: options.keep,
    ledger: dependencies.ledger,
    records: dependencies.records,
    telemetry: options.telemetry,
  });
  const clientTurns = new ClientTurns(dependencies, metrics, admission, options.limits);
  const { responses, bodies } = options;
  const parts = { ...dependencies, clientTurns, responses, bodies, keys };
  const sockets = new ResponsesSockets(parts);
  const background = new BackgroundResponses(parts);
  const idempotency = new Idempotency({
    store: options.store,
    isShared: () => options.keep.figures().store === 'postgres',
    running,
    clock,
    logger,
    now: () => listening.now(),
  });

  const verdicts = new VerdictLog(logger);
  const streams = new EventStreams(options.live.feed, clock, checkOperator, mostPages);
  let cancelTick = clock.after(tickMs, tickSoon);
  /** After a pause of this process timers come before what arrived meanwhile, which ends the silence of an upstream. */
  function tickSoon(): void {
    const soon = setImmediate(tick);
    cancelTick = () => clearImmediate(soon);
  }
  function tick(): void {
    const now = listening.tick();
    verdicts.note(dependencies.routes.judge());
    running.tick(now);
    admission.tick();
    cancelTick = clock.after(tickMs, tickSoon);
  }

  app.decorateRequest('client');
  app.decorateRequest('recorded', undefined);

  app.setErrorHandler((error, request, reply) => {
    const known = appErrorFrom(error);
    if (known.code === 'internal')
      request.log.error({ err: error, request_id: request.id }, 'a request failed');
    noteRefusal(request, known);
    sendError(reply, dialectOf(request), known, request.id);
  });

  /** Of a client whose key is known; others could fill the ledger. */
  function noteRefusal(request: FastifyRequest, error: AppError): void {
    const { id: requestId, client, body } = request;
    const dialect = turnDialect(request);
    if (!client || dialect === undefined) return;
    const { model, stream } = (body ?? {}) as { readonly model?: unknown; readonly stream?: unknown };
    clientTurns.refused({
      client,
      requestId,
      dialect,
      model: typeof model === 'string' ? model : undefined,
      isStream: stream === true,
      status: dialectOf(request).errorStatus(error),
      error,
    });
  }

  const service: GatewayHttp = {
    ...dependencies,
    ...options,
    usage: { database: options.usage, now: clock.now },
    signIn,
    explaining: { ...dependencies, pool: options.pool },
    streams,
    sockets,
    background,
    idempotency,
    answerTurn,
    follow,
    health,
    settings: async () => gatewaySettings(await options.facts(), options),
    metrics: metrics.text,
    poolAddress: (address) => options.poolAddress?.(address),
  };
  serveApi(app, gatewayApi, service, {
    // A frame that is not UTF-8 is answered like any other that cannot be read, by `readMessage`.
    options: { maxPayload: bodyLimitBytes, skipUTF8Validation: true },
    // A client that breaks off closes its socket, and that is dealt with.
    errorHandler: (_error, socket) => socket.terminate(),
    // They are closed below, after their turns.
    preClose: (done) => done(),
  });

  async function answerTurn<Options extends { readonly includeUsage: boolean }>(
    inbound: Inbound<Options>,
    request: FastifyRequest,
    reply: FastifyReply,
    given?: DecodedTurn<Options>,
  ): Promise<FastifyReply> {
    // Its body may have taken its time.
    const client = keys.renewed(request.client);
    request.client = client;
    const decoding = given ? { decoded: given } : decodeTurn(dependencies.routes, inbound, request);
    const { decoded, plan } = decoding instanceof Promise ? await decoding : decoding;
    const { recorded, id: requestId } = request;
    const admitted = clientTurns.admit({
      protocol: inbound.name,
      decoded,
      client,
      affinityKey: affinityKeyOf(request.headers),
      requestId,
      isOwnId: request.headers['x-request-id'] !== requestId,
      bytes: request.heldBody?.bytes ?? 0,
      wantsUsage: !decoded.isStream || decoded.options.includeUsage,
      delivery: deliveryIn(request.headers),
      plan,
    });
    const turn = clientTurns.begin(admitted instanceof Promise ? await admitted : admitted, {
      by: 'http',
      method: request.method,
      path: request.routeOptions.url ?? pathOf(request.url),
      trace: traceHeadersIn(request.headers),
    });
    // What was made of it is enough.
    request.body = undefined;
    if (!recorded) reply.hijack();
    const Answer = inbound.passesBytes ? PassedAnswer : decoded.isStream ? StreamedAnswer : WholeAnswer;
    const answer = new Answer({
      running,
      clientId: client.id,
      signal: turn.signal,
      response: responseOf(reply, recorded),
      inbound,
      decoded,
      head: new AnswerHead(inbound, turn, clock.now),
      now: listening.now,
    });
    // It may have been revoked meanwhile; from here on that ends the turn.
    const fault = keys.faultOf(client);
    if (fault) answer.abort(fault);
    try {
      const runs = answer.choices.map((choice) => clientTurns.run(turn, choice));
      const errors = runs.length === 1 ? [await runs[0]] : await Promise.all(runs);
      if (recorded) recorded.error = errors.find((error) => error !== undefined);
    } catch (error) {
      logger.error({ err: error, request_id: request.id }, 'a turn failed outside its own rules');
      answer.break(AppError.from(error));
    } finally {
      answer.end();
    }
    return reply;
  }

  function follow(
    request: FastifyRequest,
    reply: FastifyReply,
    log: EventLog,
    from: number,
    headers: Readonly<Record<string, string>> = {},
  ): FastifyReply {
    const { recorded } = request;
    if (!recorded) reply.hijack();
    const clientId = request.client.id;
    const options = { running, clientId, response: responseOf(reply, recorded), now: listening.now };
    new FollowedEvents(options, log, from, { 'x-request-id': request.id, ...headers });
    return reply;
  }

  app.addHook('preClose', async () => {
    clientTurns.close();
    sockets.close();
    streams.close();
    await running.drain(options.shutdownMs);
    await idempotency.close();
    cancelTick();
    meter.close();
  });

  return app;
}

/** How a client wants its answer delivered. Throws AppError. */
function deliveryIn(headers: FastifyRequest['headers']): Delivery | undefined {
  const given = headers[deliveryHeader];
  if (given === undefined) return undefined;
  const known = deliveries.find((delivery) => delivery === given);
  if (known) return known;
  throw refused(deliveryHeader, `must be one of ${deliveries.join(', ')}`);
}
