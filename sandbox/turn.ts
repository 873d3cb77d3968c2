// One accepted chat turn: what a scenario needs to know to answer it.
import { randomUUID } from 'node:crypto';
import { answerText, type RequestedCall, requestedCalls, resultText, type ToolResult } from './answer.ts';
import type { Conversation } from './conversations.ts';
import { rawField } from './schema.ts';
import { rootOf } from './tasks.ts';
import type { InputContext, Message, Task, UserQuery, WarpRequest } from './wire.ts';

export interface Turn {
  readonly conversation: Conversation;
  readonly requestId: string;
  readonly model: string;
  /** The root task's id, sent by the client or to be created by this turn. */
  readonly taskId: string;
  readonly isFirst: boolean;
  readonly query: string;
  readonly results: readonly ToolResult[];
  /** The whole text a plain answer gives. */
  readonly answer: string;
  readonly calls: readonly RequestedCall[];
  readonly serverId: string;
  readonly wantsReasoning: boolean;
  /** The number behind the scenario's name, as in `burst-500`. */
  readonly size: number | undefined;
  readonly request: WarpRequest;
  /** A message of the root task with an id of its own, opaque server data and a field no schema knows. */
  message(content: Partial<Message>): Message;
  /** Characters produced so far; scenarios add to it as they send text. */
  outputLength: number;
}

/** The inputs of a request in the form they are looked at. */
export interface TurnInput {
  query: string;
  results: ToolResult[];
  toolNames: string[];
  serverId: string;
}

export function readInput(request: WarpRequest): TurnInput {
  const listed = request.input?.userInputs?.inputs ?? [];
  const servers = request.mcpContext?.servers ?? [];
  const messages = (request.taskContext?.tasks ?? []).flatMap((task) => task.messages ?? []);
  const names = new Map(messages.map(({ toolCall }) => [toolCall?.toolCallId, toolCall?.callMcpTool?.name]));
  return {
    query: listed.map((one) => one.userQuery?.query ?? '').join(''),
    results: listed.flatMap(({ toolCallResult: result }) => {
      if (!result) return [];
      const toolCallId = result.toolCallId ?? '';
      const name = names.get(toolCallId) ?? 'unknown';
      const isError = Boolean(result.callMcpTool?.error);
      return [{ toolCallId, name, text: resultText(result.callMcpTool), isError }];
    }),
    toolNames: servers.flatMap((server) => (server.tools ?? []).map((tool) => tool.name ?? '')),
    serverId: servers[0]?.id ?? '',
  };
}

export function createTurn(
  request: WarpRequest,
  conversation: Conversation,
  scenario: { name: string; size: number | undefined },
): Turn {
  const input = readInput(request);
  const tasks: readonly Task[] = request.taskContext?.tasks ?? [];
  const root = rootOf(tasks);
  const requestId = randomUUID();
  const calls = requestedCalls(input.query, input.toolNames);
  // A task id of its own per conversation, except where streams are made ahead of time.
  const isBulk = scenario.name === 'burst' || scenario.name === 'paced';
  const taskId = root?.id ?? (isBulk ? 'task-bulk' : `task-${randomUUID()}`);
  let messageCount = 0;
  return {
    conversation,
    requestId,
    model: request.settings?.modelConfig?.base ?? '',
    taskId,
    isFirst: root === undefined,
    query: input.query,
    results: input.results,
    answer: answerText(input.query, input.results, request),
    calls: request.settings?.supportsParallelToolCalls ? calls : calls.slice(0, 1),
    serverId: input.serverId,
    wantsReasoning: request.settings?.supportsReasoningMessage ?? false,
    size: scenario.size,
    request,
    message(content) {
      messageCount += 1;
      const id = `message-${conversation.turnCount}-${messageCount}`;
      return createMessage(id, taskId, requestId, content);
    },
    outputLength: 0,
  };
}

export function createMessage(
  id: string,
  taskId: string,
  requestId: string,
  content: Partial<Message>,
): Message {
  return {
    id,
    taskId,
    requestId,
    timestamp: { seconds: Math.floor(Date.now() / 1_000) },
    serverMessageData: `server-data-of-${id}`,
    // A field no schema has: the client must send it back byte for byte.
    $unknowns: [rawField(9_001, `unknown field of ${id}`)],
    ...content,
  };
}

/** The request's own input as the server writes it into the history. */
export function historyOf(turn: Turn): Message[] {
  const listed = turn.request.input?.userInputs?.inputs ?? [];
  const context: InputContext | undefined = turn.request.input?.context;
  return listed.flatMap(({ userQuery, toolCallResult }) => {
    if (toolCallResult) {
      const { $unknowns: _inputNumbers, ...known } = toolCallResult;
      return [turn.message({ toolCallResult: known })];
    }
    return userQuery ? [turn.message({ userQuery: historyQuery(userQuery, context) })] : [];
  });
}

function historyQuery(
  query: UserQuery,
  context: InputContext | undefined,
): UserQuery & { context?: InputContext } {
  const { $unknowns: _inputOnly, ...known } = query;
  return context ? { ...known, context } : known;
}
