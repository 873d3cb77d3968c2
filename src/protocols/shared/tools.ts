import { hash } from 'node:crypto';
import { refused } from '../../core/errors.ts';
import type { Message, Tool, ToolChoice, TurnRequest } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { cacheMark } from './read-messages.ts';
import { quoted } from './request.ts';

/** Who runs a kind of tool, and how its calls and their results are written in its dialect. */
interface ToolRow {
  readonly runBy: 'client' | 'provider';
  /** Items or blocks of a call; of a provider's tool, those that it leaves in an answer. */
  readonly call: string;
  readonly result: string;
  /** What happens here. Of a refused kind also in the error, behind its name. */
  readonly says: string;
  /** A tool of the client that this gateway cannot carry: a 400 wherever it is offered. */
  readonly isRefused?: true;
}

/** By type, without the date at its end. */
export type ToolTable = Readonly<Record<string, ToolRow>>;

const leftOut = 'left out and named; a 400 when it is demanded or the only tool';
const asFunction = 'offered as a function';

function clientTool<const Call extends string, const Result extends string>(
  call: Call,
  result: Result,
  says = asFunction,
) {
  return { runBy: 'client' as const, call, result, says };
}

function providerTool<const Call extends string, const Result extends string>(
  call: Call,
  result: Result,
  says = leftOut,
) {
  return { runBy: 'provider' as const, call, result, says };
}

function refusedTool<const Call extends string, const Result extends string>(
  call: Call,
  result: Result,
  says: string,
) {
  return { ...clientTool(call, result, says), isRefused: true as const };
}

/** Tools of the OpenAI Responses dialect. */
export const responsesTools = {
  function: clientTool('function_call', 'function_call_output', 'offered as it is'),
  custom: clientTool('custom_tool_call', 'custom_tool_call_output', `${asFunction} with one text parameter`),
  namespace: clientTool(
    'function_call, custom_tool_call',
    'function_call_output, custom_tool_call_output',
    'its tools are offered as `NAMESPACE__NAME`; their calls have `namespace` and `name`',
  ),
  tool_search: clientTool(
    'tool_search_call',
    'tool_search_output',
    `with \`execution: "client"\` ${asFunction} with the client’s schema; what it found is offered from then on. Otherwise the provider would run it: left out, and deferred tools are offered from the start`,
  ),
  shell: clientTool(
    'shell_call',
    'shell_call_output',
    `${asFunction}; in a container the provider would run it: ${leftOut}`,
  ),
  local_shell: clientTool('local_shell_call', 'local_shell_call_output'),
  apply_patch: clientTool('apply_patch_call', 'apply_patch_call_output'),
  computer: clientTool('computer_call', 'computer_call_output'),
  computer_use_preview: clientTool(
    'computer_call',
    'computer_call_output',
    `${asFunction}, one action a call`,
  ),
  web_search: providerTool('web_search_call', 'web_search_call'),
  web_search_preview: providerTool('web_search_call', 'web_search_call'),
  file_search: providerTool('file_search_call', 'file_search_call'),
  code_interpreter: providerTool('code_interpreter_call', 'code_interpreter_call'),
  image_generation: providerTool('image_generation_call', 'image_generation_call'),
  mcp: providerTool(
    'mcp_call, mcp_list_tools, mcp_approval_request',
    'mcp_call, mcp_approval_response',
    `servers cannot be reached from here: ${leftOut}`,
  ),
  programmatic_tool_calling: providerTool('program', 'program_output'),
} as const satisfies ToolTable;

/** Tools of the Anthropic Messages dialect. */
export const messagesTools = {
  custom: clientTool('tool_use', 'tool_result', 'offered as it is'),
  bash: clientTool('tool_use', 'tool_result'),
  text_editor: clientTool('tool_use', 'tool_result'),
  memory: clientTool('tool_use', 'tool_result'),
  computer: clientTool('tool_use', 'tool_result'),
  computer_toolset: refusedTool(
    'tool_use',
    'tool_result',
    'cannot be offered to this upstream: offer a `computer` tool instead, or tools of your own',
  ),
  browser_toolset: refusedTool(
    'tool_use',
    'tool_result',
    'cannot be offered to this upstream: offer tools of your own instead',
  ),
  web_search: providerTool('server_tool_use', 'web_search_tool_result'),
  web_fetch: providerTool('server_tool_use', 'web_fetch_tool_result'),
  code_execution: providerTool(
    'server_tool_use',
    'code_execution_tool_result, bash_code_execution_tool_result, text_editor_code_execution_tool_result',
  ),
  tool_search_tool_bm25: providerTool(
    'server_tool_use',
    'tool_search_tool_result',
    `${leftOut}; deferred tools are offered from the start`,
  ),
  tool_search_tool_regex: providerTool(
    'server_tool_use',
    'tool_search_tool_result',
    `${leftOut}; deferred tools are offered from the start`,
  ),
  advisor: providerTool('server_tool_use', 'advisor_tool_result'),
  mcp_toolset: providerTool('mcp_tool_use', 'mcp_tool_result'),
} as const satisfies ToolTable;

