import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { givenFields } from '../../core/null-fields.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import { traceHeadersIn } from '../../lib/telemetry/trace-headers.ts';
import { compactionTurn } from '../../protocols/openai-responses/compaction.ts';
import { createCompactionInbound, createResponsesInbound } from '../../protocols/openai-responses/inbound.ts';
import { responsesRequest } from '../../protocols/openai-responses/schema.ts';
import { parseFields } from '../../protocols/shared/request.ts';
import { countInputTokens } from '../emulation/token-count.ts';
import { answeredHeaders, modelsOf } from '../output/answer-head.ts';
import { answerJson } from '../output/http-answer.ts';
import { responseOf } from '../output/idempotency.ts';
import {
  createOpaque,
  listInputItems,
  needsNothingKept,
  readResponsesRequest,
} from '../responses/responses-request.ts';
import { affinityKeyOf } from '../turn/affinity.ts';
import * as answers from './api-answers.ts';
import { answeredBy, between, endsOf, type GatewayRoute, onceByKey } from './gateway-http.ts';

const inputItemsQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().optional(),
  before: z.string().optional(),
});

export const compactRequest = responsesRequest.partial({ input: true });
export const inputTokensRequest = responsesRequest.partial();

const retrieveQuery = z.object({
  stream: z.enum(['true', 'false'], 'must be true or false').optional(),
  starting_after: z.coerce.number().int().min(0).optional(),
});

type Handle = GatewayRoute['handle'];

const respond: Handle = async (service, request, reply) => {
  const { responses, background } = service;
  const { client } = request;
  const opaque = createOpaque(client.id);
  if (needsNothingKept(request.body, opaque))
    return service.answerTurn(createResponsesInbound({ opaque }), request, reply);
  request.heldBody?.takeText();
  const read = await readResponsesRequest(responses, client.id, request.body, request.heldBody);
  request.body = undefined;
  const { asked, decoded, before } = read;
  if (asked.background) {
    const affinityKey = affinityKeyOf(request.headers);
    const run = await background.start({
      ...read,
      client,
      affinityKey,
      trace: traceHeadersIn(request.headers),
      requestId: request.id,
      held: request.heldBody,
    });
    if (run.log) return service.follow(request, reply, run.log, 0, run.headers);
    if (!request.recorded) return reply.headers(run.headers).send(run.response);
    return answerJson(responseOf(reply, request.recorded), 200, JSON.stringify(run.response), run.headers);
  }
  const { input } = decoded.options;
  const inbound = createResponsesInbound(
    asked.store === false
      ? {}
      : {
          onEnd(response, { answeredBy }) {
            // A broken answer cannot be continued.
            if (response['status'] === 'failed') return;
            const { ancestors, base } = before;
            responses.save(client.id, { response, input, ancestors, base, answeredBy });
          },
        },
  );
  return service.answerTurn(inbound, request, reply, decoded);
};

