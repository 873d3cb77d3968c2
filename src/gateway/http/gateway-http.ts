import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../../core/errors.ts';
import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { ShownSettings } from '../../core/shown-settings.ts';
import type { Route } from '../../lib/api/api-routes.ts';
import type { EventStreams } from '../../lib/api/event-streams.ts';
import type { SessionService } from '../../lib/api/session-routes.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { ManagedKeys } from '../keys/managed-keys.ts';
import type { Limits } from '../limits/limits.ts';
import type { Routes } from '../models/routing.ts';
import type { EventLog } from '../output/event-log.ts';
import type { Idempotency, RecordedAnswer } from '../output/idempotency.ts';
import type { TurnRecords } from '../records/turn-record.ts';
import type { BackgroundResponses } from '../responses/background-responses.ts';
import type { ResponsesSockets } from '../responses/responses-socket.ts';
import type { StoredResponses } from '../responses/stored-responses.ts';
import type { ExplainDependencies } from '../turn/explain.ts';
import type { UsageDatabase } from '../usage/ledger.ts';
import type { HealthSources } from './health.ts';
import type { PoolDoor } from './pool-routes.ts';

/** What the gateway's routes answer from. */
export interface GatewayHttp extends SessionService {
  readonly routes: Routes;
  readonly records: TurnRecords;
  readonly explaining: ExplainDependencies;
  readonly responses: StoredResponses;
  readonly sockets: ResponsesSockets;
  readonly background: BackgroundResponses;
  readonly idempotency: Idempotency;
  readonly managedKeys: ManagedKeys;
  readonly limits: Pick<Limits, 'uses'>;
  readonly usage: { readonly database: UsageDatabase; now(): number };
  readonly poolDoor: PoolDoor;
  readonly streams: EventStreams;
  readonly configWatch?: HealthSources['configWatch'];
  /** Names that `providers` of a key may hold. */
  readonly providerNames: readonly string[];
  readonly logger: Logger;
  /** Runs the turn of a request and answers it. `given`: the turn, where it is decoded already. */
  answerTurn<Options extends { readonly includeUsage: boolean }>(
    inbound: Inbound<Options>,
    request: FastifyRequest,
    reply: FastifyReply,
    given?: DecodedTurn<Options>,
  ): Promise<FastifyReply>;
  /** Lets a client follow events from that number on. */
  follow(
    request: FastifyRequest,
    reply: FastifyReply,
    log: EventLog,
    from: number,
    headers?: Readonly<Record<string, string>>,
  ): FastifyReply;
  health(): object;
  metrics(): Promise<string>;
  settings(): Promise<ShownSettings>;
  /** Where the pool answers, if it does and that is known, by the address a client has for the gateway. */
  poolAddress(gatewayAddress: string): string | undefined;
}

export type GatewayRoute = Route<GatewayHttp>;

/** Of every answer to a turn. */
export const answeredBy = {
  'x-warp2api-model':
    'Provider and model that answered, whatever name the request had; a request for it gets that model again.',
  'x-warp2api-route':
    'Of a turn: who answered, after how many attempts, and what was tried or passed over before. GET /api/turns/{id} has all of it.',
};

/**
 * A turn that runs once however often its request comes, where the request has an Idempotency-Key. `isNumbered`: the events of its
 * stream get ids.
 */
export function onceByKey(handle: GatewayRoute['handle'], isNumbered = true): GatewayRoute['handle'] {
  return (service, request, reply) => {
    if (request.headers['idempotency-key'] === undefined) return handle(service, request, reply);
    const run = async (recorded: RecordedAnswer): Promise<void> => {
      request.recorded = recorded;
      await handle(service, request, reply);
    };
    return service.idempotency.answer(request, reply, run, isNumbered);
  };
}

type Named = { readonly id: string };
/** A parameter of a request, and the item it names, if it is given. */
type Bound = readonly [param: string, id: string | undefined];

/** What lies behind one item and before another. Throws AppError, which says `fault`, for an item that is not there. */
export function between<Item extends Named>(
  items: readonly Item[],
  after: Bound,
  before: Bound,
  fault: (id: string) => string,
): readonly Item[] {
  const placeOf = ([param, id]: Bound): number | undefined => {
    if (id === undefined) return undefined;
    const place = items.findIndex((item) => item.id === id);
    if (place === -1) throw new AppError('invalid_request', `${param}: ${fault(id)}`, { param });
    return place;
  };
  return items.slice((placeOf(after) ?? -1) + 1, placeOf(before));
}

/** How pages of both dialects name their ends. */
export function endsOf(page: readonly Named[]) {
  return { first_id: page[0]?.id ?? null, last_id: page.at(-1)?.id ?? null };
}
