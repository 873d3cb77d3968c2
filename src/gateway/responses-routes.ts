import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { givenFields } from '../core/null-fields.ts';
import type { DecodedTurn, Inbound } from '../core/protocol.ts';
import { ownTurn } from '../lib/own-turn.ts';
import { isJsonObject } from '../lib/parse-json.ts';
import { createCompactionInbound } from '../protocols/openai-responses/compaction.ts';
import { compactionTurn } from '../protocols/openai-responses/compaction-turn.ts';
import type { ResponsesOptions } from '../protocols/openai-responses/decode-request.ts';
import { createResponsesInbound } from '../protocols/openai-responses/inbound.ts';
import { parseFields } from '../protocols/parse-body.ts';
import { affinityKeyOf } from './affinity.ts';
import { answeredHeaders, modelsOf } from './answer-head.ts';
import type { BackgroundResponses } from './background-responses.ts';
import type { EventLog } from './event-log.ts';
import { createOpaque } from './opaque-text.ts';
import { listInputItems, readResponsesRequest } from './responses-request.ts';
import type { ResponsesSockets } from './responses-socket.ts';
import type { Routes } from './routes.ts';
import type { StoredResponses } from './stored-responses.ts';
import { countInputTokens } from './token-count.ts';

export interface ResponsesRoutesOptions {
  readonly responses: StoredResponses;
  readonly routes: Pick<Routes, 'check'>;
  answerTurn(
    inbound: Inbound<ResponsesOptions>,
    request: FastifyRequest,
    reply: FastifyReply,
    decoded: DecodedTurn<ResponsesOptions>,
  ): Promise<FastifyReply>;
  readonly sockets: ResponsesSockets;
  readonly background: BackgroundResponses;
  /** Lets a client follow events from that number on. */
  follow(
    request: FastifyRequest,
    reply: FastifyReply,
    log: EventLog,
    from: number,
    headers?: Readonly<Record<string, string>>,
  ): Promise<FastifyReply>;
}

type ById = { Params: { id: string } };

export const inputItemsQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().optional(),
  before: z.string().optional(),
});

export const retrieveQuery = z.object({
  stream: z.enum(['true', 'false'], 'must be true or false').optional(),
  starting_after: z.coerce.number().int().min(0).optional(),
});

