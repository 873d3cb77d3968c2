import { z } from 'zod';
import { docsRoutes } from '../lib/api-docs-routes.ts';
import type { ApiDescription } from '../lib/api-document.ts';
import { version } from '../lib/version.ts';
import { countRequest, messagesRequest } from '../protocols/anthropic-messages/schema.ts';
import { chatRequest } from '../protocols/openai-chat/schema.ts';
import { responsesRequest } from '../protocols/openai-responses/schema.ts';
import { modelsQuery } from './model-routes.ts';
import { inputItemsQuery, retrieveQuery } from './responses-routes.ts';

/** What the gateway answers, for its document; the end-to-end tests hold real answers against these. */

export const healthAnswer = z.object({
  status: z.enum(['ok', 'degraded']),
  sandbox: z.boolean(),
  version: z.string(),
  pool: z.object({ mode: z.enum(['inside', 'http']), reachable: z.boolean() }),
  keep: z.object({ store: z.enum(['memory', 'sqlite', 'postgres']), reachable: z.boolean() }),
  notice: z.string().optional(),
});

const model = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  display_name: z.string().optional(),
  alias_of: z.string().optional(),
  description: z.string().optional(),
  context_window: z.int().optional(),
  max_model_len: z.int().optional(),
  input_modalities: z.array(z.enum(['text', 'image'])).optional(),
  reasoning_effort: z.string().optional(),
  reasoning_efforts: z.array(z.string()).optional(),
  credit_multiplier: z.number().optional(),
});

export const modelList = z.object({ object: z.literal('list'), data: z.array(model) });

export const chatAnswer = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.object({
              id: z.string(),
              type: z.literal('function'),
              function: z.object({ name: z.string(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: z.null(),
      finish_reason: z.enum(['stop', 'length', 'tool_calls', 'content_filter']),
    }),
  ),
  usage: z
    .object({
      prompt_tokens: z.int(),
      completion_tokens: z.int(),
      total_tokens: z.int(),
      prompt_tokens_details: z.object({ cached_tokens: z.int(), audio_tokens: z.int() }),
      completion_tokens_details: z.object({ reasoning_tokens: z.int(), audio_tokens: z.int() }),
    })
    .optional(),
  system_fingerprint: z.string().optional(),
});

export const messagesAnswer = z.object({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(
    z.discriminatedUnion('type', [
      z.object({ type: z.literal('text'), text: z.string() }),
      z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
      z.object({
        type: z.literal('tool_use'),
        id: z.string(),
        name: z.string(),
        input: z.record(z.string(), z.unknown()),
      }),
    ]),
  ),
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'refusal']),
  stop_sequence: z.string().nullable(),
  usage: z.object({
    input_tokens: z.int(),
    cache_creation_input_tokens: z.int(),
    cache_read_input_tokens: z.int(),
    output_tokens: z.int(),
  }),
});

const outputItem = z.looseObject({
  id: z.string(),
  type: z.enum(['message', 'reasoning', 'function_call', 'custom_tool_call']),
  status: z.enum(['in_progress', 'completed', 'incomplete']),
});

