import { BinaryReader, type BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { AppError } from '../../core/errors.ts';
import type { Tool, TurnEvent } from '../../core/turn.ts';
import { mostCalls, tooManyCalls } from '../shared/failed-answer.ts';
import type { ToolCall } from './schema.ts';
import { answeredCalls, type ConversationTasks, messagesOf, toolCallIn } from './tasks.ts';

/** Clients send calls back, and a call without a name is none. */
const unnamed = 'unnamed_tool';

/**
 * The calls of this turn the client has to answer, as events. A tool that the request did not offer, or one of the
 * upstream's own, is called like any other: the client answers that there is no such tool, and the model goes on.
 */
export function toolCallEvents(
  tasks: ConversationTasks,
  offered: readonly Pick<Tool, 'name'>[],
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
  offered: readonly Pick<Tool, 'name'>[],
): { readonly name: string; readonly arguments: string } | undefined {
  if (call.tool.case === 'callMcpTool') {
    return { name: call.tool.value.name || unnamed, arguments: argumentsOf(call.tool.value.args) };
  }
  const builtin = builtinCall(call);
  // The client must not take it for its own tool of the same name and run that.
  return builtin && offered.some(({ name }) => name === builtin.name)
    ? { ...builtin, name: `builtin_${builtin.name}` }
    : builtin;
}

/**
 * New calls without a result, but for those the upstream settles by itself. An agent of the upstream that is still at
 * work may wait for a tool of the client as well; its other tools are its own affair.
 */
function openCalls(tasks: ConversationTasks): ToolCall[] {
  const open: ToolCall[] = [];
  for (const { held, isSurfaced } of tasks.activeEntries()) {
    for (const { content, isNew } of held) {
      const call = isNew ? toolCallIn(content) : undefined;
      if (!call) continue;
      if (call.tool.case === 'server' || call.tool.case === 'subagent') continue;
      if (!isSurfaced && call.tool.case !== 'callMcpTool') continue;
      open.push(call);
    }
  }
  if (open.length === 0) return open;
  const answered = answeredCalls(messagesOf(tasks.all()));
  return open.filter(({ toolCallId }) => !toolCallId || !answered.has(toolCallId));
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

/** The upstream's own tools, in the order of its list of tool types. */
const names = [
  'run_shell_command',
  'search_codebase',
  'read_files',
  'apply_file_diffs',
  'suggest_plan',
  'suggest_create_plan',
  'grep',
  'file_glob',
  'read_mcp_resource',
  'call_mcp_tool',
  'write_to_long_running_shell_command',
  'suggest_new_conversation',
  'file_glob_v2',
  'suggest_prompt',
  'open_code_review',
  'init_project',
  'subagent',
  'read_documents',
  'edit_documents',
  'create_documents',
  'read_shell_command_output',
  'use_computer',
  'insert_review_comments',
  'read_skill',
  'request_computer_use',
  'fetch_conversation',
  'start_agent',
  'send_message_to_agent',
  'transfer_shell_command_control_to_user',
  'ask_user_question',
  'start_agent_v2',
  'upload_file_artifact',
  'run_agents',
  'wait_for_events',
  'start_recording',
  'stop_recording',
];
const serverCall = 4;

/** A call of one of the upstream's own tools; undefined for other calls, and for one that names no tool. */
export function builtinCall({
  tool,
  $unknown = [],
}: ToolCall): { readonly name: string; readonly arguments: string } | undefined {
  if (tool.case === 'readMcpResource') {
    const { uri, serverId } = tool.value;
    return { name: 'read_mcp_resource', arguments: JSON.stringify({ uri, server_id: serverId }) };
  }
  if (tool.case !== undefined) return undefined;
  const members = $unknown.filter(({ wireType }) => wireType === WireType.LengthDelimited);
  const member = members.find(({ number }) => nameOf(number) !== undefined) ?? members[0];
  if (!member) return undefined;
  // The names of their fields are not known here.
  return { name: nameOf(member.number) ?? `builtin_tool_${member.number}`, arguments: '{}' };
}

/** By the number of its field in a call: they follow the list, but for the number of the server's own calls. */
function nameOf(number: number): string | undefined {
  return names[number < serverCall ? number - 2 : number - 3];
}

type JsonObject = Readonly<Record<string, unknown>>;

/** A google.protobuf.Struct nested deeper than this is refused: no tool needs it, and it could exhaust the stack. */
const maxDepth = 100;

/** Reads google.protobuf.Struct as a JSON object without a prototype. Throws on bytes that are none. */
export function decodeStruct(bytes: Uint8Array): Record<string, unknown> {
  return readStruct(new BinaryReader(bytes), bytes.length, 0);
}

/**
 * Writes a JSON object as google.protobuf.Struct. Members that JSON cannot hold (undefined, functions) are left out.
 * Throws RangeError when nested deeper than 100.
 */
export function writeStruct(writer: BinaryWriter, object: JsonObject, depth = 0): void {
  if (depth > maxDepth) throw new RangeError(`a JSON object is nested deeper than ${maxDepth}`);
  for (const key of Object.keys(object)) {
    const value = object[key];
    if (!isJson(value)) continue;
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key);
    writer.tag(2, WireType.LengthDelimited).fork();
    writeValue(writer, value, depth + 1);
    writer.join().join();
  }
}

function writeValue(writer: BinaryWriter, value: unknown, depth: number): void {
  if (typeof value === 'string') writer.tag(3, WireType.LengthDelimited).string(value);
  else if (typeof value === 'number') writer.tag(2, WireType.Bit64).double(value);
  else if (typeof value === 'boolean') writer.tag(4, WireType.Varint).bool(value);
  else if (Array.isArray(value)) {
    if (depth > maxDepth) throw new RangeError(`a JSON array is nested deeper than ${maxDepth}`);
    writer.tag(6, WireType.LengthDelimited).fork();
    for (const item of value) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writeValue(writer, isJson(item) ? item : null, depth + 1);
      writer.join();
    }
    writer.join();
  } else if (typeof value === 'object' && value !== null) {
    writer.tag(5, WireType.LengthDelimited).fork();
    writeStruct(writer, value as JsonObject, depth);
    writer.join();
  } else writer.tag(1, WireType.Varint).int32(0);
}

