import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError, refused } from '../../core/errors.ts';
import { givenFields } from '../../core/null-fields.ts';
import type { EmbedCall } from '../../core/protocol.ts';
import type { RouteRequest } from '../../lib/api/api-routes.ts';
import { HttpFault } from '../../lib/http/http-fault.ts';
import { pathOf } from '../../lib/http/served-routes.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import { decodeCountTokensRequest } from '../../protocols/gemini/decode-request.ts';
import {
  createEmbedInbound,
  embedCallOf,
  embedCalls,
  readEmbedRequest,
} from '../../protocols/gemini/embeddings/inbound.ts';
import { createGeminiInbound } from '../../protocols/gemini/inbound.ts';
import { generateRequest } from '../../protocols/gemini/schema.ts';
import { parseFields, quoted } from '../../protocols/shared/request.ts';
import { countInputTokens } from '../emulation/token-count.ts';
import type { ListedModel } from '../models/routing.ts';
import { answeredHeaders, modelsOf } from '../output/answer-head.ts';
import * as answers from './api-answers.ts';
import { answeredBy, between, type GatewayHttp, type GatewayRoute, onceByKey } from './gateway-http.ts';

const callQuery = z.looseObject({
  alt: z
    .string()
    .optional()
    .describe('`sse`: a stream as server-sent events; otherwise it is a JSON array, element by element'),
});

const mostModels = 1_000;
const usualPage = 50;

const listQuery = z.looseObject({
  pageSize: z.coerce.number('must be a number').int().min(0).optional(),
  pageToken: z.string().optional(),
});

const error = answers.geminiError;

const turnMethods = ['generateContent', 'streamGenerateContent', 'countTokens'] as const;
const embedMethods = Object.values(embedCalls);
const methods: readonly string[] = [...turnMethods, ...embedMethods];

/** The path of a POST that calls a method of a model: names of models may hold slashes and colons. */
export const geminiCall = /^\/v1(?:beta|alpha)?\/models\/.*:[^:/]*$/i;

const bareCall = new RegExp(
  `^(/v1(?:beta|alpha)/)(?!models/)(?=[^/?]+/[^?]*:(?:${methods.join('|')})(?:\\?|$))`,
);

/**
 * The same URL below `models/`: the AI SDK and LangChain leave that out where a name has a slash, as ours of a provider have. Google
 * names the models of its users so, too (`tunedModels/mine`).
 */
export function withCollection(url: string): string {
  return url.replace(bareCall, '$1models/');
}

const answer: GatewayRoute['handle'] = async (service, request, reply) => {
  const { model, method } = callIn(request, reply);
  if (method === 'countTokens') return countTokens(service, model, request, reply);
  const embedding = embedCallOf(method);
  if (embedding) return embed(service, embedding, model, request, reply);
  const { alt } = givenFields(request.query);
  const streamed = alt === 'sse' ? 'events' : 'array';
  const inbound = createGeminiInbound({ model, answer: method === 'generateContent' ? 'whole' : streamed });
  return service.answerTurn(inbound, request, reply);
};

function embed(
  { routes, answerTurn }: GatewayHttp,
  call: EmbedCall,
  model: string,
  request: RouteRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const asked = { body: request.body, text: request.heldBody?.takeText() };
  const given = readEmbedRequest(call, model, asked, routes.serving(call));
  return answerTurn(createEmbedInbound(call), request, reply, given);
}

async function countTokens(
  { routes }: GatewayHttp,
  model: string,
  request: RouteRequest,
  reply: FastifyReply,
): Promise<object> {
  const counted = decodeCountTokensRequest(model, request.body);
  const route = await routes.check(model, request.client);
  reply.headers(answeredHeaders(route && modelsOf([{ route }])));
  await ownTurn(request.heldBody?.bytes ?? 0);
  return { totalTokens: countInputTokens(counted) };
}

