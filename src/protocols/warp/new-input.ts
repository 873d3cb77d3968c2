import { AppError } from '../../core/errors.ts';
import type { OutboundTurn } from '../../core/protocol.ts';
import type { ImagePart, Message, ToolResultPart } from '../../core/turn.ts';
import { foldHistory } from './fold-history.ts';
import { decodeMemory, type Remembered } from './memory.ts';

/** What one turn says to the upstream. */
export interface NewInput {
  /** Undefined when the turn brings tool results only. */
  readonly query: string | undefined;
  readonly images: readonly ImagePart[];
  readonly results: readonly ToolResultPart[];
  /** The conversation this continues; undefined when it starts afresh, with the history in `query`. */
  readonly remembered: Remembered | undefined;
}

/** The upstream takes at most this many images with one query. */
const maxImages = 20;

/** Throws AppError `invalid_request` for `messages` when they bring nothing new or too many images. */
export function newInputOf(turn: OutboundTurn): NewInput {
  return continuation(turn) ?? freshStart(turn.request.messages);
}

/** Undefined when nothing is remembered, or the new messages cannot be put onto what is. */
function continuation(turn: OutboundTurn): NewInput | undefined {
  if (!turn.remembered) return undefined;
  const remembered = decodeMemory(turn.remembered.memory);
  if (!remembered) return undefined;

  const { newMessages } = turn.remembered;
  const openCalls = openCallsOf(remembered);
  const results = new Map<string, ToolResultPart>();
  for (const message of newMessages) {
    if (message.role === 'assistant') return undefined;
    if (message.role !== 'tool') continue;
    for (const part of message.parts) {
      if (!openCalls.has(part.callId)) return undefined;
      results.set(part.callId, part);
    }
  }
  const { text, images } = userInputOf(newMessages);
  if (results.size === 0 && text === undefined) return undefined;
  return { query: text, images, results: [...results.values()], remembered };
}

function freshStart(messages: readonly Message[]): NewInput {
  const start =
    messages.findLastIndex((message) => message.role === 'assistant' || message.role === 'tool') + 1;
  const { text, images } = userInputOf(messages.slice(start));
  if (text === undefined && !canGoOnFrom(messages[start - 1])) {
    throw new AppError(
      'invalid_request',
      'The messages end without new input; the last one must be a user message with text, a tool result, or the beginning of the answer as an assistant message.',
      { param: 'messages' },
    );
  }
  const folded = foldHistory(messages.slice(0, start), text, maxImages - images.length);
  return {
    query: folded.query,
    images: [...folded.images, ...images],
    results: [],
    remembered: undefined,
  };
}

/** A tool result asks for an answer; a text of the assistant at the end is the beginning of one. */
function canGoOnFrom(message: Message | undefined): boolean {
  if (message?.role !== 'assistant') return message?.role === 'tool';
  const last = message.parts.at(-1);
  return last?.type === 'text' && last.text.trim() !== '';
}

/** All user texts, a blank line between them. An image alone needs some text to go with. */
function userInputOf(messages: readonly Message[]): { text: string | undefined; images: ImagePart[] } {
  const texts: string[] = [];
  const images: ImagePart[] = [];
  for (const message of messages) {
    if (message.role !== 'user') continue;
    for (const part of message.parts) {
      if (part.type === 'image') images.push(part);
      else if (part.text.trim() !== '') texts.push(part.text);
    }
  }
  if (images.length > maxImages) {
    throw new AppError(
      'invalid_request',
      `The upstream takes at most ${maxImages} images at a time, and there are ${images.length}; send fewer.`,
      { param: 'messages' },
    );
  }
  if (texts.length > 0) return { text: texts.join('\n\n'), images };
  return { text: images.length > 0 ? 'See the attached image.' : undefined, images };
}

function openCallsOf(remembered: Remembered): ReadonlySet<string> {
  const open = new Set<string>();
  const answered: string[] = [];
  for (const task of remembered.tasks) {
    for (const { message } of task.messages) {
      if (message.case === 'toolCall' && message.value.tool.case === 'callMcpTool') {
        if (message.value.toolCallId) open.add(message.value.toolCallId);
      } else if (message.case === 'toolCallResult') answered.push(message.value.toolCallId ?? '');
    }
  }
  for (const callId of answered) open.delete(callId);
  return open;
}
