import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { givenFields } from '../core/null-fields.ts';
import type { Route } from '../lib/api/api-routes.ts';
import { parseFields } from '../protocols/parse-body.ts';
import { model, modelList } from './api-answers.ts';
import { effortsOf } from './model-choice.ts';
import type { ListedModel, Routes } from './routes.ts';

/** How Anthropic's clients turn pages; OpenAI's list is always whole. Codex sends its version. */
const modelsQuery = z.looseObject({
  limit: z.coerce.number('must be a number from 1 to 1000').int().min(1).max(1000).optional(),
  after_id: z.string().optional(),
  before_id: z.string().optional(),
  client_version: z.string().optional(),
});

/** In the shape of the dialect the client speaks. */
export const modelRoutes: readonly Route<{ readonly routes: Routes }>[] = [
  {
    method: 'GET',
    path: '/v1/models',
    summary: 'The models a request may name',
    access: 'clientKey',
    query: modelsQuery,
    answers: { 200: { description: 'All of them.', body: modelList } },
    async handle({ routes }, request) {
      if (!isAnthropicClient(request)) {
        const models = await routes.list();
        const data = models.map((one) => encodeOpenai(one, models));
        return { object: 'list', data, ...(isCodex(request) ? { models: [] } : {}) };
      }
      const page = readPage(request.query);
      return encodeAnthropicPage(await routes.list(), page);
    },
  },
  {
    method: 'GET',
    path: '/v1/models/{id}',
    url: '/v1/models/*',
    summary: 'One model; its id may hold slashes',
    access: 'clientKey',
    answers: { 200: { description: 'The model.', body: model } },
    async handle({ routes }, request) {
      const found = await routes.find(request.params['*']);
      const models = await routes.list();
      return isAnthropicClient(request) ? encodeAnthropic(found, models) : encodeOpenai(found, models);
    },
  },
];

/** Anthropic's clients are told from OpenAI's by the version header that every one of them sends. */
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

interface Page {
  readonly limit: number;
  readonly afterId: string | undefined;
  readonly beforeId: string | undefined;
}

const usualLimit = 20;

function readPage(query: unknown): Page {
  const fields = parseFields(modelsQuery, givenFields(query));
  const { limit = usualLimit, after_id: afterId, before_id: beforeId } = fields;
  return { limit, afterId, beforeId };
}

function encodeAnthropicPage(models: readonly ListedModel[], { limit, afterId, beforeId }: Page) {
  const from = afterId === undefined ? 0 : placeOf(models, afterId, 'after_id') + 1;
  const to = beforeId === undefined ? models.length : placeOf(models, beforeId, 'before_id');
  const range = models.slice(from, to);
  // Whoever goes backwards wants those next to where they are.
  const page = beforeId !== undefined && afterId === undefined ? range.slice(-limit) : range.slice(0, limit);
  return {
    data: page.map((model) => encodeAnthropic(model, models)),
    has_more: page.length < range.length,
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
  };
}

function placeOf(models: readonly ListedModel[], id: string, param: string): number {
  const place = models.findIndex((model) => model.id === id);
  if (place !== -1) return place;
  throw new AppError('invalid_request', `${param}: no model has the id "${id}"; begin without it.`, {
    param,
  });
}

function encodeOpenai(model: ListedModel, models: readonly ListedModel[]) {
  const { displayName, description, contextWindow, hasVision, effort, creditMultiplier, aliasOf } = model;
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
    max_tokens: null,
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
