import { refused } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { AskedRequest, ResponseFormat } from '../../core/turn.ts';
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
import { customArguments, customInput } from '../shared/tools.ts';
import { decodeMessages } from './decode-message.ts';
import { chatFields } from './fields.ts';
import { offeredTools } from './offered-tools.ts';
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
  const chat = parseBody(chatRequest, body, '"model" and "messages"', isPlain);
  const fields = checkFields(body as object);
  const { tools, toolChoice, customTools, ignored: leftOut } = offeredTools(chat);
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
    reasoning: askedReasoning(chat.reasoning_effort, Boolean(chat.reasoning_effort)),
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
    ignored: [...leftOut, ...notShown, ...fields.ignored],
    ...affinityKey(chat['prompt_cache_key']),
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
