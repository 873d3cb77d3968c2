import { AppError } from '../../core/errors.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { builtinCall } from './builtin-tools.ts';
import type { ToolCall } from './gen/warp_pb.js';
import { decodeStruct } from './struct.ts';
import { answeredCalls, type ConversationTasks, messagesOf, toolCallIn } from './tasks.ts';

/** More than any model asks for together, and than a client can handle. */
const mostCalls = 1_000;

function tooManyCalls(): AppError {
  return new AppError(
    'upstream_protocol',
    `The upstream asked for more than ${mostCalls} calls. Try again.`,
    {
      fault: 'model',
      failover: 'once',
    },
  );
}

/** Clients send calls back, and a call without a name is none. */
const unnamed = 'unnamed_tool';

/**
 * The calls of this turn the client has to answer, as events. A tool that the request did not offer, or one of the
 * upstream's own, is called like any other: the client answers that there is no such tool, and the model goes on.
 */
export function toolCallEvents(
  tasks: ConversationTasks,
  offered: ReadonlySet<string>,
  requestId: string,
): readonly TurnEvent[] {
  const events: TurnEvent[] = [];
  const ids = new Set<string>();
  let index = 0;
  for (const call of openCalls(tasks)) {
    const called = calledTool(call, offered);
    if (!called) continue;
    if (index === mostCalls) throw tooManyCalls();
    // Clients tell results apart by them.
    const { toolCallId } = call;
    const id = toolCallId && !ids.has(toolCallId) ? toolCallId : `call_${requestId}_${index}`;
    ids.add(id);
    events.push(
      { type: 'tool-call-start', index, id, name: called.name },
      { type: 'tool-call-delta', index, arguments: called.arguments },
      { type: 'tool-call-end', index },
    );
    index++;
  }
  return events;
}

function calledTool(
  call: ToolCall,
  offered: ReadonlySet<string>,
): { readonly name: string; readonly arguments: string } | undefined {
  if (call.tool.case === 'callMcpTool') {
    return { name: call.tool.value.name || unnamed, arguments: argumentsOf(call.tool.value.args) };
  }
  const builtin = builtinCall(call);
  // The client must not take it for its own tool of the same name and run that.
  return builtin && offered.has(builtin.name) ? { ...builtin, name: `builtin_${builtin.name}` } : builtin;
}

/**
 * New calls without a result, but for those the upstream settles by itself. An agent of the upstream that is still at
 * work may wait for a tool of the client as well; its other tools are its own affair.
 */
function openCalls(tasks: ConversationTasks): ToolCall[] {
  const answered = answeredCalls(messagesOf(tasks.all()));
  const open: ToolCall[] = [];
  for (const { held, isSurfaced } of tasks.activeEntries()) {
    for (const { content, isNew } of held) {
      const call = isNew ? toolCallIn(content) : undefined;
      if (!call) continue;
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
      // The account carried the turn to its end, which may have been charged.
      fault: 'model',
      failover: 'once',
    });
  }
}
