import type { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Message, ResponseFormat, Tool, ToolChoice } from '../../core/turn.ts';
import { affinityKey } from '../affinity-key.ts';
import { askedReasoning } from '../asked-reasoning.ts';
import { estimateInput } from '../estimate-input.ts';
import { createFieldCheck } from '../field-table.ts';
import { given } from '../given.ts';
import { jsonFormat } from '../json-format.ts';
import { textParts } from '../message-parts.ts';
import { parseBody } from '../parse-body.ts';
import { namedTool, requiredTool } from '../tool-choice.ts';
import { decodeMessages } from './decode-message.ts';
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
  const chat = parse(messagesRequest, body);
  const ignored = checkFields(body as object);
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
    ...affinityKey((chat['metadata'] as { readonly user_id?: unknown } | null | undefined)?.user_id),
  };
}

/** The request of "Count tokens": the same turn without an answer. */
export function decodeCountRequest(body: unknown): AskedRequest {
  const chat = parse(countRequest, body);
  checkFields(body as object);
  return decodeCommon(chat).request;
}

function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  refuseThreads(body);
  return parseBody(schema, body, '"model" and "messages"');
}

/** Clients that keep threads send the whole history again when they are told in these words that there are none. */
function refuseThreads(body: unknown): void {
  const thread = (body as { readonly thread?: unknown } | null | undefined)?.thread;
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
  const system: Message[] = chat.system ? [{ role: 'system', parts: textParts(chat.system) }] : [];
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
      return requiredTool(tools, 'any');
    case 'tool':
      return namedTool(tools, choice.name);
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