/** Throws AppError `not_found` for a method that is not served, and HttpFault where the path names a model alone. */
function callIn(
  { params, url }: RouteRequest,
  reply: FastifyReply,
): { readonly model: string; readonly method: string } {
  const [, model, method] = /^(.*):([^:]*)$/s.exec(params['*']) ?? [];
  if (model === undefined) {
    reply.header('allow', 'GET');
    throw new HttpFault('method_not_allowed', `${pathOf(url)} takes GET, not POST.`);
  }
  if (!methods.includes(String(method))) {
    const served = methods.map((name) => `:${name}`).join(', ');
    throw new AppError('not_found', `The path names no method that is served: it has to end with ${served}.`);
  }
  if (model === '' || model.length > 256)
    throw refused('model', `${quoted(model)} is not the name of a model`);
  return { model, method: String(method) };
}

const generate = {
  method: 'POST',
  summary: 'Gemini: generateContent, streamGenerateContent, countTokens, embedContent and batchEmbedContents',
  description:
    'The name of the model may hold slashes. Fields may be in camel or snake case. `countTokens` counts with o200k_base and without a turn; ' +
    'it takes the contents alone or a whole `generateContentRequest`, and answers `totalTokens`. ' +
    '`embedContent` and `batchEmbedContents` go to a provider that has embeddings.',
  access: 'clientKey',
  query: callQuery,
  body: generateRequest,
  answers: {
    200: {
      description: 'The answer, its stream of responses, the count, or the embeddings.',
      headers: answeredBy,
      body: answers.geminiAnswer,
      contentType: 'text/event-stream',
    },
  },
  error,
  // Google's SDKs take events for nothing whose first line is no data.
  handle: onceByKey(answer, false),
} as const satisfies Partial<GatewayRoute>;

/** Below a version that clients of no other dialect ask for: the two differ for Google alone. */
const versioned = (version: 'v1beta' | 'v1alpha'): readonly GatewayRoute[] => [
  { ...generate, path: `/${version}/models/{model}:{method}`, url: `/${version}/models/*` },
  {
    method: 'GET',
    path: `/${version}/models`,
    summary: 'The models a request may name, as Google lists them',
    access: 'clientKey',
    query: listQuery,
    answers: { 200: { description: 'A page of them.', body: answers.geminiModelList } },
    error,
    handle: async ({ routes }, { client, query }) => encodeGeminiPage(await routes.list(client), query),
  },
  {
    method: 'GET',
    path: `/${version}/models/{id}`,
    url: `/${version}/models/*`,
    summary: 'One model, as Google describes it; its name may hold slashes',
    access: 'clientKey',
    answers: { 200: { description: 'The model.', body: answers.geminiModel } },
    error,
    handle: async ({ routes }, { client, params }) =>
      encodeGeminiModel(await routes.find(params['*'], client)),
  },
];

/** The paths of the Gemini dialect. */
export const geminiRoutes: readonly GatewayRoute[] = [
  ...versioned('v1beta'),
  ...versioned('v1alpha'),
  { ...generate, path: '/v1/models/{model}:{method}', url: '/v1/models/*' },
];

/** Every SDK of Google sends this header, and no client of another dialect does. Some ask for `/v1/models`. */
export function isGeminiClient(request: FastifyRequest): boolean {
  return request.headers['x-goog-api-client'] !== undefined;
}

export function encodeGeminiPage(models: readonly ListedModel[], query: unknown): object {
  const { pageSize, pageToken } = parseFields(listQuery, givenFields(query));
  const fault = (id: string) => `no model has the name "${id}"; begin without it.`;
  const rest = between(models, ['pageToken', pageToken], ['pageToken', undefined], fault);
  const page = rest.slice(0, Math.min(pageSize || usualPage, mostModels));
  const last = page.length < rest.length ? page.at(-1) : undefined;
  return { models: page.map(encodeGeminiModel), ...(last && { nextPageToken: last.id }) };
}

export function encodeGeminiModel(model: ListedModel) {
  const { id, displayName, description, contextWindow, maxOutput, effort, embeds } = model;
  return {
    name: `models/${id}`,
    // Other providers list none.
    version: '',
    displayName: displayName ?? id,
    ...(description === undefined ? {} : { description }),
    ...(contextWindow === undefined ? {} : { inputTokenLimit: contextWindow }),
    ...(maxOutput === undefined ? {} : { outputTokenLimit: maxOutput }),
    supportedGenerationMethods: embeds ? embedMethods : turnMethods,
    ...(effort === undefined ? {} : { thinking: true }),
  };
}
