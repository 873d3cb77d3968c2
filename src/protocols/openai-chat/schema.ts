import { z } from 'zod';
import { jsonObject } from '../json-object.ts';

/**
 * A Chat Completions request, as far as it is read here. Other fields are let through: fields.ts tells what
 * becomes of them. Source: the OpenAI API reference, "Create chat completion".
 */

const textPart = z.looseObject({ type: z.literal('text'), text: z.string() });
const refusalPart = z.looseObject({ type: z.literal('refusal'), refusal: z.string() });
const imagePart = z.looseObject({
  type: z.literal('image_url'),
  image_url: z.looseObject({ url: z.string(), detail: z.string().nullish() }),
});
const filePart = z.looseObject({
  type: z.literal('file'),
  file: z.looseObject({
    file_data: z.string().nullish(),
    file_id: z.string().nullish(),
    filename: z.string().max(1024).nullish(),
  }),
});
const audioPart = z.looseObject({ type: z.literal('input_audio') });
const inputPart = z.discriminatedUnion(
  'type',
  [textPart, imagePart, filePart, audioPart],
  'must be "text", "image_url" or "file"',
);
const answerPart = z.discriminatedUnion('type', [textPart, refusalPart], 'must be "text" or "refusal"');
const notParts = 'must be text or a list of parts';
const textContent = z.union([z.string(), z.array(textPart)], notParts);
const inputContent = z.union([z.string(), z.array(inputPart)], notParts);

const functionCall = z.looseObject({
  id: z.string().min(1),
  type: z.literal('function').optional(),
  function: z.looseObject({ name: z.string().min(1), arguments: z.string() }),
});
const customCall = z.looseObject({
  id: z.string().min(1),
  type: z.literal('custom'),
  custom: z.looseObject({ name: z.string().min(1), input: z.string() }),
});

const message = z.discriminatedUnion(
  'role',
  [
    z.looseObject({ role: z.literal('system'), content: textContent }),
    z.looseObject({ role: z.literal('developer'), content: textContent }),
    z.looseObject({ role: z.literal('user'), content: inputContent, name: z.string().max(256).nullish() }),
    z.looseObject({
      role: z.literal('assistant'),
      content: z.union([z.string(), z.array(answerPart)], notParts).nullish(),
      refusal: z.string().nullish(),
      reasoning_content: z.string().nullish(),
      reasoning: z.string().nullish(),
      reasoning_details: z
        .array(z.looseObject({ text: z.string().nullish(), summary: z.string().nullish() }))
        .nullish(),
      tool_calls: z.array(z.union([functionCall, customCall])).nullish(),
      function_call: z.unknown().optional(),
      audio: z.unknown().optional(),
    }),
    z.looseObject({
      role: z.literal('tool'),
      content: inputContent.nullish(),
      tool_call_id: z.string().min(1),
    }),
    z.looseObject({ role: z.literal('function') }),
  ],
  'must be "system", "developer", "user", "assistant" or "tool"',
);

const toolName = z
  .string()
  .regex(/^[A-Za-z0-9_.:-]{1,128}$/, 'must be 1 to 128 characters out of A-Z a-z 0-9 _ . : -');
const functionTool = z.looseObject({
  type: z.literal('function'),
  function: z.looseObject({
    name: toolName,
    description: z.string().nullish(),
    parameters: jsonObject.nullish(),
  }),
});
const customTool = z.looseObject({
  type: z.literal('custom'),
  custom: z.looseObject({
    name: toolName,
    description: z.string().nullish(),
    format: z
      .looseObject({
        type: z.string(),
        grammar: z.looseObject({ definition: z.string(), syntax: z.string().nullish() }).nullish(),
      })
      .nullish(),
  }),
});
/** Left out where there are others, see tool-table.ts. */
const otherTool = z.looseObject({
  type: z.string().regex(/^(?!(function|custom)$)/, { error: 'must be "function" or "custom"', abort: true }),
});
const tool = z.union([functionTool, customTool, otherTool]);

const namedFunction = z.looseObject({
  type: z.literal('function'),
  function: z.looseObject({ name: z.string().min(1) }),
});
const namedCustom = z.looseObject({
  type: z.literal('custom'),
  custom: z.looseObject({ name: z.string().min(1) }),
});
const allowedTools = z.looseObject({
  type: z.literal('allowed_tools'),
  allowed_tools: z.looseObject({
    mode: z.enum(['auto', 'required']),
    tools: z.array(z.discriminatedUnion('type', [namedFunction, namedCustom])).min(1, 'must name a tool'),
  }),
});
const toolChoice = z.union(
  [
    z.enum(['none', 'auto', 'required']),
    z.discriminatedUnion('type', [namedFunction, namedCustom, allowedTools]),
  ],
  'must be "none", "auto", "required", a named tool or allowed_tools',
);

const tokenLimit = z.int().min(1);

export const chatRequest = z.looseObject({
  model: z.string().min(1).max(256),
  messages: z.array(message).min(1, 'must hold at least one message'),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  tools: z.array(tool).max(512).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_tokens: tokenLimit.nullish(),
  max_completion_tokens: tokenLimit.nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  n: z.int().min(1).nullish(),
  seed: z.int().nullish(),
  reasoning_effort: z.string().nullish(),
  stop: z
    .union(
      [z.string().max(1024), z.array(z.string().max(1024)).max(16)],
      'must be a text or at most 16 of them, of up to 1024 characters each',
    )
    .nullish(),
  response_format: z
    .looseObject({
      type: z.string(),
      json_schema: z.looseObject({ name: z.string().nullish(), schema: z.unknown().optional() }).nullish(),
    })
    .nullish(),
});

export type ChatRequest = z.infer<typeof chatRequest>;
export type ChatMessage = ChatRequest['messages'][number];
