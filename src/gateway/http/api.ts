import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { givenFields } from '../../core/null-fields.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import { relayingOutbound } from '../../core/provider.ts';
import { changedKey, newKey, rotation } from '../../core/shown-key.ts';
import { adminRoutes } from '../../lib/api/admin-page.ts';
import { withDocs } from '../../lib/api/api-routes.ts';
import { commonLinks, type FrontPage, frontRoute } from '../../lib/api/front-page.ts';
import { metricsType } from '../../lib/api/metrics.ts';
import { sessionAnswer, sessionKey, sessionRoutes } from '../../lib/api/session-routes.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import { version } from '../../lib/version.ts';
import { type CountOptions, countTokensInbound } from '../../protocols/anthropic-messages/count-tokens.ts';
import { decodeCountRequest } from '../../protocols/anthropic-messages/decode-request.ts';
import { anthropicMessagesInbound } from '../../protocols/anthropic-messages/inbound.ts';
import { countRequest, messagesRequest } from '../../protocols/anthropic-messages/schema.ts';
import { generateRequest } from '../../protocols/gemini/schema.ts';
import { chatRequest } from '../../protocols/openai-chat/schema.ts';
import { responsesRequest } from '../../protocols/openai-responses/schema.ts';
import { parseFields } from '../../protocols/shared/request.ts';
import { countInputTokens } from '../emulation/token-count.ts';
import { effortsOf } from '../models/model-choice.ts';
import type { ListedModel, Routes } from '../models/routing.ts';
import { answeredHeaders, modelsOf } from '../output/answer-head.ts';
import { chatInboundFor } from '../responses/responses-in-chat.ts';
import * as answers from './api-answers.ts';
import { endpointRequest, endpointRoutes, modellessRequest } from './endpoint-routes.ts';
import { explainRequest, explainRoutes } from './explain-routes.ts';
import {
  answeredBy,
  between,
  endsOf,
  type GatewayHttp,
  type GatewayRoute,
  onceByKey,
} from './gateway-http.ts';
import { encodeGeminiModel, encodeGeminiPage, geminiRoutes, isGeminiClient } from './gemini-routes.ts';
import { keyRoutes } from './key-routes.ts';
import { poolRoutes } from './pool-routes.ts';
import { compactRequest, inputTokensRequest, responsesRoutes } from './responses-routes.ts';
import { settingsRoutes } from './settings-routes.ts';
import { turnRoutes } from './turn-routes.ts';
import { usageRoutes } from './usage-routes.ts';

const clientDocs = 'docs/clients.md, beside this program';

/** How Anthropic's clients turn pages; OpenAI's list is always whole. Codex sends its version. */
const modelsQuery = z.looseObject({
  limit: z.coerce.number('must be a number from 1 to 1000').int().min(1).max(1000).optional(),
  after_id: z.string().optional(),
  before_id: z.string().optional(),
  client_version: z.string().optional(),
});

/** In the shape of the dialect the client speaks. */
const modelRoutes: readonly GatewayRoute[] = [
  {
    method: 'GET',
    path: '/v1/models',
    summary: 'The models a request may name',
    access: 'clientKey',
    query: modelsQuery,
    answers: { 200: { description: 'All of them.', body: answers.modelList } },
    async handle({ routes }, request) {
      const models = await routes.list(request.client);
      if (isGeminiClient(request)) return encodeGeminiPage(models, request.query);
      if (!isAnthropicClient(request)) {
        const data = models.map((one) => encodeOpenai(one, models));
        return { object: 'list', data, ...(isCodex(request) ? { models: [] } : {}) };
      }
      const query = parseFields(modelsQuery, givenFields(request.query));
      return encodeAnthropicPage(models, query);
    },
  },
  {
    method: 'GET',
    path: '/v1/models/{id}',
    url: '/v1/models/*',
    summary: 'One model; its id may hold slashes',
    access: 'clientKey',
    answers: { 200: { description: 'The model.', body: answers.model } },
    async handle({ routes }, request) {
      const found = await routes.find(request.params['*'], request.client);
      if (isGeminiClient(request)) return encodeGeminiModel(found);
      const models = await routes.list(request.client);
      return isAnthropicClient(request) ? encodeAnthropic(found, models) : encodeOpenai(found, models);
    },
  },
];

