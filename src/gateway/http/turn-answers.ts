import type { FastifyReply, FastifyRequest } from 'fastify';
import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { Route } from '../../lib/api/api-routes.ts';
import type { Idempotency, RecordedAnswer } from '../output/idempotency.ts';

/** What the routes of turns share, whatever their dialect. */

/** Runs the turn of a request and answers it. `given`: the turn, where it is decoded already. */
export type AnswerTurn = <Options extends { readonly includeUsage: boolean }>(
  inbound: Inbound<Options>,
  request: FastifyRequest,
  reply: FastifyReply,
  given?: DecodedTurn<Options>,
) => Promise<FastifyReply>;

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
export function onceByKey<Service extends { readonly idempotency: Idempotency }>(
  handle: Route<Service>['handle'],
  isNumbered = true,
): Route<Service>['handle'] {
  return (service, request, reply) => {
    if (request.headers['idempotency-key'] === undefined) return handle(service, request, reply);
    const run = async (recorded: RecordedAnswer): Promise<void> => {
      request.recorded = recorded;
      await handle(service, request, reply);
    };
    return service.idempotency.answer(request, reply, run, isNumbered);
  };
}