/** Tools of the Chat Completions dialect. */
export const chatTools = {
  function: clientTool('tool_calls', 'tool messages', 'offered as it is'),
  custom: clientTool('tool_calls', 'tool messages', `${asFunction} with one text parameter`),
} as const satisfies ToolTable;

/** Tools of the Gemini dialect, by the field that offers them. */
export const geminiTools = {
  functionDeclarations: clientTool('functionCall', 'functionResponse', 'offered as they are'),
  computerUse: refusedTool(
    'functionCall',
    'functionResponse',
    'cannot be offered to this upstream: offer functions of your own instead',
  ),
  googleSearch: providerTool('groundingMetadata', 'groundingMetadata'),
  googleSearchRetrieval: providerTool('groundingMetadata', 'groundingMetadata'),
  enterpriseWebSearch: providerTool('groundingMetadata', 'groundingMetadata'),
  parallelAiSearch: providerTool('groundingMetadata', 'groundingMetadata'),
  exaAiSearch: providerTool('groundingMetadata', 'groundingMetadata'),
  googleMaps: providerTool('groundingMetadata', 'groundingMetadata'),
  retrieval: providerTool('groundingMetadata', 'groundingMetadata'),
  fileSearch: providerTool('groundingMetadata', 'groundingMetadata'),
  urlContext: providerTool('urlContextMetadata', 'urlContextMetadata'),
  codeExecution: providerTool('executableCode', 'codeExecutionResult'),
  mcpServers: providerTool('toolCall', 'toolResponse', `servers cannot be reached from here: ${leftOut}`),
} as const satisfies ToolTable;

/** The kind of a tool: its type without the date at its end. Undefined where the table does not know it. */
export function toolKind<Table extends ToolTable>(table: Table, type: string): keyof Table | undefined {
  if (Object.hasOwn(table, type)) return type;
  const undated = type.replace(/_(\d{8}|\d{4}_\d\d_\d\d)$/, '');
  return Object.hasOwn(table, undated) ? undated : undefined;
}

/** A tool of a request that is not offered to the upstream. */
export interface LeftOutTool {
  readonly type: string;
  /** Where the request names it. */
  readonly path: string;
  /** The type is unknown here; otherwise the provider would run the tool. */
  readonly isUnknown: boolean;
}

/** What upstreams are offered of a request's tools. */
export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  /** Tools that are not offered. */
  readonly leftOut: readonly LeftOutTool[];
}

/**
 * What cannot be offered may be left out while the model has other tools: agents send tools of the provider with every
 * request. Where it is the only tool, an answer without it would be a false one. Throws AppError `invalid_request`.
 */
export function checkLeftOut(left: readonly LeftOutTool[], offeredCount: number, isToolless: boolean): void {
  const [first] = left;
  if (first === undefined || offeredCount > 0 || isToolless) return;
  throw refused(first.path, reasonOf(first));
}

/** The error for a choice that demands such a tool. */
export function demandedLeftOut(tool: LeftOutTool, param: string) {
  return refused(param, reasonOf(tool));
}

function reasonOf({ type, isUnknown }: LeftOutTool): string {
  const name = quoted(type);
  return isUnknown
    ? `${name} is not a type of tool that is known here: offer it as a function, or leave it out`
    : `${name} is run by the provider, and this upstream cannot run it: offer a function of your own instead, or leave it out`;
}

/** As they are named in `x-warp2api-ignored`. */
export function leftOutNames(left: readonly LeftOutTool[]): string[] {
  return left.length === 0 ? [] : [...new Set(left.map(({ type }) => `tools.${type.slice(0, 64)}`))];
}

/** A tool as upstreams know it: without a schema it takes no parameters. */
export function toolOf(
  name: string,
  description: string | null | undefined,
  parameters: Tool['parameters'] | null | undefined,
  given: JsonObject = {},
): Tool {
  return {
    name,
    ...(description ? { description } : {}),
    parameters: parameters ?? { type: 'object', properties: {} },
    ...(given['strict'] === true && { isStrict: true }),
    ...cacheMark(given),
  };
}

