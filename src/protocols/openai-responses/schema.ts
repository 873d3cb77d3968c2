import { z } from 'zod';
import type { ReadEntry } from '../shared/read-messages.ts';
import { calledName, contentOf, jsonObject, shapeOf, textOrNone, toolName } from '../shared/request.ts';

export type ReadItem = ReadEntry<InputItem>;

/**
 * A Responses request, as far as it is read here. Other fields are let through: fields.ts tells what becomes of
 * them. Source: the OpenAI API reference, "Create a model response", and the Open Responses
 * specification.
 */

const textPart = z.looseObject({
  type: z.enum(['input_text', 'output_text', 'text', 'summary_text', 'reasoning_text']),
  text: z.string(),
});
const refusalPart = z.looseObject({ type: z.literal('refusal'), refusal: z.string() });
const imageUrl = z.union([z.string(), z.looseObject({ url: z.string() })]).nullish();
const imagePart = z.looseObject({
  type: z.literal('input_image'),
  image_url: imageUrl,
  file_id: z.string().nullish(),
  detail: z.string().nullish(),
});
const filePart = z.looseObject({
  type: z.literal('input_file'),
  file_data: z.string().nullish(),
  filename: z.string().nullish(),
});
export const part = z.discriminatedUnion(
  'type',
  [textPart, refusalPart, imagePart, filePart],
  'must be "input_text", "input_image", "input_file", "output_text" or "refusal"',
);
const parts = contentOf(part);
const reasoningTexts = z.array(textPart).nullish().catch(undefined);

const functionTool = z.looseObject({
  type: z.literal('function'),
  name: toolName,
  description: z.string().nullish(),
  parameters: jsonObject.nullish(),
  strict: z.boolean().nullish(),
});
const customTool = z.looseObject({
  type: z.literal('custom'),
  name: z.string().min(1).max(128),
  description: z.string().nullish(),
  format: z.looseObject({ type: z.string(), definition: z.string().nullish() }).nullish(),
});
const searchTool = z.looseObject({
  type: z.literal('tool_search'),
  execution: z.string().nullish(),
  description: z.string().nullish(),
  parameters: jsonObject.nullish(),
});
/** What becomes of it depends on its type: see shared/tools.ts. */
const otherTool = z.looseObject({
  type: z.string().regex(/^(?!(function|custom|namespace|tool_search)$)/, {
    error: 'is no kind of tool that is known here',
    abort: true,
  }),
});
const namespaceTool = z.looseObject({
  type: z.literal('namespace'),
  name: z.string().min(1).max(64),
  description: z.string().nullish(),
  tools: z.array(z.union([functionTool, customTool, otherTool])),
});
export const tool = z.union([functionTool, customTool, namespaceTool, searchTool, otherTool]);
export type AskedTool = z.infer<typeof tool>;

const messageItem = z.looseObject({
  type: z.literal('message').optional(),
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: parts,
});
const functionCall = z.looseObject({
  type: z.literal('function_call'),
  call_id: textOrNone,
  name: calledName,
  namespace: z.string().nullish(),
  arguments: z.unknown().optional(),
});
const functionOutput = z.looseObject({
  type: z.literal('function_call_output'),
  call_id: textOrNone,
  output: parts,
});
const customCall = z.looseObject({
  type: z.literal('custom_tool_call'),
  call_id: textOrNone,
  name: calledName,
  namespace: z.string().nullish(),
  input: z.string().catch(''),
});
const customOutput = z.looseObject({
  type: z.literal('custom_tool_call_output'),
  call_id: textOrNone,
  output: parts,
});
const reasoningItem = z.looseObject({
  type: z.literal('reasoning'),
  encrypted_content: z.string().nullish(),
  summary: reasoningTexts,
  content: reasoningTexts,
});
/** Calls of tools that clients run, each with its own type of item, and their results. */
const clientCall = z.looseObject({
  type: z.enum(['local_shell_call', 'shell_call', 'apply_patch_call', 'computer_call']),
  call_id: textOrNone,
  action: z.unknown().optional(),
  actions: z.unknown().optional(),
  operation: z.unknown().optional(),
});
const screenshotOutput = z.looseObject({
  type: z.literal('computer_call_output'),
  call_id: textOrNone,
  output: z.looseObject({ image_url: imageUrl, file_id: z.string().nullish() }).nullish().catch(undefined),
});
const clientOutput = z.looseObject({
  type: z.enum(['local_shell_call_output', 'shell_call_output', 'apply_patch_call_output']),
  /** The call's; the local shell's outputs carry it, or that of the call's item, as their `id`. */
  call_id: z.string().nullish(),
  id: z.string().nullish(),
  status: z.string().nullish(),
  output: z.unknown().optional(),
});
const searchCall = z.looseObject({
  type: z.literal('tool_search_call'),
  call_id: z.string().nullish(),
  arguments: z.unknown().optional(),
});
const searchOutput = z.looseObject({
  type: z.literal('tool_search_output'),
  call_id: z.string().nullish(),
  // What a search found is no fault of the user: a tool that cannot be read is left out and named.
  tools: z
    .array(tool.catch({ type: 'unreadable' }))
    .max(512)
    .catch([]),
});
/** Tools that are offered from here on. */
const additionalTools = z.looseObject({
  type: z.literal('additional_tools'),
  tools: z.array(tool).max(512),
});
const textFormat = z.looseObject({ type: z.string(), schema: z.unknown().optional() });
const configurationUpdate = z.looseObject({
  type: z.literal('configuration_update'),
  reasoning: z.looseObject({ effort: z.string().nullish() }).nullish(),
  text: z.looseObject({ format: textFormat.nullish() }).nullish(),
});
const agentMessage = z.looseObject({
  type: z.literal('agent_message'),
  content: z.array(
    z.looseObject({ type: z.string(), text: z.string().nullish(), encrypted_content: z.string().nullish() }),
  ),
});
const compactionTrigger = z.looseObject({ type: z.literal('compaction_trigger') });
/** What a conversation was compacted to; only the gateway that made it can read it. */
const compactionItem = z.looseObject({
  type: z.enum(['compaction', 'compaction_summary']),
  encrypted_content: z.string().min(1),
});
/** Stands for an item of a stored response. */
const itemReference = z.looseObject({
  type: z.literal('item_reference').nullish(),
  id: z.string().min(1).max(128),
  role: z.undefined().optional(),
});
// Where one of a union's members fails without aborting, its problem alone is told, whatever kind the client meant.

