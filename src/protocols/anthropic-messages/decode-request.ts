import { hash } from 'node:crypto';
import type { z } from 'zod';
import { AppError, refused } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type {
  AskedMessage,
  AskedRequest,
  Cacheable,
  Message,
  ResponseFormat,
  TextPart,
  Wish,
} from '../../core/turn.ts';
import type { JsonObject } from '../../lib/parse-json.ts';
import { createFieldCheck } from '../shared/field-table.ts';
import { cacheMark, textParts } from '../shared/read-messages.ts';
import {
  affinityKey,
  allWishes,
  askedReasoning,
  estimateInput,
  ifSet,
  jsonFormat,
  limitsOf,
  parseBody,
  plain,
  plainBodies,
  samplingOf,
} from '../shared/request.ts';
import { leftOutNames } from '../shared/tools.ts';
import { decodeMessages } from './decode-message.ts';
import { messagesFields } from './fields.ts';
import { offeredTools } from './offered-tools.ts';
import { type CountRequest, countRequest, messagesRequest } from './schema.ts';

export interface MessagesOptions {
  readonly includeUsage: boolean;
  /** The client asked to see what the model thinks. */
  readonly showsThinking: boolean;
  /** It sends back what the upstream signed of it, whether it sees the words or not. */
  readonly signsThinking: boolean;
  /** What a stream tells in its first event, before the upstream has told its figures. */
  readonly estimatedInputTokens: number;
}

const checkFields = createFieldCheck(messagesFields);
const isPlain = plainBodies(messagesRequest, {
  model: plain.modelName,
  messages: plain.list,
  system: plain.text,
  max_tokens: plain.count,
  stream: plain.flag,
  temperature: plain.upTo(1),
  top_p: plain.upTo(1),
});

export function decodeMessagesRequest(body: unknown): DecodedTurn<MessagesOptions> {
  const chat = parse(messagesRequest, body, isPlain);
  const fields = checkFields(body as object);
  const { request, ignored: leftOut } = decodeCommon(chat);
  const session = affinityKey(
    (chat['metadata'] as { readonly user_id?: unknown } | null | undefined)?.user_id,
  );
  return {
    request: {
      ...request,
      sampling: samplingOf({ temperature: chat.temperature, top_p: chat.top_p }),
      limits: limitsOf(chat.max_tokens, chat.stop_sequences),
      ...allWishes(fields.wishes, request.wishes ?? [], cacheKey(session)),
    },
    isStream: chat.stream ?? false,
    options: {
      includeUsage: true,
      ...shownThinking(chat.thinking?.type, chat.thinking?.display),
      estimatedInputTokens: chat.stream ? estimateInput(request) : 0,
    },
    ignored: [...leftOut, ...fields.ignored],
    ...session,
  };
}

/** The request of "Count tokens": the same turn without an answer. */
export function decodeCountRequest(body: unknown): AskedRequest {
  const chat = parse(countRequest, body);
  checkFields(body as object);
  return decodeCommon(chat).request;
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
  isPlain?: (body: JsonObject) => boolean,
): z.infer<Schema> {
  refuseThreads(body);
  refuseSkills(body);
  return parseBody(schema, body, '"model" and "messages"', isPlain);
}

/** Clients that keep threads send the whole history again when they are told in these words that there are none. */
function refuseThreads(body: unknown): void {
  if (!hasThread(body)) return;
  throw new AppError('invalid_request', 'thread: threads are not kept here; send the whole conversation.', {
    param: 'thread',
    details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] },
  });
}

export function hasThread(body: unknown): boolean {
  const thread = (body as { readonly thread?: unknown } | null | undefined)?.thread;
  return thread !== undefined && thread !== null && thread !== false;
}

