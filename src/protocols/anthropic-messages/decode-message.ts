import type { z } from 'zod';
import type { AnyImage, AskedMessage, AssistantPart, TextPart, ToolResultPart } from '../../core/turn.ts';
import { MadeCalls } from '../shared/calls.ts';
import { filePart, imageFromBase64, imageFromUrl, titled } from '../shared/files.ts';
import {
  argumentsText,
  ContentNotes,
  cacheMark,
  type DecodedMessages,
  decodedMessages,
  type InputPart,
  noteMessage,
  type Place,
  type ReadEntry,
  readContent,
  readMessages,
  resultContent,
  summaryText,
  toolResult,
  type Unshown,
  within,
} from '../shared/read-messages.ts';
import {
  assistantBlock,
  type MessagesMessage,
  message as messageSchema,
  resultBlock,
  systemBlock,
  type ToolResultBlock,
  textBlock,
  userBlock,
} from './schema.ts';
import { proofIn } from './thinking-proof.ts';

type UserBlock = z.infer<typeof userBlock>;
type InputBlock = Exclude<UserBlock, { type: 'tool_result' }> | z.infer<typeof resultBlock>;
type ImageBlock = Extract<UserBlock, { type: 'image' }>;
type DocumentBlock = Extract<UserBlock, { type: 'document' }>;
type AssistantBlock = z.infer<typeof assistantBlock>;
type SystemMessage = Extract<MessagesMessage, { role: 'system' }>;

/** Throws AppError `invalid_request` naming what the user has just sent and cannot be shown. */
export function decodeMessages(messages: readonly unknown[]): DecodedMessages {
  const decoder = new MessageDecoder();
  const roles = messages.map((message) => (holdsResults(message) ? 'tool' : roleOf(message)));
  const entries = readMessages(messages, messageSchema, roles, decoder.notes);
  const lastUser = messages.findLastIndex((message) => roleOf(message) === 'user');
  const decoded = entries.flatMap((entry, index) => decoder.decode(entry, index < lastUser));
  return decodedMessages(decoded, decoder.notes);
}

class MessageDecoder {
  readonly notes = new ContentNotes();
  readonly #calls = new MadeCalls();

  /** `isBeforeUser`: a message of the user follows. */
  decode(entry: ReadEntry<MessagesMessage>, isBeforeUser: boolean): AskedMessage[] {
    const { value: message, place, isNew } = entry;
    if (message === undefined) return [noteMessage(entry)];
    const at = within(place, 'content');
    if (message.role === 'system') return this.#systemMessages(message, isBeforeUser, at);
    if (message.role === 'user') return this.#userMessages(message.content, at, isNew);
    return [{ role: 'assistant', parts: this.#assistantParts(message.content, at) }];
  }

  #systemMessages(
    { content, clear_at: clearAt }: SystemMessage,
    isBeforeUser: boolean,
    place: Place,
  ): AskedMessage[] {
    if (clearAt === 'next_user_message' && isBeforeUser) return [];
    const parts = readContent(this.notes, content, systemBlock, place, (block) => {
      if ('text' in block && typeof block.text === 'string') return [{ type: 'text', text: block.text }];
      // Tools that come and go are read with the others, see offered-tools.ts; those of servers are not available.
      if ('tool' in block && /^mcp_/.test((block.tool as { readonly type: string }).type)) {
        this.notes.ignore(`messages.content.${block.type}`);
      }
      return [];
    });
    return parts.length === 0 ? [] : [{ role: 'system', parts }];
  }

  /** Results of tools come first; this dialect has them in user messages. */
  #userMessages(content: unknown, place: Place, isNew: boolean): AskedMessage[] {
    const results: ToolResultPart<AnyImage>[] = [];
    const parts = readContent(this.notes, content, userBlock, place, (block, at) => {
      if (block.type !== 'tool_result') return this.#inputParts(block, at);
      results.push(this.#result(block, at, isNew));
      return [];
    });
    if (results.length === 0) return [{ role: 'user', parts }];
    return [
      { role: 'tool', parts: results },
      ...(parts.length > 0 ? [{ role: 'user' as const, parts }] : []),
    ];
  }

  #inputParts(block: InputBlock, place: Place): readonly InputPart[] {
    switch (block.type) {
      case 'image':
        return [this.notes.shown(imageOf(block, place), place, block.type)];
      case 'document':
        return this.#documentParts(block, place);
      case 'search_result': {
        const texts = readContent(this.notes, block.content, textBlock, within(place, 'content'), (part) => [
          { type: 'text', text: part.text },
        ]);
        const text = texts.map((part) => part.text).join('\n\n');
        return [{ type: 'text', text: titled(text, `${block.title}\n${block.source}`) }];
      }
      case 'tool_reference':
        return [{ type: 'text', text: `The tool ${block.tool_name} can be used now.` }];
      case 'compaction':
        return [this.#summary(block, place)];
      case 'container_upload':
        return [this.notes.replace(upload, place, block.type)];
      default:
        return [{ type: 'text', text: block.text }];
    }
  }

  #documentParts(block: DocumentBlock, place: Place): readonly InputPart[] {
    const { source, title, context } = block;
    const head = [title, context].filter((text) => text).join('\n\n');
    const { type, data, content } = source;
    if (type === 'content' && Array.isArray(content)) {
      const at: Place = { path: `${place.path}.source.content`, isJustSent: place.isJustSent };
      const parts = readContent(this.notes, content, resultBlock, at, (inner, innerAt) =>
        this.#inputParts(inner, innerAt),
      );
      return head === '' ? parts : [{ type: 'text', text: head }, ...parts];
    }
    const text = type === 'text' ? data : type === 'content' ? content : undefined;
    if (typeof text === 'string' && text !== '') return [{ type: 'text', text: titled(text, head) }];
    const file = type === 'base64' && data ? { data, name: head } : { data: undefined, name: title };
    const fields = { dataField: 'source.data', field: 'source' };
    return [filePart({ ...file, ...fields }, this.notes, place, block.type)];
  }

