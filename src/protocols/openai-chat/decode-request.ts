import { AppError } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type {
  AnyImage,
  AskedMessage,
  AskedRequest,
  ResponseFormat,
  TextPart,
  ToolCallPart,
  ToolChoice,
  TurnRequest,
} from '../../core/turn.ts';
import { askedReasoning } from '../asked-reasoning.ts';
import { createFieldCheck } from '../field-table.ts';
import { firstProblem } from '../first-problem.ts';
import { given } from '../given.ts';
import { imageFromUrl } from '../image-source.ts';
import { jsonFormat } from '../json-format.ts';
import { chatFields } from './fields.ts';
import { type ChatMessage, type ChatRequest, chatRequest } from './schema.ts';

export interface ChatOptions {
  readonly includeUsage: boolean;
}

const checkFields = createFieldCheck(chatFields);

export function decodeChatRequest(body: unknown): DecodedTurn<ChatOptions> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new AppError('invalid_request', 'The body must be a JSON object with "model" and "messages".');
  }
  const parsed = chatRequest.safeParse(body);
  if (!parsed.success) {
    const { path, message } = firstProblem(parsed.error, body);
    throw new AppError('invalid_request', `${path}: ${message}`, { param: path });
  }
  const chat = parsed.data;
  const ignored = checkFields(body);

  const tools = (chat.tools ?? []).map(({ function: offered }) => ({
    name: offered.name,
    ...(offered.description ? { description: offered.description } : {}),
    parameters: offered.parameters ?? { type: 'object', properties: {} },
  }));
  const stopSequences = (typeof chat.stop === 'string' ? [chat.stop] : (chat.stop ?? [])).filter(
    (sequence) => sequence !== '',
  );
  const maxOutputTokens = chat.max_completion_tokens ?? chat.max_tokens;
  const request: AskedRequest = {
    model: chat.model,
    messages: chat.messages.map(decodeMessage),
    tools,
    toolChoice: decodeToolChoice(chat, tools),
    parallelToolCalls: chat.parallel_tool_calls ?? true,
    sampling: {
      ...given('temperature', chat.temperature),
      ...given('topP', chat.top_p),
      ...given('seed', chat.seed),
      ...given('presencePenalty', chat.presence_penalty || undefined),
      ...given('frequencyPenalty', chat.frequency_penalty || undefined),
    },
    limits: {
      ...given('maxOutputTokens', maxOutputTokens),
      ...(stopSequences.length > 0 ? { stopSequences } : {}),
    },
    responseFormat: chatFormat(chat),
    reasoning: askedReasoning(chat.reasoning_effort, Boolean(chat.reasoning_effort)),
    extra: {},
  };
  return {
    request,
    isStream: chat.stream ?? false,
    options: { includeUsage: chat.stream_options?.include_usage ?? false },
    ignored,
  };
}

function refuse(param: string, reason: string): never {
  throw new AppError('invalid_request', `${param}: ${reason}.`, { param });
}

function decodeMessage(message: ChatMessage, index: number): AskedMessage {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', parts: textParts(message.content) };
    case 'user':
      return { role: 'user', parts: userParts(message.content, index) };
    case 'assistant':
      return { role: 'assistant', parts: assistantParts(message) };
    case 'tool':
      return {
        role: 'tool',
        parts: [
          {
            type: 'tool-result',
            callId: message.tool_call_id,
            text: textParts(message.content)
              .map((part) => part.text)
              .join('\n'),
            isError: false,
          },
        ],
      };
  }
}

function textParts(content: string | readonly { readonly text: string }[]): TextPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.map(({ text }) => ({ type: 'text', text }));
}

function userParts(
  content: Extract<ChatMessage, { role: 'user' }>['content'],
  index: number,
): (TextPart | AnyImage)[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.map((part, position) => {
    if (part.type === 'text') return { type: 'text', text: part.text };
    return imageFromUrl(part.image_url.url, `messages.${index}.content.${position}.image_url.url`);
  });
}

function assistantParts(message: Extract<ChatMessage, { role: 'assistant' }>) {
  const { content } = message;
  const texts: TextPart[] =
    typeof content === 'string'
      ? [{ type: 'text', text: content }]
      : (content ?? []).map((part) => ({
          type: 'text',
          text: part.type === 'text' ? part.text : part.refusal,
        }));
  const calls: ToolCallPart[] = (message.tool_calls ?? []).map((call) => ({
    type: 'tool-call',
    id: call.id,
    name: call.function.name,
    arguments: call.function.arguments,
  }));
  const reasoning = message.reasoning_content
    ? [{ type: 'reasoning' as const, text: message.reasoning_content }]
    : [];
  return [...reasoning, ...texts.filter((part) => part.text !== ''), ...calls];
}

/** The schema stands one level deeper than in the other dialects. */
function chatFormat({ response_format: given }: ChatRequest): ResponseFormat {
  const inner = given?.type === 'json_schema' ? given.json_schema : undefined;
  if (given?.type === 'json_schema' && !inner) refuse('response_format.json_schema', 'is missing');
  return inner
    ? jsonFormat({ type: 'json_schema', schema: inner.schema }, 'response_format.json_schema')
    : jsonFormat(given, 'response_format');
}

function decodeToolChoice(chat: ChatRequest, tools: TurnRequest['tools']): ToolChoice {
  const choice = chat.tool_choice ?? 'auto';
  if (typeof choice === 'string') {
    if (choice === 'required' && tools.length === 0)
      refuse('tool_choice', 'is "required" but tools is empty');
    return { type: choice };
  }
  const { name } = choice.function;
  if (!tools.some((tool) => tool.name === name)) {
    refuse('tool_choice', `names the function "${name}", which tools does not offer`);
  }
  return { type: 'tool', name };
}
