import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import type { DecodedTurn, Inbound } from '../core/protocol.ts';
import {
  decodeResponsesRequest,
  parseResponsesRequest,
  type ResponsesOptions,
} from '../protocols/openai-responses/decode-request.ts';
import { createResponsesInbound } from '../protocols/openai-responses/inbound.ts';
import type { ClientKeys } from './keys.ts';
import type { StoredResponses } from './stored-responses.ts';

export interface ResponsesRoutesOptions {
  readonly keys: ClientKeys;
  readonly responses: StoredResponses;
  answerTurn(
    inbound: Inbound<ResponsesOptions>,
    request: FastifyRequest,
    reply: FastifyReply,
    decoded: DecodedTurn<ResponsesOptions>,
  ): Promise<FastifyReply>;
}

type ById = { Params: { id: string } };

export const inputItemsQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().optional(),
});

/** The paths of the Responses dialect. */
export function serveResponses(app: FastifyInstance, options: ResponsesRoutesOptions): void {
  const { keys, responses } = options;

  app.post('/v1/responses', async (request, reply) => {
    const clientId = keys.identify(request.headers);
    const asked = parseResponsesRequest(request.body);
    const history = asked.previous_response_id
      ? await responses.itemsUpTo(clientId, asked.previous_response_id)
      : [];
    const decoded = decodeResponsesRequest(asked, history);
    const { input } = decoded.options;
    const inbound = createResponsesInbound(
      asked.store === false
        ? undefined
        : (response) => responses.save(clientId, { response, input, history }),
    );
    return options.answerTurn(inbound, request, reply, decoded);
  });

  // Clients that would rather use a WebSocket come here first, and go on over HTTP when they are told so.
  app.get('/v1/responses', async (request, reply) => {
    keys.identify(request.headers);
    const error = { message: 'Responses are answered over HTTP: use POST /v1/responses.', param: null };
    return reply
      .code(426)
      .header('upgrade', 'HTTP/1.1')
      .send({ error: { ...error, type: 'invalid_request_error', code: 'upgrade_required' } });
  });

  app.get<ById>('/v1/responses/:id', async (request) => {
    const { response } = await responses.get(keys.identify(request.headers), request.params.id);
    return response;
  });

  app.delete<ById>('/v1/responses/:id', async (request) => {
    const { id } = request.params;
    await responses.remove(keys.identify(request.headers), id);
    return { id, object: 'response', deleted: true };
  });

  app.get<ById>('/v1/responses/:id/input_items', async (request) => {
    const clientId = keys.identify(request.headers);
    const query = inputItemsQuery.safeParse(request.query);
    if (!query.success) {
      const param = query.error.issues[0]?.path.join('.') ?? 'query';
      throw new AppError('invalid_request', `${param}: ${query.error.issues[0]?.message ?? 'is not valid'}`, {
        param,
      });
    }
    const { id } = request.params;
    const { input, history } = await responses.get(clientId, id);
    const { limit, order, after } = query.data;
    const items = [...history, ...input].map((item, index) => ({
      id: `item_${id.replace(/^resp_/, '')}${index}`,
      type: 'message',
      ...item,
    }));
    if (order === 'desc') items.reverse();
    const start = after === undefined ? 0 : items.findIndex((item) => item.id === after) + 1;
    const page = items.slice(start, start + limit);
    return {
      object: 'list',
      data: page,
      first_id: page[0]?.id ?? null,
      last_id: page.at(-1)?.id ?? null,
      has_more: start + limit < items.length,
    };
  });

  app.post<ById>('/v1/responses/:id/cancel', async (request) => {
    await responses.get(keys.identify(request.headers), request.params.id);
    throw new AppError(
      'invalid_request',
      'Only responses that run in the background can be cancelled; close the connection to end this one.',
    );
  });
}
