import { refused } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Reasoning, ResponseFormat, Tool } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { createFieldCheck } from '../shared/field-table.ts';
import {
  affinityKey,
  allWishes,
  askedReasoning,
  ifSet,
  jsonFormat,
  limitsOf,
  parseBody,
  plain,
  plainBodies,
  samplingOf,
} from '../shared/request.ts';
import {
  chatTools,
  checkLeftOut,
  customArguments,
  customDescription,
  customInput,
  customParameters,
  type LeftOutTool,
  leftOutNames,
  mustOffer,
  namedTool,
  type OfferedTools,
  requiredTool,
  toolKind,
  toolOf,
} from '../shared/tools.ts';
import { decodeMessages } from './decode-message.ts';
import { chatFields } from './fields.ts';
import { type ChatRequest, chatRequest } from './schema.ts';

export interface ChatOptions {
  readonly includeUsage: boolean;
  /** Offered tools that take plain text. */
  readonly customTools: ReadonlySet<string>;
}

const checkFields = createFieldCheck(chatFields);
const isPlain = plainBodies(chatRequest, {
  model: plain.modelName,
  messages: plain.list,
  max_tokens: plain.count,
  max_completion_tokens: plain.count,
  stream: plain.flag,
  temperature: plain.upTo(2),
  top_p: plain.upTo(1),
});

export function decodeChatRequest(body: unknown): DecodedTurn<ChatOptions> {
  const nested = withNestedTools(body);
  const chat = parseBody(chatRequest, nested, '"model" and "messages"', isPlain);
  const fields = checkFields(nested as object);
  const { tools, toolChoice, customTools, leftOut } = offeredTools(chat);
  const { messages, ignored: notShown, wishes } = decodeMessages(chat.messages);
  const request: AskedRequest = {
    model: chat.model,
    messages,
    tools,
    toolChoice,
    parallelToolCalls: chat.parallel_tool_calls ?? true,
    sampling: samplingOf(chat),
    limits: limitsOf(chat.max_completion_tokens ?? chat.max_tokens, chat.stop),
    responseFormat: chatFormat(chat),
    reasoning: chatReasoning(chat),
    ...allWishes(fields.wishes, wishes),
    resentCall: (call) =>
      customTools.has(call.name)
        ? { ...call, arguments: customArguments(customInput(call.arguments)) }
        : call,
  };
  return {
    request,
    isStream: chat.stream ?? false,
    ...ifSet('choices', (chat.n ?? 1) === 1 ? undefined : (chat.n ?? undefined)),
    options: { includeUsage: chat.stream_options?.include_usage ?? false, customTools },
    ignored: [...leftOutNames(leftOut), ...notShown, ...fields.ignored],
    ...affinityKey(chat['prompt_cache_key']),
  };
}

/** In OpenAI's word, or in those that other vendors have for it. */
function chatReasoning({ reasoning_effort: word, reasoning, thinking }: ChatRequest): Reasoning {
  const effort = word ?? reasoning?.effort;
  const isOff = reasoning?.enabled === false || thinking?.type === 'disabled';
  const isOn = reasoning?.enabled === true || (thinking?.type ?? 'disabled') !== 'disabled';
  const budget = isOff ? 0 : (reasoning?.max_tokens ?? thinking?.budget_tokens);
  return {
    ...askedReasoning(effort, Boolean(effort ?? budget) || isOn),
    ...ifSet('budgetTokens', effort ? undefined : budget),
  };
}

/** Cursor sends tools in the form that Responses have for them, among others, and so may the choice of one be. */
function withNestedTools(body: unknown): unknown {
  if (!isJsonObject(body) || !hasFlatTools(body)) return body;
  const nested = (tool: unknown) => (isFlat(tool) ? nestedTool(tool) : tool);
  const { tools, tool_choice: choice } = body;
  const allowance = allowanceIn(choice);
  const allowed = allowance && {
    mode: allowance['mode'] ?? 'auto',
    tools: listOf(allowance['tools']).map(nested),
  };
  return {
    ...body,
    ...(Array.isArray(tools) && { tools: tools.map(nested) }),
    ...(choice !== undefined && {
      tool_choice: allowed ? { type: 'allowed_tools', allowed_tools: allowed } : nested(choice),
    }),
  };
}

