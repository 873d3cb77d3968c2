import { z } from 'zod';
import { calledName, contentOf, jsonObject, readLater, textOrNone, toolName } from '../shared/request.ts';

/**
 * A Chat Completions request, as far as it is read here. Other fields are let through: fields.ts tells what
 * becomes of them. Source: the OpenAI API reference, "Create chat completion".
 */

export const textPart = z.looseObject({
  type: z.enum(['text', 'input_text', 'output_text']),
  text: z.string(),
});
const refusalPart = z.looseObject({ type: z.literal('refusal'), refusal: z.string() });
const imagePart = z.looseObject({
  type: z.literal('image_url'),
  image_url: z.union(
    [z.looseObject({ url: z.string(), detail: z.string().nullish() }), z.string()],
    'must be an object with a url',
  ),
});
const filePart = z.looseObject({
  type: z.literal('file'),
  file: z.looseObject({
    file_data: z.string().nullish(),
    file_id: z.string().nullish(),
    filename: z.string().nullish(),
  }),
});
const audioPart = z.looseObject({ type: z.literal('input_audio') });
export const inputPart = z.discriminatedUnion(
  'type',
  [textPart, imagePart, filePart, audioPart],
  'must be "text", "image_url" or "file"',
);
export const answerPart = z.discriminatedUnion(
  'type',
  [textPart, refusalPart],
  'must be "text" or "refusal"',
);
export const functionCall = z.looseObject({
  id: textOrNone,
  type: z.literal('function').nullish(),
  function: z.looseObject({ name: calledName, arguments: z.unknown().optional() }),
});
export const customCall = z.looseObject({
  id: textOrNone,
  type: z.literal('custom'),
  custom: z.looseObject({ name: calledName, input: z.string().catch('') }),
});
/** The calls of an answer before there were tools. */
export const formerCall = z.looseObject({ name: z.string().min(1), arguments: z.unknown().optional() });

export const message = z.discriminatedUnion(
  'role',
  [
    z.looseObject({ role: z.enum(['system', 'developer']), content: contentOf(textPart) }),
    z.looseObject({ role: z.literal('user'), content: contentOf(inputPart), name: textOrNone }),
    z.looseObject({
      role: z.literal('assistant'),
      content: contentOf(answerPart),
      refusal: textOrNone,
      reasoning_content: textOrNone,
      reasoning: textOrNone,
      reasoning_details: z
        .array(z.looseObject({ text: textOrNone, summary: textOrNone }))
        .nullish()
        .catch(undefined),
      tool_calls: z
        .array(readLater(z.union([functionCall, customCall])))
        .nullish()
        .catch(undefined),
      function_call: z.unknown().optional(),
      audio: z.unknown().optional(),
    }),
    z.looseObject({ role: z.literal('tool'), content: contentOf(inputPart), tool_call_id: textOrNone }),
    z.looseObject({ role: z.literal('function'), content: contentOf(inputPart), name: textOrNone }),
  ],
  'must be "system", "developer", "user", "assistant" or "tool"',
);

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
/** Left out where there are others, see shared/tools.ts. */
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
  messages: z.array(readLater(message)).min(1, 'must hold at least one message'),
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
  /** OpenRouter's. */
  reasoning: z
    .looseObject({
      effort: z.string().nullish(),
      max_tokens: tokenLimit.nullish(),
      enabled: z.boolean().nullish(),
    })
    .nullish()
    .catch(undefined),
  /** DeepSeek's, and other vendors'. */
  thinking: z
    .looseObject({ type: z.string().nullish(), budget_tokens: tokenLimit.nullish() })
    .nullish()
    .catch(undefined),
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
export type ChatMessage = z.infer<typeof message>;