function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return value === null || ['string', 'boolean', 'object'].includes(typeof value);
}

function readStruct(reader: BinaryReader, end: number, depth: number): Record<string, unknown> {
  if (depth > maxDepth) throw new RangeError(`a Struct is nested deeper than ${maxDepth}`);
  const object: Record<string, unknown> = Object.create(null);
  eachField(reader, end, (fieldNumber) => {
    if (fieldNumber !== 1) return false;
    let key = '';
    let value: unknown = null;
    eachField(reader, lengthEnd(reader, end), (entryField, entryEnd) => {
      if (entryField === 1) key = reader.string();
      else if (entryField === 2) value = readValue(reader, lengthEnd(reader, entryEnd), depth + 1);
      else return false;
      return true;
    });
    object[key] = value;
    return true;
  });
  return object;
}

function readValue(reader: BinaryReader, end: number, depth: number): unknown {
  let value: unknown = null;
  eachField(reader, end, (fieldNumber) => {
    switch (fieldNumber) {
      case 1:
        reader.int32();
        value = null;
        return true;
      case 2:
        value = reader.double();
        return true;
      case 3:
        value = reader.string();
        return true;
      case 4:
        value = reader.bool();
        return true;
      case 5:
        value = readStruct(reader, lengthEnd(reader, end), depth);
        return true;
      case 6:
        value = readList(reader, lengthEnd(reader, end), depth);
        return true;
      default:
        return false;
    }
  });
  return value;
}

function readList(reader: BinaryReader, end: number, depth: number): unknown[] {
  if (depth > maxDepth) throw new RangeError(`a list is nested deeper than ${maxDepth}`);
  const list: unknown[] = [];
  eachField(reader, end, (fieldNumber) => {
    if (fieldNumber !== 1) return false;
    list.push(readValue(reader, lengthEnd(reader, end), depth + 1));
    return true;
  });
  return list;
}

/** Calls `read` for each field up to `end`; a field it does not take (false) is skipped. */
function eachField(
  reader: BinaryReader,
  end: number,
  read: (fieldNumber: number, end: number) => boolean,
): void {
  while (reader.pos < end) {
    const [fieldNumber, wireType] = reader.tag();
    if (!read(fieldNumber, end)) reader.skip(wireType, fieldNumber);
  }
  if (reader.pos !== end) throw new RangeError('a field is longer than the message around it');
}

function lengthEnd(reader: BinaryReader, limit: number): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > limit) throw new RangeError('a field is longer than the message around it');
  return end;
}