/** The paths of the Responses dialect. */
export function serveResponses(app: FastifyInstance, options: ResponsesRoutesOptions): void {
  const { responses, sockets, background } = options;
  const clientKey = { config: { access: 'clientKey' } };

  app.post('/v1/responses', clientKey, async (request, reply) => {
    const { clientId } = request;
    const read = await readResponsesRequest(responses, clientId, request.body, request.heldBody);
    request.body = undefined;
    const { asked, decoded, before } = read;
    if (asked.background) {
      const affinityKey = affinityKeyOf(request.headers);
      const run = await background.start({
        ...read,
        clientId,
        affinityKey,
        requestId: request.id,
        held: request.heldBody,
      });
      return run.log
        ? options.follow(request, reply, run.log, 0, run.headers)
        : reply.headers(run.headers).send(run.response);
    }
    const { input } = decoded.options;
    const inbound = createResponsesInbound(
      asked.store === false
        ? undefined
        : (response, { answeredBy }) => {
            // A broken answer is no response to come back to.
            if (response['status'] === 'failed') return;
            const { ancestors, base } = before;
            responses.save(clientId, { response, input, ancestors, base, answeredBy });
          },
    );
    return options.answerTurn(inbound, request, reply, decoded);
  });

  app.route({
    method: 'GET',
    url: '/v1/responses',
    ...clientKey,
    async onRequest(request) {
      if (!request.ws) return;
      checkHandshake(request.headers);
      sockets.checkRoom(request.clientId);
    },
    wsHandler(socket, request) {
      const { clientId } = request;
      const affinityKey = affinityKeyOf(request.headers);
      sockets.accept(socket, { clientId, affinityKey, requestId: request.id, wire: request.raw.socket });
    },
    async handler(_request, reply) {
      const error = {
        message: 'Send requests with POST /v1/responses, or open a WebSocket here.',
        type: 'invalid_request_error',
        param: null,
        code: 'upgrade_required',
      };
      return reply.code(426).header('upgrade', 'websocket').send({ error });
    },
  });

  app.post('/v1/responses/compact', clientKey, async (request, reply) => {
    const { clientId } = request;
    // Clients send what they send to have the conversation answered.
    const ours = { tools: [], tool_choice: 'none', text: null, store: false, stream: false };
    const body = { input: [], ...bodyObject(request.body), ...ours };
    const { asked, decoded, before } = await readResponsesRequest(
      responses,
      clientId,
      body,
      request.heldBody,
    );
    if (asked.background) {
      const reason = 'background: a conversation is compacted while its client waits: leave it out.';
      throw new AppError('invalid_request', reason, { param: 'background' });
    }
    const items = [...before.items, ...decoded.options.input];
    if (items.length === 0) {
      const reason =
        'input: there is nothing to compact: send the conversation, or name the response it ended with.';
      throw new AppError('invalid_request', reason, { param: 'input' });
    }
    // Instructions are for this turn; what the conversation itself holds of rules goes on.
    const isRule = decoded.options.asked.instructions ? 1 : 0;
    const messages = decoded.request.messages.slice(isRule);
    const inbound = createCompactionInbound(items, messages, createOpaque(clientId));
    return options.answerTurn(inbound, request, reply, compactionTurn(decoded));
  });

  app.post('/v1/responses/input_tokens', clientKey, async (request, reply) => {
    const { clientId } = request;
    const given = bodyObject(request.body);
    const body = { model: 'any', input: [], ...given, store: false };
    const { decoded } = await readResponsesRequest(responses, clientId, body, request.heldBody);
    const route = await options.routes.check('model' in given ? decoded.request.model : undefined);
    reply.headers(answeredHeaders(route && modelsOf([route])));
    await ownTurn(request.heldBody?.bytes ?? 0);
    return { object: 'response.input_tokens', input_tokens: countInputTokens(decoded.request) };
  });

  app.get<ById>('/v1/responses/:id', clientKey, async (request, reply) => {
    const { clientId } = request;
    const { id } = request.params;
    const query = parseFields(retrieveQuery, givenFields(request.query));
    const { response, answeredBy } = await background.look(clientId, id);
    const answered = answeredHeaders(answeredBy);
    if (query.stream !== 'true') return reply.headers(answered).send(response);
    const log = background.logOf(clientId, id);
    const from = (query.starting_after ?? -1) + 1;
    if (log === undefined || from < log.first) {
      throw new AppError(
        'invalid_request',
        'stream: the events of this response are not here (any more): retrieve it without "stream". They are kept for a response in the background that was made with "stream": true, by the gateway that makes it, until 5 minutes after its end.',
        { param: 'stream' },
      );
    }
    if (from > log.next) {
      const reason = `starting_after: the last event so far has the number ${log.next - 1}: name one you have got.`;
      throw new AppError('invalid_request', reason, { param: 'starting_after' });
    }
    return options.follow(request, reply, log, from, answered);
  });

  app.delete<ById>('/v1/responses/:id', clientKey, async (request) => {
    const { id } = request.params;
    await background.remove(request.clientId, id);
    return { id, object: 'response', deleted: true };
  });

  app.get<ById>('/v1/responses/:id/input_items', clientKey, async (request) => {
    const { clientId } = request;
    const query = parseFields(inputItemsQuery, givenFields(request.query));
    const { id } = request.params;
    const items = await listInputItems(responses, clientId, id);
    if (query.order === 'desc') items.reverse();
    return pageOf(items, query);
  });

  const bodiless = { config: { ...clientKey.config, takesBody: false } };
  app.post<ById>('/v1/responses/:id/cancel', bodiless, async (request, reply) => {
    const { response, answeredBy } = await background.cancel(request.clientId, request.params.id);
    return reply.headers(answeredHeaders(answeredBy)).send(response);
  });
}

/** What the upgrade itself would refuse, but not in the words of this dialect. */
function checkHandshake(headers: FastifyRequest['headers']): void {
  const key = headers['sec-websocket-key'];
  const version = headers['sec-websocket-version'] ?? '';
  if (typeof key !== 'string' || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw new AppError('invalid_request', 'The header Sec-WebSocket-Key is missing or not a key.');
  }
  if (version !== '13' && version !== '8') {
    throw new AppError('invalid_request', 'The header Sec-WebSocket-Version must be 13.');
  }
}

/** Here everything may be left out; null is as good. */
function bodyObject(body: unknown): Record<string, unknown> {
  if (!isJsonObject(body)) throw new AppError('invalid_request', 'The body must be a JSON object.');
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

function pageOf(
  items: readonly { readonly id: string }[],
  { limit, after, before }: z.infer<typeof inputItemsQuery>,
) {
  const placeOf = (id: string, param: string): number => {
    const place = items.findIndex((item) => item.id === id);
    if (place === -1) {
      throw new AppError('invalid_request', `${param}: "${id}" is none of this response's items.`, { param });
    }
    return place;
  };
  const start = after === undefined ? 0 : placeOf(after, 'after') + 1;
  const end = before === undefined ? items.length : placeOf(before, 'before');
  const page = items.slice(start, Math.min(end, start + limit));
  return {
    object: 'list',
    data: page,
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
    has_more: start + limit < end,
  };
}
