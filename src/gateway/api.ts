import { docsRoutes } from '../lib/api-docs-routes.ts';
import type { ApiDescription } from '../lib/api-document.ts';
import { frontRoute } from '../lib/front-page.ts';
import { version } from '../lib/version.ts';
import { countRequest, messagesRequest } from '../protocols/anthropic-messages/schema.ts';
import { chatRequest } from '../protocols/openai-chat/schema.ts';
import { responsesRequest } from '../protocols/openai-responses/schema.ts';
import {
  chatAnswer,
  compactedAnswer,
  deletedResponse,
  errorAnswer,
  healthAnswer,
  inputItems,
  inputTokenCount,
  messagesAnswer,
  messagesError,
  model,
  modelList,
  responseAnswer,
  tokenCount,
} from './api-answers.ts';
import { modelsQuery } from './model-routes.ts';
import { inputItemsQuery, retrieveQuery } from './responses-routes.ts';

/** People who look at a client's base URL land on the second. */
export const frontPaths = ['/', '/v1'] as const;

const answeredBy = {
  'x-warp2api-model':
    'Provider and model that answered, whatever name the request had; a request for it gets that model again.',
};

/** Every call of the gateway: its document and its page are made from this. */
export const gatewayApi: ApiDescription = {
  title: 'Warp2API gateway',
  version,
  description:
    'One address for OpenAI and Anthropic clients in front of the accounts of the pool. Where no API_KEYS are set, any key or none is taken.',
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
          headers: answeredBy,
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
          headers: answeredBy,
          body: { name: 'MessagesAnswer', schema: messagesAnswer },
          contentType: 'text/event-stream',
        },
      },
      error: { name: 'MessagesError', schema: messagesError },
    },
    {
      method: 'POST',
      path: '/v1/messages/count_tokens',
      summary: 'The tokens of a request, counted with o200k_base and without a turn',
      access: 'clientKey',
      body: { name: 'CountTokensRequest', schema: countRequest },
      answers: { 200: { description: 'The count.', body: { name: 'TokenCount', schema: tokenCount } } },
      error: { name: 'MessagesError', schema: messagesError },
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
          headers: answeredBy,
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
          headers: answeredBy,
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
      answers: {
        200: {
          description: 'The response.',
          headers: answeredBy,
          body: { name: 'Response', schema: responseAnswer },
        },
      },
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
    ...frontPaths.map(frontRoute),
    ...docsRoutes,
  ],
  error: { name: 'ErrorAnswer', schema: errorAnswer },
};
