import type { FastifyReply, FastifyRequest } from 'fastify';
import type { DecodedTurn, Inbound } from '../core/protocol.ts';
import { type Route, withDocs } from '../lib/api/api-routes.ts';
import { commonLinks, type FrontPage, frontRoute } from '../lib/api/front-page.ts';
import { metricsType } from '../lib/api/metrics.ts';
import { ownTurn } from '../lib/process/own-turn.ts';
import { version } from '../lib/version.ts';
import { decodeCountRequest } from '../protocols/anthropic-messages/decode-request.ts';
import { anthropicMessagesInbound } from '../protocols/anthropic-messages/inbound.ts';
import { countRequest, messagesRequest } from '../protocols/anthropic-messages/schema.ts';
import { openaiChatInbound } from '../protocols/openai-chat/inbound.ts';
import { chatRequest } from '../protocols/openai-chat/schema.ts';
import { responsesRequest } from '../protocols/openai-responses/schema.ts';
import { answeredHeaders, modelsOf } from './answer-head.ts';
import * as answers from './api-answers.ts';
import { modelRoutes } from './model-routes.ts';
import {
  answeredBy,
  compactRequest,
  inputTokensRequest,
  type ResponsesService,
  responsesRoutes,
} from './responses-routes.ts';
import type { Routes } from './routes.ts';
import { countInputTokens } from './token-count.ts';

/** What the gateway's routes answer from. */
export interface GatewayHttp extends ResponsesService {
  readonly routes: Routes;
  answerTurn<Options extends { readonly includeUsage: boolean }>(
    inbound: Inbound<Options>,
    request: FastifyRequest,
    reply: FastifyReply,
    given?: DecodedTurn<Options>,
  ): Promise<FastifyReply>;
  health(): object;
  metrics(): Promise<string>;
  /** Where the pool answers, if it does and that is known, by the address a client has for the gateway. */
  poolAddress(gatewayAddress: string): string | undefined;
}

const clientDocs = 'docs/clients.md, beside this program';

const routes: readonly Route<GatewayHttp>[] = [
  {
    method: 'GET',
    path: '/health',
    summary: 'Whether the gateway is alive, and whether it reaches the pool',
    access: 'open',
    answers: { 200: { description: 'It is alive.', body: answers.healthAnswer } },
    handle: async ({ health }) => health(),
  },
  {
    method: 'GET',
    path: '/metrics',
    summary: 'Figures for Prometheus',
    access: 'adminKey',
    answers: { 200: { description: 'The text exposition format.', contentType: 'text/plain' } },
    handle: async ({ metrics }, _request, reply) => reply.type(metricsType).send(await metrics()),
  },
  {
    method: 'POST',
    path: '/v1/chat/completions',
    summary: 'OpenAI Chat Completions, streaming and not',
    description:
      'Fields that have no effect are named in x-warp2api-ignored; those that would change the meaning and cannot be ' +
      'honoured are refused by name. With "stream": true the answer comes as server-sent events. Where the upstream ' +
      'carries the turn as a run that can be watched, x-warp2api-run-url says where.',
    access: 'clientKey',
    body: chatRequest,
    answers: {
      200: {
        description: 'The answer, or its stream of chunks.',
        headers: answeredBy,
        body: answers.chatAnswer,
        contentType: 'text/event-stream',
      },
    },
    handle: ({ answerTurn }, request, reply) => answerTurn(openaiChatInbound, request, reply),
  },
  {
    method: 'POST',
    path: '/v1/messages',
    summary: 'Anthropic Messages, streaming and not',
    description:
      'Errors have the shape and the statuses of the Anthropic API. With "stream": true the answer comes as server-sent events.',
    access: 'clientKey',
    body: messagesRequest,
    answers: {
      200: {
        description: 'The answer, or its stream of events.',
        headers: answeredBy,
        body: answers.messagesAnswer,
        contentType: 'text/event-stream',
      },
    },
    error: answers.messagesError,
    handle: ({ answerTurn }, request, reply) => answerTurn(anthropicMessagesInbound, request, reply),
  },
  {
    method: 'POST',
    path: '/v1/messages/count_tokens',
    summary: 'The tokens of a request, counted with o200k_base and without a turn',
    access: 'clientKey',
    body: countRequest,
    answers: { 200: { description: 'The count.', body: answers.tokenCount } },
    error: answers.messagesError,
    async handle({ routes: models }, request, reply) {
      reply.header('request-id', request.id);
      const counted = decodeCountRequest(request.body);
      const route = await models.check(counted.model);
      reply.headers(answeredHeaders(route && modelsOf([route])));
      await ownTurn(request.heldBody?.bytes ?? 0);
      return { input_tokens: countInputTokens(counted) };
    },
  },
  ...responsesRoutes,
  ...modelRoutes,
];

const front: FrontPage<GatewayHttp> = {
  title: 'Warp2API gateway',
  description:
    'One address for OpenAI and Anthropic clients in front of the accounts of the pool. Where no API_KEYS are set, any key or none is taken.',
  links({ poolAddress }, address) {
    const pool = poolAddress(address);
    return {
      openai_base_url: { place: `${address}/v1`, says: 'the base URL for OpenAI clients' },
      anthropic_base_url: { place: address, says: 'the base URL for Anthropic clients' },
      models: { place: '/v1/models', says: 'the models a request may name' },
      ...commonLinks,
      clients: { place: clientDocs, says: 'how to set up Codex, Claude Code, the SDKs and others' },
      ...(pool && { pool: { place: pool, says: 'the account pool' } }),
    };
  },
};

/** Every call of the gateway. */
export const gatewayApi = withDocs<GatewayHttp>({
  title: front.title,
  version,
  description: front.description,
  keys: {
    clientKey: 'one of API_KEYS',
    adminKey: 'ADMIN_KEY where it is set, else one of API_KEYS',
  },
  // People who look at a client's base URL land on the second.
  routes: [...routes, frontRoute('/', front), frontRoute('/v1', front)],
  error: answers.errorAnswer,
  schemas: {
    ...answers,
    response: answers.responseAnswer,
    compactedResponse: answers.compactedAnswer,
    inputTokens: answers.inputTokenCount,
    chatRequest,
    messagesRequest,
    countTokensRequest: countRequest,
    responsesRequest,
    compactRequest,
    inputTokensRequest,
  },
});
