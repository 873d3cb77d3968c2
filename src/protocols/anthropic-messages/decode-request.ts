import type { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Message, ResponseFormat, Tool, ToolChoice } from '../../core/turn.ts';
import { affinityKey } from '../affinity-key.ts';
import { askedReasoning } from '../asked-reasoning.ts';
import { createFieldCheck } from '../field-table.ts';
import { firstProblem } from '../first-problem.ts';
import { given } from '../given.ts';
import { jsonFormat } from '../json-format.ts';
import { decodeMessages, textOf } from './decode-message.ts';
import { estimateInput } from './estimate-input.ts';
import { messagesFields } from './fields.ts';
import { type CountRequest, countRequest, messagesRequest } from './schema.ts';

export interface MessagesOptions {
  readonly includeUsage: boolean;
  /** The client asked to see what the model thinks. */
  readonly showsThinking: boolean;
  /** What a stream tells in its first event, before the upstream has told its figures. */
  readonly estimatedInputTokens: number;
}

const checkFields = createFieldCheck(messagesFields);

export function decodeMessagesRequest(body: unknown): DecodedTurn<MessagesOptions> {
  const { chat, ignored } = parseBody(messagesRequest, body);
  const { request, ignoredBlocks } = decodeCommon(chat);
  const stopSequences = (chat.stop_sequences ?? []).filter((sequence) => sequence !== '');
  return {
    request: {
      ...request,
      sampling: {
        ...given('temperature', chat.temperature),
        ...given('topP', chat.top_p),
      },
      limits: {
        maxOutputTokens: chat.max_tokens,
        ...(stopSequences.length > 0 ? { stopSequences } : {}),
      },
    },
    isStream: chat.stream ?? false,
    options: {
      includeUsage: true,
      showsThinking: showsThinking(chat),
      estimatedInputTokens: chat.stream ? estimateInput(request) : 0,
    },
    ignored: [...providerTools(chat), ...ignoredBlocks, ...ignored],
    ...affinityKey((body as { readonly metadata?: { readonly user_id?: unknown } }).metadata?.user_id),
  };
}

/** The request of "Count tokens": the same turn without an answer. */
export function decodeCountRequest(body: unknown): AskedRequest {
  return decodeCommon(parseBody(countRequest, body).chat).request;
}

function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
): { readonly chat: z.infer<Schema>; readonly ignored: readonly string[] } {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new AppError('invalid_request', 'The body must be a JSON object with "model" and "messages".');
  }
  refuseThreads(body);
  const parsed = schema.safeParse(body);
  if (parsed.success) return { chat: parsed.data, ignored: checkFields(body) };
  const { path, message } = firstProblem(parsed.error, body);
  throw new AppError('invalid_request', `${path}: ${message}`, { param: path });
}

/** Clients that keep threads send the whole history again when they are told in these words that there are none. */
function refuseThreads(body: object): void {
  const { thread } = body as { readonly thread?: unknown };
  if (thread === undefined || thread === null || thread === false) return;
  throw new AppError('invalid_request', 'thread: threads are not kept here; send the whole conversation.', {
    param: 'thread',
    details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] },
  });
}

function decodeCommon(chat: CountRequest): {
  readonly request: AskedRequest;
  readonly ignoredBlocks: readonly string[];
} {
  const offered = (chat.tools ?? []).filter(({ type }) => isRunByClient(type));
  const tools = offered.map(
    (tool): Tool => ({
      name: tool.name,
      ...(tool.description ? { description: tool.description } : {}),
      parameters: tool.input_schema ?? { type: 'object', properties: {} },
    }),
  );
  const system: Message[] = chat.system ? [{ role: 'system', parts: textOf(chat.system) }] : [];
  const effort = chat.output_config?.effort;
  const choice = chat.tool_choice;
  const isParallelOff =
    choice !== null &&
    choice !== undefined &&
    choice.type !== 'none' &&
    choice.disable_parallel_tool_use === true;
  const { messages, ignored } = decodeMessages(chat.messages);
  const request = {
    model: chat.model,
    messages: [...system, ...messages],
    tools,
    toolChoice: decodeToolChoice(chat, tools),
    parallelToolCalls: !isParallelOff,
    sampling: {},
    limits: {},
    responseFormat: decodeFormat(chat),
    reasoning: askedReasoning(effort, thinks(chat)),
    extra: {},
  };
  return { request, ignoredBlocks: ignored };
}

function decodeFormat({ output_config: config, output_format: former }: CountRequest): ResponseFormat {
  return config?.format
    ? jsonFormat(config.format, 'output_config.format')
    : jsonFormat(former, 'output_format');
}

function providerTools({ tools }: CountRequest): string[] {
  return (tools ?? []).flatMap(({ type }) => (isRunByClient(type) ? [] : [`tools.${type}`]));
}

/** A tool of the provider's own is an offer to the model that this upstream cannot make: leaving it out is safe. */
function isRunByClient(type: string | null | undefined): boolean {
  return type === null || type === undefined || type === 'custom';
}

function decodeToolChoice(chat: CountRequest, tools: readonly Tool[]): ToolChoice {
  const choice = chat.tool_choice;
  switch (choice?.type) {
    case 'any':
      if (tools.length === 0) throw refused('tool_choice', 'is "any" but tools is empty');
      return { type: 'required' };
    case 'tool':
      if (!tools.some(({ name }) => name === choice.name)) {
        throw refused('tool_choice', `names the tool "${choice.name}", which tools does not offer`);
      }
      return { type: 'tool', name: choice.name };
    case 'none':
      return { type: 'none' };
    default:
      return { type: 'auto' };
  }
}

function thinks({ thinking }: CountRequest): boolean {
  return thinking !== null && thinking !== undefined && thinking.type !== 'disabled';
}

function showsThinking(chat: CountRequest): boolean {
  return thinks(chat) && chat.thinking?.display !== 'omitted';
}

function refused(param: string, reason: string): AppError {
  return new AppError('invalid_request', `${param}: ${reason}.`, { param });
}