/** Any of the tools must be called; `word` is the dialect's own for it. Throws AppError `invalid_request`. */
export function requiredTool(tools: readonly Tool[], word: string): ToolChoice {
  if (tools.length === 0) throw refused('tool_choice', `is "${word}" but tools is empty`);
  return { type: 'required' };
}

/** That tool must be called. Throws AppError `invalid_request`. */
export function namedTool(tools: readonly Tool[], name: string): ToolChoice {
  mustOffer(tools, name, 'tool_choice');
  return { type: 'tool', name };
}

/** Throws AppError `invalid_request` for a name that no tool has. */
export function mustOffer(tools: readonly Tool[], name: string, param: string): void {
  if (tools.some((tool) => tool.name === name)) return;
  throw refused(param, `names the tool ${quoted(name)}, which tools does not offer`);
}

/**
 * A custom tool takes plain text instead of arguments. Upstreams know functions only, so to them it is a function with
 * this one parameter.
 */
export const customParameters = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The whole input of the tool, as plain text.' } },
  required: ['input'],
} as const;

/** The description of the function, with the grammar its input has to follow. */
export function customDescription(
  description: string | null | undefined,
  grammar: string | null | undefined,
): string {
  const rule = grammar ? `The input must follow this grammar:\n${grammar}` : '';
  return [description ?? '', rule].filter((text) => text !== '').join('\n\n');
}

/** The arguments of the function that stand for an input. */
export function customArguments(input: string): string {
  return JSON.stringify({ input });
}

/** The input of a call, as the client wants it. */
export function customInput(argumentsText: string): string {
  const input = parseJsonObject(argumentsText)?.['input'];
  // Without it the model wrote the input itself.
  return typeof input === 'string' ? input : argumentsText;
}

/** The size of a screen, as a sentence to follow a tool's description; empty where the tool has none. */
export function screenText(width: unknown, height: unknown): string {
  if (typeof width !== 'number' || typeof height !== 'number') return '';
  return ` The screen is ${width} pixels wide and ${height} high.`;
}

/** A request whose tools have names as the upstream takes them, and the tools' own by those. */
export interface FittedRequest {
  readonly request: TurnRequest;
  readonly toolNames: ReadonlyMap<string, string>;
}

/** `longest`: characters of a name. `spell`: a name in the characters that the upstream takes. */
export function withFittingNames(
  request: TurnRequest,
  longest: number,
  spell: (name: string) => string,
): FittedRequest {
  const toolNames = new Map<string, string>();
  const sent = new Map<string, string>();
  let isOther = false;
  const sentFor = (name: string): string => {
    const known = sent.get(name);
    if (known !== undefined) return known;
    const fitting = spell(name);
    let free = fitting.slice(0, longest);
    // A history may hold very many that are alike: they are not counted up.
    for (let tries = 0; toolNames.has(free); tries += 1) {
      const end = tries === 0 ? '_' : `_${hash('sha256', `${tries} ${name}`).slice(0, 12)}`;
      free = fitting.slice(0, longest - end.length) + end;
    }
    toolNames.set(free, name);
    sent.set(name, free);
    if (free !== name) isOther = true;
    return free;
  };
  const renamed = <Named extends { readonly name: string }>(one: Named): Named => ({
    ...one,
    name: sentFor(one.name),
  });
  const { messages, tools, toolChoice } = request;
  for (const { parts } of messages)
    for (const part of parts) if (part.type === 'tool-call') sentFor(part.name);
  for (const { name } of tools) sentFor(name);
  if (!isOther) return { request, toolNames };
  const fitted = {
    ...request,
    messages: messages.map(
      (message): Message =>
        message.role === 'assistant'
          ? {
              ...message,
              parts: message.parts.map((part) => (part.type === 'tool-call' ? renamed(part) : part)),
            }
          : message,
    ),
    tools: tools.map(renamed),
    toolChoice: toolChoice.type === 'tool' ? renamed(toolChoice) : toolChoice,
  };
  return { request: fitted, toolNames };
}

/** As OpenAI takes them, and most servers that speak its dialects. */
export function withOpenaiNames(request: TurnRequest): FittedRequest {
  return withFittingNames(request, 64, (name) => name.replace(/[^A-Za-z0-9_-]/g, '_'));
}

/** What a tool takes, where an upstream wants one object: the properties of all variants together, none of them required. */
export function oneObject({ anyOf, oneOf, allOf, ...schema }: JsonObject): JsonObject {
  const variants = [anyOf, oneOf, allOf].flat().filter(isJsonObject);
  if (variants.length === 0) return { ...schema, type: 'object' };
  const properties = [...variants, schema].map((variant) => variant['properties']);
  return { ...schema, type: 'object', properties: Object.assign({}, ...properties) };
}