  #summary({ content }: { readonly content?: string | null | undefined }, place: Place): TextPart {
    if (content) return { type: 'text', text: summaryText(content) };
    return this.notes.replace(sealedSummary, place, 'compaction');
  }

  #result(block: ToolResultBlock, place: Place, isNew: boolean): ToolResultPart<AnyImage> {
    const advice = 'send the assistant message with the tool_use, too';
    const param = `${place.path}.tool_use_id`;
    const callId = this.#calls.answered(block.tool_use_id, { param, isNew, advice });
    const parts = readContent(
      this.notes,
      resultContent(block.content),
      resultBlock,
      // What a tool brought is no fault of the user.
      { path: `${place.path}.content`, isJustSent: false },
      (part, at) => this.#inputParts(part, at),
    );
    return { ...toolResult(callId, parts, block.is_error ?? false), ...cacheMark(block) };
  }

  #assistantParts(content: unknown, place: Place): AssistantPart[] {
    return readContent(this.notes, content ?? null, assistantBlock, place, (block, at) =>
      this.#assistantBlock(block, at),
    ).filter((part) => part.type !== 'text' || part.text !== '');
  }

  #assistantBlock(block: AssistantBlock, place: Place): AssistantPart[] {
    if ('text' in block && typeof block.text === 'string') return [{ type: 'text', text: block.text }];
    if (isKind(block, 'thinking')) {
      const proof = proofIn(block.signature);
      return [{ type: 'reasoning', text: block.thinking, ...(proof && { proof }) }];
    }
    if (isKind(block, 'tool_use')) {
      const { name, input } = block;
      return [
        { type: 'tool-call', id: this.#calls.add(block.id, name), name, arguments: argumentsText(input) },
      ];
    }
    if (isKind(block, 'compaction')) return [this.#summary(block, place)];
    // Only the provider that wrote it could read redacted thinking.
    if (block.type !== 'redacted_thinking') this.notes.ignore(`messages.content.${block.type}`);
    return [];
  }
}

const upload: Unshown = {
  what: 'an uploaded file',
  why: 'is in a container, and there are no containers here',
  advice: 'send the text of the file',
};
const sealedSummary: Unshown = {
  what: 'a summary of the conversation',
  why: 'holds nothing that can be read here',
  advice: 'send the conversation itself',
};

function imageOf({ source }: ImageBlock, { path }: Place): AnyImage | Unshown {
  const { data, url } = source;
  if (source.type === 'url' && url) return imageFromUrl(url, `${path}.source.url`, 'source.url');
  if (source.type === 'base64' && typeof data === 'string') {
    return imageFromBase64(data, `${path}.source.data`, 'source');
  }
  return {
    what: 'an image',
    why: 'is not in the request',
    advice: 'send type "base64" with data, or type "url" with an http or https address',
    field: 'source',
  };
}

function roleOf(message: unknown): string | undefined {
  const role = (message as { readonly role?: unknown } | null | undefined)?.role;
  return role === 'user' || role === 'assistant' || role === 'system' ? role : undefined;
}

function holdsResults(message: unknown): boolean {
  const content = (message as { readonly content?: unknown } | null | undefined)?.content;
  if (roleOf(message) !== 'user' || !Array.isArray(content)) return false;
  return content.some((block: { readonly type?: unknown } | null) => block?.type === 'tool_result');
}

function isKind<Kind extends string>(
  block: AssistantBlock,
  kind: Kind,
): block is Extract<AssistantBlock, { type: Kind }> {
  return block.type === kind;
}