const routes: readonly GatewayRoute[] = [
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
    handle: onceByKey(({ answerTurn }, request, reply) =>
      answerTurn(chatInboundFor(request.body), request, reply),
    ),
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
    handle: onceByKey(({ answerTurn }, request, reply) =>
      answerTurn(anthropicMessagesInbound, request, reply),
    ),
  },
  {
    method: 'POST',
    path: '/v1/messages/count_tokens',
    summary:
      'The tokens of a request: counted by Anthropic where it would answer, else with o200k_base and without a turn',
    access: 'clientKey',
    body: countRequest,
    answers: { 200: { description: 'The count.', body: answers.tokenCount } },
    error: answers.messagesError,
    async handle({ routes: models, answerTurn }, request, reply) {
      const given = await relayedCount(models, request);
      if (given) return answerTurn(countTokensInbound, request, reply, given);
      reply.header('request-id', request.id);
      const counted = decodeCountRequest(request.body);
      const route = await models.check(counted.model, request.client);
      reply.headers(answeredHeaders(route && modelsOf([{ route }])));
      await ownTurn(request.heldBody?.bytes ?? 0);
      return { input_tokens: countInputTokens(counted) };
    },
  },
  ...responsesRoutes,
  ...endpointRoutes,
  ...geminiRoutes,
  ...modelRoutes,
  ...turnRoutes,
  ...usageRoutes,
  ...explainRoutes,
  ...settingsRoutes,
  ...poolRoutes,
  ...sessionRoutes<GatewayHttp>('gateway'),
  ...adminRoutes<GatewayHttp>(),
  ...keyRoutes,
];

/** Undefined where Anthropic is not the first to answer the model, and for what it could not read. */
async function relayedCount(
  models: Routes,
  { body, heldBody, headers, client }: FastifyRequest,
): Promise<DecodedTurn<CountOptions> | undefined> {
  const text = heldBody?.takeText();
  const decoded = text === undefined ? undefined : countTokensInbound.readRelayed?.(body, text, headers);
  if (!decoded?.relayed) return undefined;
  const turn = { client, affinityKey: undefined, decoded };
  const plan = await models.plan(decoded.request, turn).catch(() => undefined);
  const [first] = plan?.candidates ?? [];
  return first && relayingOutbound(first.provider, decoded.relayed) ? decoded : undefined;
}

const front: FrontPage<GatewayHttp> = {
  title: 'Warp2API gateway',
  description:
    'One address for OpenAI, Anthropic and Gemini clients in front of the accounts of the pool. Where no API_KEYS are set and the operator has made no key, any key or none is taken.',
  links({ poolAddress }, address) {
    const pool = poolAddress(address);
    return {
      openai_base_url: { place: `${address}/v1`, says: 'the base URL for OpenAI clients' },
      anthropic_base_url: { place: address, says: 'the base URL for Anthropic clients' },
      gemini_base_url: { place: address, says: 'the base URL for Gemini clients' },
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
    clientKey: 'a key that the operator has made, or one of API_KEYS',
    adminKey: 'ADMIN_KEY where it is set, else one of API_KEYS',
    strictAdminKey: 'ADMIN_KEY; without it and without API_KEYS, a caller on this machine',
  },
  // People who look at a client's base URL land on the second.
  routes: [...routes, frontRoute('/', front), frontRoute('/v1', front)],
  error: answers.errorAnswer,
  schemas: {
    ...answers,
    sessionKey,
    sessionAnswer,
    response: answers.responseAnswer,
    compactedResponse: answers.compactedAnswer,
    inputTokens: answers.inputTokenCount,
    chatRequest,
    messagesRequest,
    generateContentRequest: generateRequest,
    countTokensRequest: countRequest,
    responsesRequest,
    endpointRequest,
    modellessRequest,
    compactRequest,
    inputTokensRequest,
    explainRequest,
    newKey,
    changedKey,
    rotation,
  },
});