/** Servers of Chat Completions refuse them. */
export function hasFlatTools({ tools, tool_choice: choice }: JsonObject): boolean {
  const allowance = allowanceIn(choice);
  const isFlatChoice = allowance ? allowance === choice || hasFlat(allowance['tools']) : isFlat(choice);
  return isFlatChoice || hasFlat(tools);
}

/** What a choice of several tools holds: in the flat form the choice itself. */
function allowanceIn(choice: unknown): JsonObject | undefined {
  if (!isJsonObject(choice) || choice['type'] !== 'allowed_tools') return undefined;
  const { allowed_tools: nested } = choice;
  if (nested === undefined) return Array.isArray(choice['tools']) ? choice : undefined;
  return isJsonObject(nested) ? nested : undefined;
}

function hasFlat(tools: unknown): boolean {
  return listOf(tools).some(isFlat);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isFlat(tool: unknown): tool is JsonObject {
  if (!isJsonObject(tool) || typeof tool['name'] !== 'string') return false;
  const { type } = tool;
  return (type === 'function' || type === 'custom') && tool[type] === undefined;
}

function nestedTool({ type, format, ...tool }: JsonObject): JsonObject {
  const grammar =
    isJsonObject(format) && format['grammar'] === undefined && format['definition'] !== undefined;
  return {
    type,
    [String(type)]: {
      ...tool,
      ...(format !== undefined && { format: grammar ? { type: 'grammar', grammar: format } : format }),
    },
  };
}

/** The schema stands one level deeper than in the other dialects. */
function chatFormat({ response_format: given }: ChatRequest): ResponseFormat {
  const inner = given?.type === 'json_schema' ? given.json_schema : undefined;
  if (given?.type === 'json_schema' && !inner) throw refused('response_format.json_schema', 'is missing');
  return inner
    ? jsonFormat({ type: 'json_schema', schema: inner.schema }, 'response_format.json_schema')
    : jsonFormat(given, 'response_format');
}

type AskedTool = NonNullable<ChatRequest['tools']>[number];
type CustomTool = Extract<AskedTool, { type: 'custom' }>;
type FunctionTool = Extract<AskedTool, { type: 'function' }>;

interface ChatTools extends OfferedTools {
  /** Tools that take plain text: their calls are written in another form. */
  readonly customTools: ReadonlySet<string>;
}

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
function offeredTools({ tools: asked, tool_choice: given }: ChatRequest): ChatTools {
  const tools: Tool[] = [];
  const customTools = new Set<string>();
  const leftOut: LeftOutTool[] = [];
  for (const [index, tool] of (asked ?? []).entries()) {
    if (isFunction(tool)) {
      const { name, description, parameters } = tool.function;
      tools.push(toolOf(name, description, parameters, tool.function));
    } else if (isCustom(tool)) {
      const { name, description, format } = tool.custom;
      tools.push(toolOf(name, customDescription(description, format?.grammar?.definition), customParameters));
      customTools.add(name);
    } else {
      const isUnknown = toolKind(chatTools, tool.type) === undefined;
      leftOut.push({ type: tool.type, path: `tools.${index}.type`, isUnknown });
    }
  }
  checkLeftOut(leftOut, tools.length, given === 'none');
  return { ...chosenOf(given ?? 'auto', tools), customTools, leftOut };
}

function chosenOf(
  choice: NonNullable<ChatRequest['tool_choice']>,
  tools: readonly Tool[],
): Pick<OfferedTools, 'tools' | 'toolChoice'> {
  if (typeof choice === 'string') {
    return { tools, toolChoice: choice === 'required' ? requiredTool(tools, choice) : { type: choice } };
  }
  if (choice.type !== 'allowed_tools') return { tools, toolChoice: namedTool(tools, nameOf(choice)) };
  const { mode, tools: allowed } = choice.allowed_tools;
  const names = new Set(allowed.map(nameOf));
  for (const name of names) mustOffer(tools, name, 'tool_choice.allowed_tools.tools');
  return {
    tools: tools.filter((tool) => names.has(tool.name)),
    toolChoice: { type: mode === 'required' ? 'required' : 'auto' },
  };
}

function isFunction(tool: AskedTool): tool is FunctionTool {
  return tool.type === 'function';
}
function isCustom(tool: AskedTool): tool is CustomTool {
  return tool.type === 'custom';
}

function nameOf(
  named:
    | { readonly type: 'function'; readonly function: { readonly name: string } }
    | { readonly type: 'custom'; readonly custom: { readonly name: string } },
): string {
  return named.type === 'custom' ? named.custom.name : named.function.name;
}
