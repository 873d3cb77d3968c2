import { z } from 'zod';
import type { Inbound } from '../../core/protocol.ts';
import { anthropicMessagesInbound } from '../../protocols/anthropic-messages/inbound.ts';
import { createGeminiInbound } from '../../protocols/gemini/inbound.ts';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import { createResponsesInbound } from '../../protocols/openai-responses/inbound.ts';

/** A request that is described and never sent. */
export const sampleTraits = z.strictObject({
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

interface SampleRequest {
  readonly inbound: Inbound<unknown>;
  readonly body: object;
}

export function sampleRequest(traits: SampleTraits): SampleRequest {
  const { model, dialect, stream, body } = traits;
  const whole = body ?? bodies[dialect](traits);
  switch (dialect) {
    case 'chat':
      return { inbound: openaiChatInbound as Inbound<unknown>, body: { ...whole, model } };
    case 'responses':
      return { inbound: createResponsesInbound() as Inbound<unknown>, body: { ...whole, model } };
    case 'messages':
      return { inbound: anthropicMessagesInbound as Inbound<unknown>, body: { ...whole, model } };
    case 'gemini':
      return {
        inbound: createGeminiInbound({ model, answer: stream ? 'events' : 'whole' }) as Inbound<unknown>,
        body: whole,
      };
  }
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
