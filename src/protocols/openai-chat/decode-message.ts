import type { AnyImage, AskedMessage, ReasoningPart, TextPart, ToolCallPart } from '../../core/turn.ts';
import { withAllResults } from '../call-results.ts';
import { customArguments } from '../custom-tool.ts';
import { partOfFile } from '../file-part.ts';
import { imageFromUrl } from '../image-source.ts';
import { textParts, toolResult } from '../message-parts.ts';
import { refused } from '../refused.ts';
import { chatParts } from './parts.ts';
import type { ChatMessage } from './schema.ts';

type UserMessage = Extract<ChatMessage, { role: 'user' }>;
type UserPart = Exclude<UserMessage['content'], string>[number];
type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>;

/** Throws AppError `invalid_request` naming the part that cannot be sent. */
export function decodeMessages(messages: readonly ChatMessage[]): readonly AskedMessage[] {
  const called = new Set<string>();
  const decoded = messages.map((message, index) => {
    const path = `messages.${index}`;
    for (const call of message.role === 'assistant' ? (message.tool_calls ?? []) : []) called.add(call.id);
    if (message.role === 'tool' && !called.has(message.tool_call_id)) {
      throw refused(
        `${path}.tool_call_id`,
        'answers no call of the messages before: send the assistant message with the call, too',
      );
    }
    return decodeMessage(message, path);
  });
  return withAllResults(decoded);
}

function decodeMessage(message: ChatMessage, path: string): AskedMessage {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', parts: textParts(message.content) };
    case 'user':
      return { role: 'user', parts: namedParts(message, path) };
    case 'assistant':
      return { role: 'assistant', parts: assistantParts(message, path) };
    case 'tool':
      return {
        role: 'tool',
        parts: [toolResult(message.tool_call_id, inputParts(message.content ?? '', `${path}.content`))],
      };
    case 'function':
      throw refused(`${path}.role`, chatParts['function messages'].says);
  }
}

/** Where several people speak, the model has to see who said what. */
function namedParts({ name, content }: UserMessage, path: string): (TextPart | AnyImage)[] {
  const parts = inputParts(content, `${path}.content`);
  if (!name) return parts;
  const first = parts.findIndex((part) => part.type === 'text');
  if (first === -1) return [{ type: 'text', text: `${name}:` }, ...parts];
  return parts.map((part, index) =>
    index === first && part.type === 'text' ? { type: 'text', text: `${name}: ${part.text}` } : part,
  );
}

function inputParts(content: UserMessage['content'], path: string): (TextPart | AnyImage)[] {
  if (typeof content === 'string') return textParts(content);
  return content.map((part, position) => inputPart(part, `${path}.${position}`));
}

function inputPart(part: UserPart, path: string): TextPart | AnyImage {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image_url':
      return imageFromUrl(part.image_url.url, `${path}.image_url.url`);
    case 'file':
      return filePart(part.file, `${path}.file`);
    case 'input_audio':
      throw refused(path, chatParts['input_audio in user messages'].says);
  }
}

function filePart(file: Extract<UserPart, { type: 'file' }>['file'], path: string): TextPart | AnyImage {
  if (!file.file_data) throw refused(path, 'no files are kept here: send file_data instead of file_id');
  const part = partOfFile(file.file_data, file.filename, `${path}.file_data`);
  if (part === undefined) {
    throw refused(
      `${path}.file_data`,
      'only text files and images can be sent: take the text out of this one first',
    );
  }
  return part;
}

function assistantParts(
  message: AssistantMessage,
  path: string,
): (TextPart | ReasoningPart | ToolCallPart)[] {
  if (message.function_call) {
    throw refused(`${path}.function_call`, chatParts['function_call in assistant messages'].says);
  }
  if (message.audio) throw refused(`${path}.audio`, chatParts['audio in assistant messages'].says);
  const calls = (message.tool_calls ?? []).map((call): ToolCallPart => {
    const { id } = call;
    return call.type === 'custom'
      ? { type: 'tool-call', id, name: call.custom.name, arguments: customArguments(call.custom.input) }
      : { type: 'tool-call', id, name: call.function.name, arguments: call.function.arguments };
  });
  return [
    ...reasoningParts(message),
    ...answerTexts(message)
      .filter((text) => text !== '')
      .map((text): TextPart => ({ type: 'text', text })),
    ...calls,
  ];
}

/** A refusal is what the model said, wherever the client keeps it. */
function answerTexts({ content, refusal }: AssistantMessage): string[] {
  const texts =
    typeof content === 'string'
      ? [content]
      : (content ?? []).map((part) => (part.type === 'text' ? part.text : part.refusal));
  return texts.every((text) => text === '') ? [refusal ?? ''] : texts;
}

function reasoningParts(message: AssistantMessage): ReasoningPart[] {
  const text =
    message.reasoning_content ||
    message.reasoning ||
    (message.reasoning_details ?? []).map((detail) => detail.text ?? detail.summary ?? '').join('');
  return text ? [{ type: 'reasoning', text }] : [];
}