/** Every client of Anthropic's dialect sends this header, and none of OpenAI's does. */
export function isAnthropicClient(request: FastifyRequest): boolean {
  return request.headers['anthropic-version'] !== undefined;
}

/**
 * Codex asks for a catalogue with its version and reads `models`. Each entry there holds instructions for the agent, which
 * are not ours to write: with none it keeps its own.
 */
function isCodex({ query }: FastifyRequest): boolean {
  return typeof query === 'object' && query !== null && 'client_version' in query;
}

const usualLimit = 20;

function encodeAnthropicPage(
  models: readonly ListedModel[],
  { limit = usualLimit, after_id: after, before_id: before }: z.infer<typeof modelsQuery>,
) {
  const fault = (id: string) => `no model has the id "${id}"; begin without it.`;
  const range = between(models, ['after_id', after], ['before_id', before], fault);
  // Going backwards, a client wants those next to where it is.
  const page = before !== undefined && after === undefined ? range.slice(-limit) : range.slice(0, limit);
  return {
    data: page.map((model) => encodeAnthropic(model, models)),
    has_more: page.length < range.length,
    ...endsOf(page),
  };
}

function encodeOpenai(model: ListedModel, models: readonly ListedModel[]) {
  const { displayName, description, contextWindow, maxOutput, hasVision, effort, creditMultiplier, aliasOf } =
    model;
  const efforts = effortsFor(model, models);
  return {
    id: model.id,
    object: 'model',
    created: 0,
    owned_by: model.vendor ?? model.provider,
    ...(aliasOf === undefined ? {} : { alias_of: aliasOf }),
    ...(displayName === undefined ? {} : { display_name: displayName }),
    ...(description === undefined ? {} : { description }),
    ...(contextWindow === undefined ? {} : { context_window: contextWindow, max_model_len: contextWindow }),
    ...(maxOutput === undefined ? {} : { max_output_tokens: maxOutput }),
    ...(hasVision === undefined ? {} : { input_modalities: hasVision ? ['text', 'image'] : ['text'] }),
    ...(effort === undefined ? {} : { reasoning_effort: effort }),
    ...(efforts.length === 0 ? {} : { reasoning_efforts: efforts }),
    ...(creditMultiplier === undefined ? {} : { credit_multiplier: creditMultiplier }),
  };
}

function encodeAnthropic(model: ListedModel, models: readonly ListedModel[]) {
  return {
    type: 'model',
    id: model.id,
    display_name: model.displayName ?? model.id,
    // No list here tells when a model came.
    created_at: new Date(0).toISOString(),
    lifecycle: 'active',
    deprecated_at: null,
    retires_at: null,
    line: null,
    max_input_tokens: model.contextWindow ?? null,
    max_tokens: model.maxOutput ?? null,
    capabilities: capabilitiesOf(model, effortsFor(model, models)),
  };
}

/** An alias means one model, and so one effort. */
function effortsFor(model: ListedModel, models: readonly ListedModel[]): string[] {
  return effortsOf(model.aliasOf === undefined ? models : [model], model);
}

/** What a client can have of the model through this gateway; null where the list says too little. */
function capabilitiesOf({ hasVision }: ListedModel, efforts: readonly string[]) {
  if (hasVision === undefined) return null;
  const no = { supported: false };
  const yes = { supported: true };
  const effort = (level: string) => ({ supported: efforts.includes(level) });
  const thinks = { supported: efforts.length > 0 };
  return {
    batch: no,
    citations: no,
    code_execution: no,
    context_management: {
      supported: false,
      clear_thinking_20251015: null,
      clear_tool_uses_20250919: null,
      compact_20260112: null,
    },
    effort: {
      supported: efforts.length > 1,
      low: effort('low'),
      medium: effort('medium'),
      high: effort('high'),
      xhigh: effort('xhigh'),
      max: effort('max'),
    },
    image_input: { supported: hasVision },
    pdf_input: no,
    server_tools: { supported: false, code_execution: no, web_search: no },
    structured_outputs: yes,
    thinking: {
      supported: thinks.supported,
      types: { adaptive: thinks, enabled: thinks, between_tools: no, disabled: no },
    },
  };
}
