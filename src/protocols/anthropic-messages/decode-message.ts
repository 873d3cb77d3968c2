import { AppError } from '../../core/errors.ts';
import type {
  AnyImage,
  AskedMessage,
  ReasoningPart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { isWebAddress } from '../image-source.ts';
import type { MessagesMessage } from './schema.ts';

type UserContent = Extract<MessagesMessage, { role: 'user' }>['content'];
type UserBlock = Exclude<UserContent, string>[number];
type ToolResultBlock = Extract<UserBlock, { type: 'tool_result' }>;
type ImageBlock = Extract<UserBlock, { type: 'image' }>;
type DocumentBlock = Extract<UserBlock, { type: 'document' }>;
type AssistantContent = Extract<MessagesMessage, { role: 'assistant' }>['content'];

/** One message of the dialect as neutral ones: results of tools, which stand in user messages here, come first. */
export function decodeMessage(message: MessagesMessage, index: number): AskedMessage[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'system', parts: textOf(message.content) }];
    case 'assistant':
      return [{ role: 'assistant', parts: assistantParts(message.content) }];
    case 'user':
      return userMessages(message.content, `messages.${index}.content`);
  }
}

export function textOf(content: string | readonly { readonly text: string }[]): TextPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.map(({ text }) => ({ type: 'text', text }));
}

function userMessages(content: UserContent, path: string): AskedMessage[] {
  if (typeof content === 'string') return [{ role: 'user', parts: textOf(content) }];
  const results: ToolResultPart<AnyImage>[] = [];
  const parts: (TextPart | AnyImage)[] = [];
  for (const [position, block] of content.entries()) {
    const at = `${path}.${position}`;
    if (block.type === 'tool_result') results.push(toolResult(block, at));
    else parts.push(inputPart(block, at));
  }
  return [
    ...(results.length > 0 ? [{ role: 'tool' as const, parts: results }] : []),
    ...(parts.length > 0 ? [{ role: 'user' as const, parts }] : []),
  ];
}

function inputPart(block: Exclude<UserBlock, ToolResultBlock>, path: string): TextPart | AnyImage {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: block.text };
    case 'image':
      return imagePart(block, path);
    case 'document':
      return documentPart(block, path);
  }
}

function imagePart({ source }: ImageBlock, path: string): AnyImage {
  const { media_type: mediaType, data, url } = source;
  if (source.type === 'url' && url && isWebAddress(url)) {
    return { type: 'image-url', url, param: `${path}.source.url` };
  }
  if (source.type !== 'base64' || !mediaType || !data || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) {
    throw new AppError(
      'invalid_request',
      `${path}.source: send type "base64" with media_type and data, or type "url" with an http or https address.`,
      { param: `${path}.source` },
    );
  }
  return { type: 'image', mediaType: mediaType.toLowerCase(), data };
}

function documentPart({ source, title }: DocumentBlock, path: string): TextPart {
  if (source.type !== 'text' || !source.data) {
    throw new AppError(
      'invalid_request',
      `${path}.source: only plain text documents can be sent; take the text out of this one first.`,
      { param: `${path}.source` },
    );
  }
  return { type: 'text', text: title ? `${title}\n\n${source.data}` : source.data };
}

function toolResult(block: ToolResultBlock, path: string): ToolResultPart<AnyImage> {
  const parts: (TextPart | AnyImage)[] =
    typeof block.content === 'string'
      ? textOf(block.content)
      : (block.content ?? []).map((part, position) => inputPart(part, `${path}.content.${position}`));
  const images = parts.filter((part) => part.type !== 'text');
  return {
    type: 'tool-result',
    callId: block.tool_use_id,
    text: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n'),
    ...(images.length > 0 ? { images } : {}),
    isError: block.is_error ?? false,
  };
}

function assistantParts(content: AssistantContent): (TextPart | ReasoningPart | ToolCallPart)[] {
  if (typeof content === 'string') return content === '' ? [] : textOf(content);
  return content.flatMap((block): (TextPart | ReasoningPart | ToolCallPart)[] => {
    switch (block.type) {
      case 'text':
        return block.text === '' ? [] : [{ type: 'text', text: block.text }];
      case 'thinking':
        return [{ type: 'reasoning', text: block.thinking }];
      case 'tool_use':
        return [
          { type: 'tool-call', id: block.id, name: block.name, arguments: JSON.stringify(block.input) },
        ];
      default:
        // Redacted thinking: only the provider that wrote it could read it.
        return [];
    }
  });
}
