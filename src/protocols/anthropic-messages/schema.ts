import { z } from 'zod';
import { calledName, contentOf, jsonObject, readLater, textOrNone, toolName } from '../shared/request.ts';

/**
 * A Messages request, as far as it is read here. Other fields are let through: fields.ts tells what becomes of
 * them. Source: the Anthropic API reference, "Create a Message".
 */

export const textBlock = z.looseObject({
  type: z.enum(['text', 'input_text', 'output_text']),
  text: z.string(),
});
const imageBlock = z.looseObject({
  type: z.literal('image'),
  source: z.looseObject({
    type: z.string(),
    media_type: z.string().nullish(),
    data: z.string().nullish(),
    url: z.string().nullish(),
  }),
});
const blockList = z.array(readLater(z.discriminatedUnion('type', [textBlock, imageBlock])));
const documentBlock = z.looseObject({
  type: z.literal('document'),
  title: z.string().nullish(),
  context: z.string().nullish(),
  source: z.looseObject({
    type: z.string(),
    media_type: z.string().nullish(),
    data: z.string().nullish(),
    content: z.union([z.string(), blockList]).nullish(),
  }),
});
const searchResultBlock = z.looseObject({
  type: z.literal('search_result'),
  source: z.string(),
  title: z.string(),
  content: z.array(readLater(textBlock)),
});
const toolReferenceBlock = z.looseObject({ type: z.literal('tool_reference'), tool_name: z.string().min(1) });
const compactionBlock = z.looseObject({ type: z.literal('compaction'), content: z.string().nullish() });
const uploadBlock = z.looseObject({ type: z.literal('container_upload') });
const toolUseBlock = z.looseObject({
  type: z.literal('tool_use'),
  id: textOrNone,
  name: calledName,
  input: readLater(jsonObject).optional(),
});
export const resultBlock = z.discriminatedUnion(
  'type',
  [textBlock, imageBlock, documentBlock, searchResultBlock, toolReferenceBlock],
  'must be "text", "image", "document", "search_result" or "tool_reference"',
);
const notBlocks = 'must be text or a list of blocks';
const toolResultBlock = z.looseObject({
  type: z.literal('tool_result'),
  tool_use_id: textOrNone,
  content: contentOf(resultBlock),
  is_error: z.boolean().nullish().catch(undefined),
});
const thinkingBlock = z.looseObject({
  type: z.literal('thinking'),
  thinking: z.string().catch(''),
  signature: textOrNone,
});
const redactedBlock = z.looseObject({ type: z.literal('redacted_thinking') });
/** What the provider's own tools left in an answer. */
const providerBlock = z.looseObject({
  type: z.string().regex(
    /^(server|mcp)_tool_use$|^[a-z_]+_tool_result$|^mcp_tool_listing$|^fallback$/,
    // Without the abort this problem alone would be told, whatever kind was meant.
    { error: 'must be "text", "thinking", "redacted_thinking" or "tool_use"', abort: true },
  ),
});

export const userBlock = z.discriminatedUnion(
  'type',
  [textBlock, imageBlock, documentBlock, searchResultBlock, toolResultBlock, compactionBlock, uploadBlock],
  'must be "text", "image", "document", "search_result" or "tool_result"',
);
const knownAnswerBlock = z.discriminatedUnion('type', [
  textBlock,
  toolUseBlock,
  thinkingBlock,
  redactedBlock,
  compactionBlock,
]);
export const assistantBlock = z.union([knownAnswerBlock, providerBlock]);
const systemContent = z.union([z.string(), z.array(textBlock)], notBlocks);
export const toolChange = z.looseObject({
  type: z.enum(['tool_addition', 'tool_removal']),
  tool: z.looseObject({ type: z.string(), name: z.string().nullish() }),
});
export const systemBlock = z.union([textBlock, toolChange]);

export const message = z.discriminatedUnion(
  'role',
  [
    z.looseObject({ role: z.literal('user'), content: contentOf(userBlock) }),
    z.looseObject({ role: z.literal('assistant'), content: contentOf(assistantBlock) }),
    z.looseObject({
      role: z.literal('system'),
      content: contentOf(systemBlock),
      clear_at: z.enum(['next_user_message', 'never']).nullish(),
    }),
  ],
  'must be "user", "assistant" or "system"',
);

const customTool = z.looseObject({
  type: z.literal('custom').nullish(),
  name: toolName,
  description: z.string().nullish(),
  input_schema: jsonObject.nullish(),
});
/** One of the dialect's own: shared/tools.ts says who runs it. Sets of tools have no name. */
const typedTool = z.looseObject({
  type: z.string().regex(/^(?!custom$)/, { error: 'must be a type of tool', abort: true }),
  name: toolName.nullish(),
});
export const tool = z.union([customTool, typedTool]);
export type AskedTool = z.infer<typeof tool>;

const toolChoice = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('auto'), disable_parallel_tool_use: z.boolean().nullish() }),
  z.looseObject({ type: z.literal('any'), disable_parallel_tool_use: z.boolean().nullish() }),
  z.looseObject({
    type: z.literal('tool'),
    name: z.string().min(1),
    disable_parallel_tool_use: z.boolean().nullish(),
  }),
  z.looseObject({ type: z.literal('none') }),
]);

const format = z.looseObject({ type: z.string(), schema: z.unknown().optional() });

/** What is counted: everything but the limits of the answer. */
export const countRequest = z.looseObject({
  model: z.string().min(1).max(256),
  messages: z.array(readLater(message)).min(1, 'must hold at least one message'),
  system: systemContent.nullish(),
  tools: z.array(tool).max(512).nullish(),
  tool_choice: toolChoice.nullish(),
  thinking: z
    .looseObject({
      type: z.string(),
      display: z.string().nullish(),
      budget_tokens: z.int().min(1).nullish().catch(undefined),
    })
    .nullish(),
  output_config: z.looseObject({ effort: z.string().nullish(), format: format.nullish() }).nullish(),
  output_format: format.nullish(),
});

export const messagesRequest = countRequest.extend({
  max_tokens: z.int().min(1),
  stream: z.boolean().nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  stop_sequences: z.array(z.string().max(1024)).max(64).nullish(),
});

export type CountRequest = z.infer<typeof countRequest>;
export type MessagesMessage = z.infer<typeof message>;
export type ToolResultBlock = z.infer<typeof toolResultBlock>;