const compact: Handle = async (service, request, reply) => {
  const { client } = request;
  // Clients send what they send to have the conversation answered.
  const ours = { tools: [], tool_choice: 'none', text: null, store: false, stream: false };
  const body = { input: [], ...bodyObject(request.body), ...ours };
  const { asked, decoded, before } = await readResponsesRequest(
    service.responses,
    client.id,
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
  const inbound = createCompactionInbound(items, messages, createOpaque(client.id));
  return service.answerTurn(inbound, request, reply, compactionTurn(decoded));
};

const countTokens: Handle = async (service, request, reply) => {
  const { client } = request;
  const given = bodyObject(request.body);
  const body = { model: 'any', input: [], ...given, store: false };
  const { decoded } = await readResponsesRequest(service.responses, client.id, body, request.heldBody);
  const route = await service.routes.check('model' in given ? decoded.request.model : undefined, client);
  reply.headers(answeredHeaders(route && modelsOf([{ route }])));
  await ownTurn(request.heldBody?.bytes ?? 0);
  return { object: 'response.input_tokens', input_tokens: countInputTokens(decoded.request) };
};

const retrieve: Handle = async (service, request, reply) => {
  const { background } = service;
  const { client } = request;
  const { id } = request.params;
  const query = parseFields(retrieveQuery, givenFields(request.query));
  const { response, answeredBy } = await background.look(client.id, id);
  const answered = answeredHeaders(answeredBy);
  if (query.stream !== 'true') return reply.headers(answered).send(response);
  const log = background.logOf(client.id, id);
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
  return service.follow(request, reply, log, from, answered);
};

/** The paths of the Responses dialect. */
export const responsesRoutes: readonly GatewayRoute[] = [
  {
    method: 'POST',
    path: '/v1/responses',
    summary: 'OpenAI Responses, streaming and not',
    description:
      'A response is kept for the key that made it (RESPONSES_TTL_HOURS), unless "store" is false. With "stream": true the ' +
      'answer comes as server-sent events. With "background": true the answer is the response as queued.',
    access: 'clientKey',
    body: responsesRequest,
    answers: {
      200: {
        description: 'The response, or its stream of events.',
        headers: answeredBy,
        body: answers.responseAnswer,
        contentType: 'text/event-stream',
      },
    },
    handle: onceByKey(respond),
  },
  {
    method: 'GET',
    path: '/v1/responses',
    summary: 'A WebSocket for one request after another',
    description:
      'Messages are the bodies of POST /v1/responses with "type": "response.create"; each event comes as a text frame. ' +
      'What is not stored can be continued on the same connection. It lasts 60 minutes at most.',
    access: 'clientKey',
    answers: { 426: { description: 'No upgrade was asked for.', body: answers.errorAnswer } },
    async handle(_service, _request, reply) {
      const error = {
        message: 'Send requests with POST /v1/responses, or open a WebSocket here.',
        type: 'invalid_request_error',
        param: null,
        code: 'upgrade_required',
      };
      return reply.header('upgrade', 'websocket').send({ error });
    },
    socket: {
      check({ sockets }, { headers, client }) {
        checkHandshake(headers);
        sockets.checkRoom(client.id);
      },
      accept({ sockets }, socket, { client, headers, id, raw }) {
        const affinityKey = affinityKeyOf(headers);
        const trace = traceHeadersIn(headers);
        sockets.accept(socket, { client, affinityKey, trace, requestId: id, wire: raw.socket });
      },
    },
  },
  {
    method: 'POST',
    path: '/v1/responses/compact',
    summary: 'A conversation made short by the model, to go on from',
    description:
      'The output is the input of the next request: all messages of the user, and an item with a summary that only this ' +
      'gateway can read, for the same key.',
    access: 'clientKey',
    body: compactRequest,
    answers: {
      200: {
        description: 'The compacted conversation.',
        headers: answeredBy,
        body: answers.compactedAnswer,
      },
    },
    handle: compact,
  },
  {
    method: 'POST',
    path: '/v1/responses/input_tokens',
    summary: 'The tokens of a request, counted with o200k_base and without a turn',
    access: 'clientKey',
    body: inputTokensRequest,
    answers: { 200: { description: 'The count.', body: answers.inputTokenCount } },
    handle: countTokens,
  },
  {
    method: 'GET',
    path: '/v1/responses/{id}',
    summary: 'A stored response, as it is now',
    description:
      'With "stream" the events of a response that was made in the background and streamed, from the one after "starting_after".',
    access: 'clientKey',
    query: retrieveQuery,
    answers: {
      200: { description: 'The response.', headers: answeredBy, body: answers.responseAnswer },
    },
    handle: retrieve,
  },
  {
    method: 'DELETE',
    path: '/v1/responses/{id}',
    summary: 'Forgets a stored response',
    access: 'clientKey',
    answers: { 200: { description: 'It is gone.', body: answers.deletedResponse } },
    async handle({ background }, { client, params: { id } }) {
      await background.remove(client.id, id);
      return { id, object: 'response', deleted: true };
    },
  },
  {
    method: 'GET',
    path: '/v1/responses/{id}/input_items',
    summary: 'What a stored response was made from, history included',
    access: 'clientKey',
    query: inputItemsQuery,
    answers: { 200: { description: 'A page of items.', body: answers.inputItems } },
    async handle({ responses }, { client, params, query }) {
      const fields = parseFields(inputItemsQuery, givenFields(query));
      const items = await listInputItems(responses, client.id, params.id);
      if (fields.order === 'desc') items.reverse();
      return pageOf(items, fields);
    },
  },
  {
    method: 'POST',
    path: '/v1/responses/{id}/cancel',
    summary: 'Ends a response in the background; any other one is refused',
    access: 'clientKey',
    takesBody: false,
    answers: { 200: { description: 'What became of it.', body: answers.responseAnswer } },
    async handle({ background }, { client, params }, reply) {
      const { response, answeredBy: models } = await background.cancel(client.id, params.id);
      return reply.headers(answeredHeaders(models)).send(response);
    },
  },
];

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
  const fault = (id: string) => `"${id}" is none of this response's items.`;
  const range = between(items, ['after', after], ['before', before], fault);
  const page = range.slice(0, limit);
  return {
    object: 'list',
    data: page,
    ...endsOf(page),
    has_more: page.length < range.length,
  };
}
