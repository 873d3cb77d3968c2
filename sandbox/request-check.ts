// What a proper client does, by the wire's description. Refusals are what a server would really turn down; problems are what it
// might swallow today and a test should still hear about.
import type { IncomingHttpHeaders } from 'node:http';
import type { Conversation } from './conversations.ts';
import { checkEcho } from './echo-check.ts';
import { pendingCalls } from './tasks.ts';
import type { Input, WarpRequest } from './wire.ts';

const callMcpToolType = 9;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Why the request deserves a 400, or undefined. */
export function refusalOf(request: WarpRequest): string | undefined {
  if (!request.settings?.modelConfig?.base) return 'settings.model_config.base is empty';
  if (!hasInput(request.input)) return 'the request has no input';
  return undefined;
}

function hasInput(input: Input | undefined): boolean {
  if (!input) return false;
  const listed = input.userInputs?.inputs ?? [];
  const isFilled = listed.some((one) => one.userQuery ?? one.toolCallResult ?? one.$unknowns);
  return isFilled || Boolean(input.resumeConversation ?? input.summarizeConversation ?? input.$unknowns);
}

/** Every way in which the request is not what the wire's description says. `conversation` is the one it continues. */
export function problemsOf(
  request: WarpRequest,
  headers: IncomingHttpHeaders,
  conversation: Conversation | undefined,
): string[] {
  return [
    ...headerProblems(headers),
    ...settingsProblems(request),
    ...toolProblems(request),
    ...inputProblems(request),
    ...resultProblems(request),
    ...historyProblems(request, conversation),
  ];
}

function headerProblems(headers: IncomingHttpHeaders): string[] {
  const problems = Object.keys(headers)
    .filter((name) => name.startsWith('x-warp-client-'))
    .map((name) => `header ${name} claims to be the official client`);
  if (!headers.accept?.includes('text/event-stream')) problems.push('header accept is not text/event-stream');
  return problems;
}

function settingsProblems({ settings, metadata, taskContext }: WarpRequest): string[] {
  const problems: string[] = [];
  const supported = settings?.supportedTools ?? [];
  if (supported.length !== 1 || supported[0] !== callMcpToolType) {
    problems.push(
      `supported_tools is [${supported.join(', ')}] instead of [${callMcpToolType}] (CALL_MCP_TOOL)`,
    );
  }
  if (!metadata) problems.push('metadata is absent');
  if (!taskContext) problems.push('task_context is absent');
  return problems;
}

function toolProblems({ mcpContext }: WarpRequest): string[] {
  if (!mcpContext) return [];
  const problems: string[] = [];
  const servers = mcpContext.servers ?? [];
  if (mcpContext.tools || mcpContext.resources) problems.push('mcp_context uses the deprecated flat form');
  if (servers.length === 0) problems.push('mcp_context has no servers');
  for (const server of servers) {
    if (!uuid.test(server.id ?? '')) problems.push(`mcp server id "${server.id ?? ''}" is not a UUID`);
    const names = (server.tools ?? []).map((tool) => tool.name ?? '');
    if (names.length === 0) problems.push('an mcp server without tools should be left out');
    if (names.includes('')) problems.push('a tool has no name');
    if (new Set(names).size < names.length) problems.push('two tools have the same name');
    for (const tool of server.tools ?? []) {
      if (!tool.inputSchema) problems.push(`tool ${tool.name ?? ''} has no input_schema`);
    }
  }
  return problems;
}

function inputProblems({ input }: WarpRequest): string[] {
  const problems: string[] = [];
  const listed = input?.userInputs?.inputs ?? [];
  if (input?.$unknowns) problems.push('input carries a kind or field the sandbox does not know');
  if (listed.some((one) => !one.userQuery && !one.toolCallResult))
    problems.push('a user input is empty or unknown');
  const firstQuery = listed.findIndex((one) => one.userQuery);
  const lastResult = listed.findLastIndex((one) => one.toolCallResult);
  if (firstQuery >= 0 && firstQuery < lastResult) problems.push('a user query stands before a tool result');
  for (const image of input?.context?.images ?? []) {
    const text = Buffer.from(image.data ?? []).toString('latin1');
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) problems.push('image data is not the text of standard base64');
    if (!image.mimeType) problems.push('an image has no mime_type');
  }
  return problems;
}

function resultProblems({ input, taskContext, mcpContext }: WarpRequest): string[] {
  const problems: string[] = [];
  const results = (input?.userInputs?.inputs ?? []).flatMap((one) => one.toolCallResult ?? []);
  const pending = new Map(pendingCalls(taskContext?.tasks ?? []).map((call) => [call.toolCallId, call]));
  const serverIds = new Set((mcpContext?.servers ?? []).map((server) => server.id));
  const answered = new Set<string | undefined>();
  for (const result of results) {
    const label = `tool result ${result.toolCallId ?? ''}`;
    const call = pending.get(result.toolCallId);
    if (!call) problems.push(`${label} answers no open tool call of the echoed tasks`);
    else if (!serverIds.has(call.callMcpTool?.serverId)) problems.push(`${label}: its mcp server is gone`);
    if (answered.has(result.toolCallId)) problems.push(`${label} is sent twice`);
    if (!result.callMcpTool) problems.push(`${label} is not a call_mcp_tool result`);
    else if (!result.callMcpTool.success && !result.callMcpTool.error) {
      problems.push(`${label} is neither success nor error`);
    }
    answered.add(result.toolCallId);
  }
  const left = [...pending.keys()].filter((id) => !answered.has(id));
  // A resumed or summarised conversation answers nothing by design.
  if (input?.userInputs) problems.push(...left.map((id) => `tool call ${id} is pending but not answered`));
  return problems;
}

function historyProblems(
  { taskContext, metadata }: WarpRequest,
  conversation: Conversation | undefined,
): string[] {
  const tasks = taskContext?.tasks ?? [];
  const problems: string[] = [];
  if (!metadata?.conversationId && tasks.length > 0)
    problems.push('tasks are sent without a conversation_id');
  if (tasks.filter((task) => !task.dependencies?.parentTaskId).length > 1)
    problems.push('more than one root task');
  if (conversation) {
    if (conversation.lastTurn === 'open') problems.push('another turn of this conversation is still open');
    problems.push(...checkEcho(conversation, tasks));
  }
  return problems;
}
