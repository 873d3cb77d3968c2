import { z } from 'zod';
import { refused } from '../../core/errors.ts';
import { givenFields } from '../../core/null-fields.ts';
import type { Inbound } from '../../core/protocol.ts';
import { anthropicMessagesInbound } from '../../protocols/anthropic-messages/inbound.ts';
import { createGeminiInbound } from '../../protocols/gemini/inbound.ts';
import { createResponsesInbound } from '../../protocols/openai-responses/inbound.ts';
import { parseFields } from '../../protocols/shared/request.ts';
import type { StoredKey } from '../keys/key-verbs.ts';
import { TurnRecord } from '../records/turn-record.ts';
import { chatInboundFor } from '../responses/responses-in-chat.ts';
import { checkRequest } from '../turn/candidates.ts';
import { evenDraw, explainTurn } from '../turn/explain.ts';
import { TurnSignal } from '../turn/running-turns.ts';
import * as answers from './api-answers.ts';
import { decodeTurn } from './decode-turn.ts';
import type { GatewayRoute } from './gateway-http.ts';

/** More than a configured route may have candidates, each noted twice. */
const mostNotes = 200;

/** A request that is described and never sent. */
const sampleTraits = z.strictObject({
  model: z.string().min(1).max(256),
  dialect: z.enum(['chat', 'responses', 'messages', 'gemini']).default('chat'),
  tools: z.boolean().default(false),
  images: z.boolean().default(false),
  /** About how many it has. */
  tokens: z.int().min(1).max(1_000_000).optional(),
  effort: z.string().min(1).max(32).optional(),
  stream: z.boolean().default(true),
  /** The whole body of the request in its dialect, in place of what is described; `model` wins. */
  body: z.looseObject({}).optional(),
});
type SampleTraits = z.output<typeof sampleTraits>;

export const explainRequest = sampleTraits.extend({
  /** The id or name of a client key: as if its client asked. */
  key: z.string().min(1).max(200).optional(),
  /** Only accounts with one of these. */
  labels: z.array(z.string().min(1).max(200)).min(1).max(50).optional(),
});

export const explainRoutes: readonly GatewayRoute[] = [
  {
    method: 'GET',
    path: '/api/models',
    summary:
      'Every model at every provider with accounts: who can serve it, what it costs, where its facts come from',
    access: 'adminKey',
    answers: { 200: { description: 'The models.', body: answers.modelTable } },
    handle: ({ explaining: { routes, limits, pool } }) => routes.table(limits, pool),
  },
  {
    method: 'GET',
    path: '/api/routes',
    summary: 'Routes and aliases of the configuration file, and how the file stands',
    access: 'adminKey',
    answers: { 200: { description: 'What it says of names.', body: answers.configuredNames } },
    handle: ({ explaining: { routes }, configWatch }) => ({
      ...routes.configuredNames(),
      config: configWatch?.standing ?? null,
    }),
  },
  {
    method: 'POST',
    path: '/api/models/explain',
    summary: 'Which account would answer a request, without sending one',
    description:
      'The request is described by its traits, or given whole as "body". The answer has every candidate in the order of trial, why each ' +
      'would be passed over, and how its accounts stand. Nothing is sent and no account is borrowed. Where several candidates share ' +
      'turns by weight, "share" says how often each is the first.',
    access: 'adminKey',
    body: explainRequest,
    answers: { 200: { description: 'What would become of it.', body: answers.explainedTurn } },
    async handle({ explaining, managedKeys }, { body, id }) {
      const { labels, key, ...traits } = parseFields(explainRequest, givenFields(body));
      const { inbound, body: asked } = sampleRequest(traits);
      const managed = key === undefined ? undefined : await managedKeys.get(key);
      const client = managed ? { id: managed.clientId, managed } : { id: '' };
      const text = JSON.stringify(asked);
      const request = { body: asked, heldBody: { takeText: () => text }, client, headers: {} };
      const { decoded, plan } = await decodeTurn(explaining.routes, inbound, request, evenDraw);
      if (decoded.request.model !== traits.model)
        throw refused('model', 'is not what the body of a request can name');
      const record = new TurnRecord(
        {
          requestId: id,
          client,
          dialect: inbound.name,
          model: traits.model,
          isStream: decoded.isStream,
        },
        explaining.clock,
        undefined,
        mostNotes,
      );
      const turn = {
        protocol: inbound.name,
        decoded,
        bytes: Buffer.byteLength(text),
        client,
        affinityKey: undefined,
        requestId: id,
        wantsUsage: false,
        images: checkRequest(decoded.request, explaining.imageFetcher),
        plan,
        record,
        signal: new TurnSignal(),
      };
      const explained = await explainTurn(explaining, turn, labels);
      const notes = managed ? keyNotes(managed, managedKeys.now()) : [];
      return { ...explained, notes: [...notes, ...explained.notes] };
    },
  },
];

