import { AppError } from '../../core/errors.ts';
import type { TurnEvent } from '../../core/turn.ts';
import type { ToolCall } from './gen/warp_pb.js';
import { decodeStruct } from './struct.ts';
import { answeredCalls, type ConversationTasks } from './tasks.ts';

/**
 * The calls of this turn the client has to answer, as events. Throws AppError `upstream_protocol` when the upstream
 * waits for a tool that the request did not offer: nobody could answer that.
 */
export function toolCallEvents(
  tasks: ConversationTasks,
  offered: ReadonlySet<string>,
  requestId: string,
): readonly TurnEvent[] {
  const events: TurnEvent[] = [];
  let index = 0;
  for (const call of openCalls(tasks)) {
    if (call.tool.case !== 'callMcpTool') {
      throw new AppError(
        'upstream_protocol',
        'The upstream asked for a tool of its own that this request did not offer. Try again.',
      );
    }
    const name = call.tool.value.name ?? '';
    if (!offered.has(name)) {
      throw new AppError(
        'upstream_protocol',
        'The model called a tool that the request did not offer. Try again, or offer the tool.',
        { cause: new Error(`the tool is named ${JSON.stringify(name)}`) },
      );
    }
    const id = call.toolCallId || `call_${requestId}_${index}`;
    events.push(
      { type: 'tool-call-start', index, id, name },
      { type: 'tool-call-delta', index, arguments: argumentsOf(call.tool.value.args) },
      { type: 'tool-call-end', index },
    );
    index++;
  }
  return events;
}

/**
 * New calls without a result, but for those the upstream settles by itself. An agent of the upstream that is still at
 * work may wait for a tool of the client as well; its other tools are its own affair.
 */
function openCalls(tasks: ConversationTasks): ToolCall[] {
  const answered = answeredCalls(tasks.all());
  const open: ToolCall[] = [];
  for (const { held, isSurfaced } of tasks.activeEntries()) {
    for (const { message, isNew } of held) {
      if (!isNew || message.message.case !== 'toolCall') continue;
      const call = message.message.value;
      if (call.tool.case === 'server' || call.tool.case === 'subagent') continue;
      if (!isSurfaced && call.tool.case !== 'callMcpTool') continue;
      if (!call.toolCallId || !answered.has(call.toolCallId)) open.push(call);
    }
  }
  return open;
}

function argumentsOf(args: Uint8Array | undefined): string {
  try {
    return JSON.stringify(args === undefined ? {} : decodeStruct(args));
  } catch (cause) {
    throw new AppError('upstream_protocol', 'The upstream sent a tool call that cannot be read. Try again.', {
      cause,
    });
  }
}
