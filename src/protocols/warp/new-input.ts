import type { ImageLimits, OutboundTurn } from '../../core/protocol.ts';
import type { ImagePart, ToolResultPart } from '../../core/turn.ts';
import { userInputOf, wholeQuery } from '../whole-query.ts';
import { builtinCall } from './builtin-tools.ts';
import { decodeMemory, type Remembered } from './memory.ts';
import { answeredCalls, toolCallIn } from './tasks.ts';

/** What one turn says to the upstream. */
export interface NewInput {
  /** Undefined when the turn brings tool results only. */
  readonly query: string | undefined;
  readonly images: readonly ImagePart[];
  readonly results: readonly ToolResultPart[];
  /** The conversation this continues; undefined when it starts afresh, with the history in `query`. */
  readonly remembered: Remembered | undefined;
}

/** With one query. The official client makes larger images smaller before it sends them. */
export const imageLimits: ImageLimits = { maxCount: 20, maxBytes: 3_750_000 };

/** Throws AppError `invalid_request` for `messages` when they bring nothing new. */
export function newInputOf(turn: OutboundTurn): NewInput {
  return continuation(turn) ?? freshStart(turn);
}

function freshStart({ request }: OutboundTurn): NewInput {
  return { ...wholeQuery(request), results: [], remembered: undefined };
}

/** Undefined when nothing is remembered, or the new messages cannot be put onto what is. */
function continuation(turn: OutboundTurn): NewInput | undefined {
  if (!turn.remembered) return undefined;
  const remembered = decodeMemory(turn.remembered.memory);
  if (!remembered) return undefined;

  const { newMessages } = turn.remembered;
  const openCalls = openCallsOf(remembered);
  const results = new Map<string, ToolResultPart>();
  const builtinResults = new Map<string, BuiltinResult>();
  for (const message of newMessages) {
    if (message.role === 'assistant') return undefined;
    if (message.role !== 'tool') continue;
    for (const part of message.parts) {
      const call = openCalls.get(part.callId);
      if (!call) return undefined;
      if (call.builtin === undefined) results.set(part.callId, part);
      else builtinResults.set(part.callId, { name: call.builtin, result: part });
    }
  }
  const { text, images } = userInputOf(newMessages);
  const query = withBuiltinResults([...builtinResults.values()], text);
  if (results.size === 0 && query === undefined) return undefined;
  return { query, images, results: [...results.values()], remembered };
}

interface OpenCall {
  /** The name of the upstream's own tool, if it is one. */
  readonly builtin: string | undefined;
}

function openCallsOf(remembered: Remembered): ReadonlyMap<string, OpenCall> {
  const open = new Map<string, OpenCall>();
  const messages = remembered.tasks.flatMap((task) => task.messages);
  const answered = answeredCalls(messages);
  for (const content of messages) {
    const call = toolCallIn(content);
    if (!call?.toolCallId || answered.has(call.toolCallId)) continue;
    const builtin = builtinCall(call)?.name;
    if (builtin !== undefined || call.tool.case === 'callMcpTool') open.set(call.toolCallId, { builtin });
  }
  return open;
}

interface BuiltinResult {
  readonly name: string;
  readonly result: ToolResultPart;
}

/**
 * What the client says to calls of the upstream's own tools goes in front of its text, as JSON, so that a result cannot
 * pass for something else. Such a call has no form of a result here; one without a result counts as cancelled.
 */
function withBuiltinResults(results: readonly BuiltinResult[], text: string | undefined): string | undefined {
  if (results.length === 0) return text;
  const records = results.map(({ name, result }) =>
    JSON.stringify({
      role: 'tool',
      tool_call_id: result.callId,
      name,
      is_error: result.isError,
      content: result.text,
    }),
  );
  return [
    `You called tools that are not available here. The answers:\n${records.join('\n')}`,
    text ?? 'Continue with the tools that are available.',
  ].join('\n\n');
}