/** They are code that the provider runs in its containers. */
function refuseSkills(body: unknown): void {
  const container = (body as { readonly container?: unknown } | null | undefined)?.container;
  const skills = (container as { readonly skills?: unknown } | null | undefined)?.skills;
  if (!Array.isArray(skills) || skills.length === 0) return;
  throw refused(
    'container.skills',
    'are run by the provider, and this upstream cannot run them: leave them out',
  );
}

function decodeCommon(chat: CountRequest): {
  readonly request: AskedRequest;
  readonly ignored: readonly string[];
} {
  const { tools, toolChoice, leftOut } = offeredTools(chat);
  const rules = chat.system ? withoutBillingNote(textParts(chat.system)) : [];
  const system: Message[] = rules.length > 0 ? [{ role: 'system', parts: rules }] : [];
  const effort = chat.output_config?.effort;
  const choice = chat.tool_choice;
  const isParallelOff =
    choice !== null &&
    choice !== undefined &&
    choice.type !== 'none' &&
    choice.disable_parallel_tool_use === true;
  const { messages, ignored, wishes } = decodeMessages(chat.messages);
  const request = {
    model: chat.model,
    messages: markedAtEnd([...system, ...messages], cacheMark(chat)),
    tools,
    toolChoice,
    parallelToolCalls: !isParallelOff,
    sampling: {},
    limits: {},
    responseFormat: decodeFormat(chat),
    reasoning: {
      ...askedReasoning(effort, thinks(chat)),
      ...ifSet('budgetTokens', budgetOf(chat)),
    },
    ...allWishes(wishes),
  };
  return { request, ignored: [...leftOutNames(leftOut), ...ignored] };
}

/**
 * Claude Code begins its rules with a line for Anthropic's billing, another one for each conversation or request. To other models it says
 * nothing, and no cache of prompts or conversation would ever be found behind it.
 */
function withoutBillingNote(rules: readonly TextPart[]): readonly TextPart[] {
  const [first, ...others] = rules;
  if (!first?.text.startsWith('x-anthropic-billing-header:')) return rules;
  const text = first.text.replace(/^[^\n]*\n*/, '');
  return text === '' ? others : [{ ...first, text }, ...others];
}

/** A mark of the whole request is one of its last part. */
function markedAtEnd(messages: readonly AskedMessage[], mark: Cacheable): readonly AskedMessage[] {
  const last = messages.at(-1);
  const part = last?.parts.at(-1);
  if (!mark.cacheBreakpoint || !last || !part || part.cacheBreakpoint) return messages;
  const parts = last.parts.with(-1, { ...part, ...mark } as never);
  return messages.with(-1, { ...last, parts } as AskedMessage);
}

/** OpenAI's caches go by a key of up to 64 characters; what clients send here is longer, and says who they are. */
function cacheKey({ affinityKey: session }: ReturnType<typeof affinityKey>): Wish[] {
  if (session === undefined) return [];
  const value = hash('sha256', session, 'base64url');
  const param = 'metadata.user_id';
  return [{ ability: 'openai.prompt_cache_key', param, value, otherwise: 'silent', says: '' }];
}

function decodeFormat({ output_config: config, output_format: former }: CountRequest): ResponseFormat {
  return config?.format
    ? jsonFormat(config.format, 'output_config.format')
    : jsonFormat(former, 'output_format');
}

function thinks({ thinking }: CountRequest): boolean {
  return isThinking(thinking?.type);
}

/** None where thinking is turned off: other vendors' models think by default. */
function budgetOf(chat: CountRequest): number | null | undefined {
  if (thinks(chat)) return chat.thinking?.budget_tokens;
  return chat.thinking?.type === 'disabled' && !chat.output_config?.effort ? 0 : undefined;
}

function isThinking(type: unknown): boolean {
  return typeof type === 'string' && type !== 'disabled';
}

/** Of the field `thinking`. */
export function shownThinking(type: unknown, display: unknown) {
  const signsThinking = isThinking(type);
  return { signsThinking, showsThinking: signsThinking && display !== 'omitted' };
}
