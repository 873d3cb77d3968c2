import type {
  AnyImage,
  AskedMessage,
  ReasoningPart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { withAllResults } from '../call-results.ts';
import { isWebAddress } from '../image-source.ts';
import { summaryText, textParts, toolResult } from '../message-parts.ts';
import { refused } from '../refused.ts';
import { textOfFile, titled } from '../text-file.ts';
import { messagesBlocks } from './blocks.ts';
import type { MessagesMessage } from './schema.ts';

type UserContent = Extract<MessagesMessage, { role: 'user' }>['content'];
type UserBlock = Exclude<UserContent, string>[number];
type ToolResultBlock = Extract<UserBlock, { type: 'tool_result' }>;
type ResultBlock = Exclude<NonNullable<ToolResultBlock['content']>, string>[number];
type InputBlock = Exclude<UserBlock, ToolResultBlock> | ResultBlock;
type ImageBlock = Extract<UserBlock, { type: 'image' }>;
type DocumentBlock = Extract<UserBlock, { type: 'document' }>;
type AssistantContent = Extract<MessagesMessage, { role: 'assistant' }>['content'];
type AssistantBlock = Exclude<AssistantContent, string>[number];
type SystemMessage = Extract<MessagesMessage, { role: 'system' }>;
type InputPart = TextPart | AnyImage;

export interface DecodedMessages {
  readonly messages: readonly AskedMessage[];
  /** Blocks that say nothing to this gateway, as paths without numbers. */
  readonly ignored: readonly string[];
}

/** Throws AppError `invalid_request` naming the block that cannot be sent. */
export function decodeMessages(messages: readonly MessagesMessage[]): DecodedMessages {
  const called = new Set<string>();
  const ignored = new Set<string>();
  const lastUser = messages.findLastIndex(({ role }) => role === 'user');
  const decoded = messages.flatMap((message, index): AskedMessage[] => {
    const path = `messages.${index}.content`;
    if (message.role === 'system') return systemMessages(message, index < lastUser, ignored);
    if (message.role === 'user') return userMessages(message.content, path, called);
    return [{ role: 'assistant', parts: assistantParts(message.content, path, called, ignored) }];
  });
  return { messages: withAllResults(decoded), ignored: [...ignored] };
}

function systemMessages(
  { content, clear_at: clearAt }: SystemMessage,
  isOld: boolean,
  ignored: Set<string>,
): AskedMessage[] {
  if (clearAt === 'next_user_message' && isOld) return [];
  const parts: TextPart[] = [];
  for (const block of typeof content === 'string' ? textParts(content) : (content ?? [])) {
    if (block.type === 'text') parts.push({ type: 'text', text: block.text });
    else ignored.add(`messages.content.${block.type}`);
  }
  return parts.length === 0 ? [] : [{ role: 'system', parts }];
}

/** Results of tools, which stand in user messages in this dialect, come first. */
function userMessages(content: UserContent, path: string, called: ReadonlySet<string>): AskedMessage[] {
  if (typeof content === 'string') return [{ role: 'user', parts: textParts(content) }];
  const results: ToolResultPart<AnyImage>[] = [];
  const parts: InputPart[] = [];
  for (const [position, block] of content.entries()) {
    const at = `${path}.${position}`;
    if (block.type === 'tool_result') results.push(resultOf(block, at, called));
    else for (const part of inputParts(block, at)) parts.push(part);
  }
  return [
    ...(results.length > 0 ? [{ role: 'tool' as const, parts: results }] : []),
    ...(parts.length > 0 ? [{ role: 'user' as const, parts }] : []),
  ];
}

function inputParts(block: InputBlock, path: string): InputPart[] {
  switch (block.type) {
    case 'text':
      return textParts([block]);
    case 'image':
      return [imagePart(block, path)];
    case 'document':
      return documentParts(block, path);
    case 'search_result': {
      const text = block.content.map((part) => part.text).join('\n\n');
      return [{ type: 'text', text: titled(text, `${block.title}\n${block.source}`) }];
    }
    case 'tool_reference':
      return [{ type: 'text', text: `The tool ${block.tool_name} can be used now.` }];
    case 'compaction':
      return compactionParts(block, path);
    case 'container_upload':
      throw refused(path, messagesBlocks.container_upload.says);
  }
}

function imagePart({ source }: ImageBlock, path: string): AnyImage {
  const { media_type: mediaType, data, url } = source;
  if (source.type === 'url' && url && isWebAddress(url)) {
    return { type: 'image-url', url, param: `${path}.source.url` };
  }
  if (source.type !== 'base64' || !mediaType || !data || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) {
    throw refused(
      `${path}.source`,
      'send type "base64" with media_type and data, or type "url" with an http or https address',
    );
  }
  return { type: 'image', mediaType: mediaType.toLowerCase(), data };
}

function documentParts({ source, title, context }: DocumentBlock, path: string): InputPart[] {
  const head = [title, context].filter((text) => text).join('\n\n');
  const { type, data, content } = source;
  if (type === 'content' && Array.isArray(content)) {
    const parts = content.flatMap((block, position) =>
      inputParts(block, `${path}.source.content.${position}`),
    );
    return head === '' ? parts : [{ type: 'text', text: head }, ...parts];
  }
  const text =
    type === 'text'
      ? data
      : type === 'content'
        ? content
        : type === 'base64'
          ? textOfFile(data ?? '', '')
          : '';
  if (typeof text !== 'string' || text === '') {
    throw refused(`${path}.source`, messagesBlocks['document with source base64, url or file'].says);
  }
  return [{ type: 'text', text: titled(text, head) }];
}

function compactionParts(
  { content }: { readonly content?: string | null | undefined },
  path: string,
): TextPart[] {
  if (!content) throw refused(path, 'holds no summary that can be read here: send the conversation itself');
  return [{ type: 'text', text: summaryText(content) }];
}

function resultOf(
  block: ToolResultBlock,
  path: string,
  called: ReadonlySet<string>,
): ToolResultPart<AnyImage> {
  if (!called.has(block.tool_use_id)) {
    throw refused(
      `${path}.tool_use_id`,
      'answers no call of the messages before: send the assistant message with the tool_use, too',
    );
  }
  const parts =
    typeof block.content === 'string'
      ? textParts(block.content)
      : (block.content ?? []).flatMap((part, position) => inputParts(part, `${path}.content.${position}`));
  return toolResult(block.tool_use_id, parts, block.is_error ?? false);
}

function assistantParts(
  content: AssistantContent,
  path: string,
  called: Set<string>,
  ignored: Set<string>,
): (TextPart | ReasoningPart | ToolCallPart)[] {
  if (typeof content === 'string') return content === '' ? [] : textParts(content);
  return content.flatMap((block, position): (TextPart | ReasoningPart | ToolCallPart)[] => {
    if (isKind(block, 'text')) return block.text === '' ? [] : textParts([block]);
    if (isKind(block, 'thinking')) return [{ type: 'reasoning', text: block.thinking }];
    if (isKind(block, 'tool_use')) {
      const { id, name, input } = block;
      called.add(id);
      return [{ type: 'tool-call', id, name, arguments: JSON.stringify(input) }];
    }
    if (isKind(block, 'compaction')) return compactionParts(block, `${path}.${position}`);
    // Only the provider that wrote it could read redacted thinking.
    if (block.type !== 'redacted_thinking') ignored.add(`messages.content.${block.type}`);
    return [];
  });
}

function isKind<Kind extends string>(
  block: AssistantBlock,
  kind: Kind,
): block is Extract<AssistantBlock, { type: Kind }> {
  return block.type === kind;
}