export const responseAnswer = z.object({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
  background: z.boolean(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  max_tool_calls: z.int().nullable(),
  model: z.string(),
  output: z.array(outputItem),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.string().nullable(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.object({ effort: z.string().nullable(), summary: z.string().nullable() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.string(),
  store: z.boolean(),
  temperature: z.number(),
  text: z.looseObject({ format: z.looseObject({ type: z.string() }) }),
  tool_choice: z.unknown(),
  tools: z.array(z.looseObject({ type: z.string() })),
  top_logprobs: z.int(),
  top_p: z.number(),
  presence_penalty: z.number(),
  frequency_penalty: z.number(),
  truncation: z.string(),
  usage: z
    .object({
      input_tokens: z.int(),
      input_tokens_details: z.object({ cached_tokens: z.int() }),
      output_tokens: z.int(),
      output_tokens_details: z.object({ reasoning_tokens: z.int() }),
      total_tokens: z.int(),
    })
    .nullable(),
  user: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
});

const deletedResponse = z.object({ id: z.string(), object: z.literal('response'), deleted: z.literal(true) });
const inputItems = z.object({
  object: z.literal('list'),
  data: z.array(z.looseObject({ id: z.string(), type: z.string() })),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});

const tokenCount = z.object({ input_tokens: z.int() });
export const compactedAnswer = z.object({
  id: z.string(),
  object: z.literal('response.compaction'),
  created_at: z.int(),
  output: z.array(z.looseObject({ id: z.string(), type: z.enum(['message', 'compaction']) })),
  usage: z.object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  }),
});
const inputTokenCount = z.object({ object: z.literal('response.input_tokens'), input_tokens: z.int() });

export const errorAnswer = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

export const gatewayApi: ApiDescription = {
  title: 'Warp2API gateway',
  version,
  description:
    'One OpenAI-compatible endpoint in front of the accounts of the pool. Where no API_KEYS are set, any key or none is taken.',
  keys: {
    clientKey: 'one of API_KEYS',
    adminKey: 'ADMIN_KEY where it is set, else one of API_KEYS',
  },
  routes: [
    {
      method: 'POST',
      path: '/v1/chat/completions',
      summary: 'OpenAI Chat Completions, streaming and not',
      description:
        'Fields that have no effect are named in x-warp2api-ignored; those that would change the meaning and cannot be ' +
        'honoured are refused by name. With "stream": true the answer comes as server-sent events. Where the upstream ' +
        'carries the turn as a run that can be watched, x-warp2api-run-url says where.',
      access: 'clientKey',
      body: { name: 'ChatRequest', schema: chatRequest },
      answers: {
        200: {
          description: 'The answer, or its stream of chunks.',
          body: { name: 'ChatAnswer', schema: chatAnswer },
          contentType: 'text/event-stream',
        },
      },
    },
    {
      method: 'POST',
      path: '/v1/messages',
      summary: 'Anthropic Messages, streaming and not',
      description:
        'Errors have the shape and the statuses of the Anthropic API. With "stream": true the answer comes as server-sent events.',
      access: 'clientKey',
      body: { name: 'MessagesRequest', schema: messagesRequest },
      answers: {
        200: {
          description: 'The answer, or its stream of events.',
          body: { name: 'MessagesAnswer', schema: messagesAnswer },
          contentType: 'text/event-stream',
        },
      },
    },
    {
      method: 'POST',
      path: '/v1/messages/count_tokens',
      summary: 'The tokens of a request, counted with o200k_base and without a turn',
      access: 'clientKey',
      body: { name: 'CountTokensRequest', schema: countRequest },
      answers: { 200: { description: 'The count.', body: { name: 'TokenCount', schema: tokenCount } } },
    },
    {
      method: 'POST',
      path: '/v1/responses',
      summary: 'OpenAI Responses, streaming and not',
      description:
        'A response is kept for the key that made it (RESPONSES_TTL_HOURS), unless "store" is false. With "stream": true the ' +
        'answer comes as server-sent events. With "background": true the answer is the response as queued.',
      access: 'clientKey',
      body: { name: 'ResponsesRequest', schema: responsesRequest },
      answers: {
        200: {
          description: 'The response, or its stream of events.',
          body: { name: 'Response', schema: responseAnswer },
          contentType: 'text/event-stream',
        },
      },
    },
    {
      method: 'GET',
      path: '/v1/responses',
      summary: 'A WebSocket for one request after another',
      description:
        'Messages are the bodies of POST /v1/responses with "type": "response.create"; each event comes as a text frame. ' +
        'What is not stored can be continued on the same connection. It lasts 60 minutes at most.',
      access: 'clientKey',
      answers: {
        426: { description: 'No upgrade was asked for.', body: { name: 'ErrorAnswer', schema: errorAnswer } },
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
      body: { name: 'CompactRequest', schema: responsesRequest.partial({ input: true }) },
      answers: {
        200: {
          description: 'The compacted conversation.',
          body: { name: 'CompactedResponse', schema: compactedAnswer },
        },
      },
    },
    {
      method: 'POST',
      path: '/v1/responses/input_tokens',
      summary: 'The tokens of a request, counted with o200k_base and without a turn',
      access: 'clientKey',
      body: { name: 'InputTokensRequest', schema: responsesRequest.partial() },
      answers: {
        200: { description: 'The count.', body: { name: 'InputTokens', schema: inputTokenCount } },
      },
    },
    {
      method: 'GET',
      path: '/v1/responses/{id}',
      summary: 'A stored response, as it is now',
      description:
        'With "stream" the events of a response that was made in the background and streamed, from the one after "starting_after".',
      access: 'clientKey',
      query: retrieveQuery,
      answers: { 200: { description: 'The response.', body: { name: 'Response', schema: responseAnswer } } },
    },
    {
      method: 'DELETE',
      path: '/v1/responses/{id}',
      summary: 'Forgets a stored response',
      access: 'clientKey',
      answers: {
        200: { description: 'It is gone.', body: { name: 'DeletedResponse', schema: deletedResponse } },
      },
    },
    {
      method: 'GET',
      path: '/v1/responses/{id}/input_items',
      summary: 'What a stored response was made from, history included',
      access: 'clientKey',
      query: inputItemsQuery,
      answers: { 200: { description: 'A page of items.', body: { name: 'InputItems', schema: inputItems } } },
    },
    {
      method: 'POST',
      path: '/v1/responses/{id}/cancel',
      summary: 'Ends a response in the background; any other one is refused',
      access: 'clientKey',
      answers: {
        200: { description: 'What became of it.', body: { name: 'Response', schema: responseAnswer } },
      },
    },
    {
      method: 'GET',
      path: '/v1/models',
      summary: 'The models a request may name',
      access: 'clientKey',
      query: modelsQuery,
      answers: { 200: { description: 'All of them.', body: { name: 'ModelList', schema: modelList } } },
    },
    {
      method: 'GET',
      path: '/v1/models/{id}',
      summary: 'One model; its id may hold slashes',
      access: 'clientKey',
      answers: { 200: { description: 'The model.', body: { name: 'Model', schema: model } } },
    },
    {
      method: 'GET',
      path: '/health',
      summary: 'Whether the gateway is alive, and whether it reaches the pool',
      access: 'open',
      answers: { 200: { description: 'It is alive.', body: { name: 'HealthAnswer', schema: healthAnswer } } },
    },
    {
      method: 'GET',
      path: '/metrics',
      summary: 'Figures for Prometheus',
      access: 'adminKey',
      answers: { 200: { description: 'The text exposition format.', contentType: 'text/plain' } },
    },
    ...docsRoutes,
  ],
  error: { name: 'ErrorAnswer', schema: errorAnswer },
};
