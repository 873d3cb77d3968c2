import { type BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { AppError } from '../../core/errors.ts';
import type { ImageLimits, OutboundTurn } from '../../core/protocol.ts';
import {
  type ImagePart,
  type Tool,
  type ToolResultPart,
  type TurnRequest,
  toolsToOffer,
} from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { userInputOf, wholeQuery } from '../shared/fold-history.ts';
import { decodeMemory, type Remembered } from './memory.ts';
import { answeredCalls, toolCallIn } from './tasks.ts';
import { builtinCall, writeStruct } from './tool-calls.ts';
import { encoded, writeMessage, writeText } from './wire-message.ts';

/** The one MCP server under which all of a client's tools are shown. Its id has to be a UUID, and to stay the same. */
const toolServer = { name: 'client-tools', id: '8f0c3f52-6d5b-4a3e-9f1d-2b7c54e0a916' } as const;

/**
 * The protobuf body of one turn, a `Request`. Throws AppError `invalid_request` for `tools` when a schema is too deep.
 */
export function encodeRequest(request: TurnRequest, input: NewInput): Uint8Array {
  const { query, results, remembered } = input;
  const tools = toolsToOffer(request);
  return encoded((writer) => {
    // The remembered tasks go out as the bytes they were kept as.
    writer.tag(1, WireType.LengthDelimited).bytes(remembered?.taskContext ?? nothing);
    writeMessage(writer, 2, () => {
      writeMessage(writer, 1, () => writeContext(writer, request, input.images));
      writeMessage(writer, 6, () => {
        for (const result of results)
          writeMessage(writer, 1, () => writeMessage(writer, 2, () => writeResult(writer, result)));
        if (query !== undefined)
          writeMessage(writer, 1, () => writeMessage(writer, 1, () => writeQuery(writer, query)));
      });
    });
    writeMessage(writer, 3, () => {
      writeMessage(writer, 1, () => writeText(writer, 1, request.model));
      if (request.parallelToolCalls) writer.tag(4, WireType.Varint).bool(true);
      writeFixedSettings(writer);
    });
    writeMessage(writer, 4, () => {
      if (remembered) writeText(writer, 1, remembered.conversationId);
    });
    if (tools.length > 0) writeMessage(writer, 6, () => writeTools(writer, tools));
  });
}

const nothing = new Uint8Array();
const mcpTools = 9;
const unsupervised = 1;

/** What of the `Settings` is the same for every turn. */
function writeFixedSettings(writer: BinaryWriter): void {
  // planning_enabled: the upstream then proposes no plans of its own, which no client here could show or accept.
  writer.tag(6, WireType.Varint).bool(true);
  // supported_tools: an empty list would allow every tool there is, so it is never empty.
  writer.tag(9, WireType.LengthDelimited).bytes(Uint8Array.of(mcpTools));
  // should_preserve_file_content_in_history, supports_reasoning_message
  writer.tag(11, WireType.Varint).bool(true).tag(17, WireType.Varint).bool(true);
  // autonomy_level: no person sits in front of the upstream to confirm a step; the client decides about its own tools.
  writer.tag(19, WireType.Varint).uint32(unsupervised);
}

/** An `InputContext`. */
function writeContext(writer: BinaryWriter, request: TurnRequest, images: readonly ImagePart[]): void {
  for (const image of images) writeMessage(writer, 7, () => writeImage(writer, image));
  const rules = rulesOf(request);
  if (rules === '') return;
  writeMessage(writer, 10, () => {
    writeText(writer, 1, '/');
    writeMessage(writer, 2, () => {
      writeText(writer, 1, '/INSTRUCTIONS.md');
      writeText(writer, 2, rules);
    });
  });
}

/** An `Image` or `McpImage`: its data is the base64 text. */
function writeImage(writer: BinaryWriter, { data, mediaType }: ImagePart): void {
  writeText(writer, 1, data);
  writeText(writer, 2, mediaType);
}

/** System messages, and a demanded tool: the wire has no field for either, and rules come closest. */
function rulesOf(request: TurnRequest): string {
  const texts = request.messages.flatMap((message) =>
    message.role === 'system' ? message.parts.map((part) => part.text) : [],
  );
  if (request.toolChoice.type === 'required') {
    texts.push('Answer this turn by calling at least one of the available tools.');
  } else if (request.toolChoice.type === 'tool') {
    texts.push(`Answer this turn by calling the tool named ${JSON.stringify(request.toolChoice.name)}.`);
  }
  return texts.filter((text) => text.trim() !== '').join('\n\n');
}

/** A `UserQuery`; an empty mode is the normal one. */
function writeQuery(writer: BinaryWriter, query: string): void {
  writeText(writer, 1, query);
  writer.tag(3, WireType.LengthDelimited).bytes(nothing);
}

/** A `ToolResult`. */
function writeResult(writer: BinaryWriter, { callId, isError, text, images = [] }: ToolResultPart): void {
  writeText(writer, 1, callId);
  writeMessage(writer, 12, () => {
    if (isError) return writeMessage(writer, 2, () => writeText(writer, 1, text));
    writeMessage(writer, 1, () => {
      if (text !== '' || images.length === 0)
        writeMessage(writer, 1, () => writeMessage(writer, 1, () => writeText(writer, 1, text)));
      for (const image of images)
        writeMessage(writer, 1, () => writeMessage(writer, 2, () => writeImage(writer, image)));
    });
  });
}

/** A `McpContext` with one server. */
function writeTools(writer: BinaryWriter, tools: readonly Tool[]): void {
  checkNames(tools);
  writeMessage(writer, 3, () => {
    writeText(writer, 1, toolServer.name);
    writeText(writer, 2, 'The tools of the client.');
    for (const tool of tools)
      writeMessage(writer, 4, () => {
        writeText(writer, 1, tool.name);
        writeText(writer, 2, tool.description ?? '');
        writeMessage(writer, 3, () => writeSchema(writer, tool));
      });
    writeText(writer, 5, toolServer.id);
  });
}

/** A call names its tool only, so that nobody could tell which of two was meant. */
function checkNames(tools: readonly Tool[]): void {
  const names = new Set<string>();
  for (const { name } of tools) {
    if (names.has(name)) {
      throw new AppError(
        'invalid_request',
        `Two tools are named ${JSON.stringify(name)}; give each a name of its own.`,
        { param: 'tools' },
      );
    }
    names.add(name);
  }
}

/** The upstream leaves out a tool whose schema is no object, so such a tool is shown as one without parameters. */
function writeSchema(writer: BinaryWriter, tool: Tool): void {
  try {
    writeStruct(writer, isJsonObject(tool.parameters) ? tool.parameters : { type: 'object', properties: {} });
  } catch (cause) {
    throw new AppError(
      'invalid_request',
      `The parameters of the tool ${JSON.stringify(tool.name)} are nested too deeply for the upstream.`,
      { param: 'tools', cause },
    );
  }
}

/** What one turn says to the upstream. */
interface NewInput {
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
    const call = answered.has(content.callId) ? undefined : toolCallIn(content);
    if (!call?.toolCallId) continue;
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