function keyNotes({ name, revokedAt, isEnabled, expiresAt }: StoredKey, now: number): string[] {
  const isGood = revokedAt === null && isEnabled && (expiresAt === null || expiresAt > now);
  return isGood ? [] : [`The key "${name}" is revoked, disabled or expired: its requests are refused.`];
}

function sampleRequest(traits: SampleTraits): { readonly inbound: Inbound<unknown>; readonly body: object } {
  const { model, dialect, stream, body } = traits;
  const whole = body ?? bodies[dialect](traits);
  if (dialect === 'gemini') {
    const inbound = createGeminiInbound({ model, answer: stream ? 'events' : 'whole' });
    return { inbound: inbound as Inbound<unknown>, body: whole };
  }
  const inbounds = {
    chat: chatInboundFor(whole),
    responses: createResponsesInbound(),
    messages: anthropicMessagesInbound,
  };
  return { inbound: inbounds[dialect] as Inbound<unknown>, body: { ...whole, model } };
}

const bytesOfToken = 4;
/** One white point, as PNG. */
const point = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg==';
const tool = { name: 'look', description: 'Looks something up.' };
const parameters = { type: 'object', properties: { what: { type: 'string' } } };

function textOf({ tokens = 1 }: SampleTraits): string {
  return 'Hello. '.padEnd(tokens * bytesOfToken, 'word ');
}

const bodies: Readonly<Record<SampleTraits['dialect'], (traits: SampleTraits) => object>> = {
  chat: (traits) => ({
    stream: traits.stream,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: textOf(traits) },
          ...(traits.images
            ? [{ type: 'image_url', image_url: { url: `data:image/png;base64,${point}` } }]
            : []),
        ],
      },
    ],
    ...(traits.tools && { tools: [{ type: 'function', function: { ...tool, parameters } }] }),
    ...(traits.effort !== undefined && { reasoning_effort: traits.effort }),
  }),
  responses: (traits) => ({
    stream: traits.stream,
    store: false,
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: textOf(traits) },
          ...(traits.images
            ? [{ type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${point}` }]
            : []),
        ],
      },
    ],
    ...(traits.tools && { tools: [{ type: 'function', ...tool, parameters, strict: false }] }),
    ...(traits.effort !== undefined && { reasoning: { effort: traits.effort } }),
  }),
  messages: (traits) => ({
    stream: traits.stream,
    max_tokens: 1024,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: textOf(traits) },
          ...(traits.images
            ? [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: point } }]
            : []),
        ],
      },
    ],
    ...(traits.tools && { tools: [{ ...tool, input_schema: parameters }] }),
    ...(traits.effort !== undefined && { output_config: { effort: traits.effort } }),
  }),
  gemini: (traits) => ({
    contents: [
      {
        role: 'user',
        parts: [
          { text: textOf(traits) },
          ...(traits.images ? [{ inlineData: { mimeType: 'image/png', data: point } }] : []),
        ],
      },
    ],
    ...(traits.tools && { tools: [{ functionDeclarations: [{ ...tool, parameters }] }] }),
    ...(traits.effort !== undefined && {
      generationConfig: { thinkingConfig: { thinkingLevel: traits.effort } },
    }),
  }),
};