/** What providers that run tools themselves put into a history; it says nothing to another one. */
const otherItem = z.looseObject({
  type: z
    .string()
    .regex(
      /^(?!(function|custom_tool|local_shell|shell|apply_patch|computer|tool_search)_(call|output)).*(_call|_output|^mcp_list_tools|^mcp_approval_(request|response)|^program)$/,
      { error: 'is no kind of item that is known here', abort: true },
    ),
});
const typedItems = [
  functionCall,
  functionOutput,
  customCall,
  customOutput,
  reasoningItem,
  clientCall,
  clientOutput,
  screenshotOutput,
  searchCall,
  searchOutput,
  additionalTools,
  configurationUpdate,
  agentMessage,
  compactionTrigger,
  compactionItem,
] as const;
export const inputItem = z.union([messageItem, ...typedItems, itemReference, otherItem]);

const untypedItem = z.union([messageItem, itemReference]);
const itemsByType = new Map<string, z.ZodType<InputItem>>([
  ['message', messageItem],
  ['item_reference', itemReference],
]);
for (const item of typedItems) {
  const { type } = item.shape;
  for (const name of 'options' in type ? type.options : type.values) itemsByType.set(name, item);
}

/** The one schema that an item of its type can follow: to try them all makes a long history cost many times as much. */
export function itemSchemaOf({ type }: RawItem): z.ZodType<InputItem> {
  return typeof type === 'string' ? (itemsByType.get(type) ?? otherItem) : untypedItem;
}

/** An item before it is read. */
const rawItem = z.looseObject({}).meta(shapeOf(inputItem));

const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.looseObject({ type: z.enum(['function', 'custom']), name: z.string().min(1) }),
  // A tool that has no name, by its type.
  z.looseObject({
    type: z.string().regex(/^(?!(function|custom|allowed_tools)$)/, {
      error: 'must be a type of tool, or allowed_tools',
      abort: true,
    }),
    name: z.string().nullish(),
  }),
  z.looseObject({
    type: z.literal('allowed_tools'),
    mode: z.enum(['auto', 'required']).nullish(),
    tools: z
      .array(z.looseObject({ type: z.string(), name: z.string().nullish() }))
      .min(1)
      .max(512),
  }),
]);

// Counted before its pairs are looked at.
const metadata = jsonObject
  .refine((pairs) => Object.keys(pairs).length <= 16, 'must have at most 16 pairs')
  .meta({ maxProperties: 16, additionalProperties: { type: 'string', maxLength: 512 } })
  .pipe(
    z.record(
      z.string().max(64, 'has a key of more than 64 characters'),
      z.string().max(512, 'must have at most 512 characters'),
    ),
  );

export const responsesRequest = z.looseObject({
  model: z.string().min(1).max(256),
  input: z.union([z.string(), z.array(rawItem)], 'must be a string or a list of items'),
  instructions: z.string().nullish(),
  stream: z.boolean().nullish(),
  tools: z.array(tool).max(512).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_output_tokens: z.int().min(1).nullish(),
  max_tool_calls: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_logprobs: z.int().nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  reasoning: z.looseObject({ effort: z.string().nullish(), summary: z.string().nullish() }).nullish(),
  text: z
    .looseObject({
      format: textFormat.nullish(),
      verbosity: z.string().nullish(),
    })
    .nullish(),
  store: z.boolean().nullish(),
  previous_response_id: z.string().min(1).max(128).nullish(),
  conversation: z.unknown().optional(),
  background: z.boolean().nullish(),
  prompt: z.unknown().optional(),
  truncation: z.string().nullish(),
  metadata: metadata.nullish(),
  include: z.array(z.string()).nullish(),
  user: z.string().nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
});

export type ResponsesRequest = z.infer<typeof responsesRequest>;
export type InputItem = z.infer<typeof inputItem>;
export type InputImage = Pick<z.infer<typeof imagePart>, 'image_url'>;
export type RawItem = Readonly<Record<string, unknown>>;
export type ClientCall = z.infer<typeof clientCall>;
export type ClientOutput = z.infer<typeof clientOutput>;
export type AgentMessage = z.infer<typeof agentMessage>;
export type CompactionItem = z.infer<typeof compactionItem>;
export type ItemReference = z.infer<typeof itemReference>;

export function isItemReference(item: RawItem): item is ItemReference {
  const { type, role, id } = item;
  return typeof id === 'string' && id !== '' && (type === 'item_reference' || (!type && !role));
}

export function isClientCall(item: InputItem): item is ClientCall {
  return /^(local_shell|shell|apply_patch|computer)_call$/.test(item.type ?? '');
}

export function isKind<Kind extends string>(
  item: InputItem,
  kind: Kind,
): item is Extract<InputItem, { type: Kind }> {
  return item.type === kind;
}
