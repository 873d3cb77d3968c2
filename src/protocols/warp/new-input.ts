import type { OutboundTurn } from '../../core/protocol.ts';
import type { ImagePart, ToolResultPart } from '../../core/turn.ts';
import { userInputOf, wholeQuery } from '../whole-query.ts';
import { checkImages } from './check-images.ts';
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

/** Throws AppError `invalid_request` for `messages` when they bring nothing new, or images it does not take. */
export function newInputOf(turn: OutboundTurn): NewInput {
  const input = continuation(turn) ?? freshStart(turn);
  checkImages(input.images);
  for (const { images = [] } of input.results) checkImages(images);
  return input;
}

function freshStart({ request }: OutboundTurn): NewInput {
  return { ...wholeQuery(request.messages, maxImages), results: [], remembered: undefined };
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
  const { text, images } = userInputOf(newMessages, maxImages);
  if (results.size === 0 && text === undefined) return undefined;
  return { query: text, images, results: [...results.values()], remembered };
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
