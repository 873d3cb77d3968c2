// What the sandbox says. The same request always gets the same text; README.md lists the formats.
import type { Json, JsonObject } from './struct.ts';
import type { CallMCPToolResult, WarpRequest } from './wire.ts';

export interface ToolResult {
  toolCallId: string;
  /** The name of the tool in the call it answers, or `unknown`. */
  name: string;
  text: string;
  isError: boolean;
}

export interface RequestedCall {
  name: string;
  args: JsonObject;
}

/** What a stream says before it goes wrong, in two pieces. */
export const partialPieces = ['The first part', ' of an answer'] as const;

/** `You said: ...`, and for tool results one line each before it. */
export function answerText(query: string, results: readonly ToolResult[], request: WarpRequest): string {
  const lines = results.map(
    ({ name, text, isError }) => `Tool ${name} ${isError ? 'failed' : 'returned'}: ${text}`,
  );
  if (query) lines.push(`You said: ${query}`);
  if (lines.length > 0) return lines.join('\n');
  if (request.input?.summarizeConversation) {
    const messages = (request.taskContext?.tasks ?? []).flatMap((task) => task.messages ?? []);
    return `Summary of ${messages.length} messages.`;
  }
  return request.input?.resumeConversation ? 'Resumed.' : 'You said nothing.';
}

/** The text of a tool result: its text parts by line; an image as `[image TYPE, N bytes]`. */
export function resultText(result: CallMCPToolResult | undefined): string {
  if (result?.error) return result.error.message ?? '';
  const parts = result?.success?.results ?? [];
  return parts
    .map(({ text, image }) => {
      if (image) return `[image ${image.mimeType ?? 'unknown'}, ${base64Length(image.data)} bytes]`;
      return text?.text ?? '';
    })
    .join('\n');
}

function base64Length(data: Uint8Array | undefined): number {
  return Buffer.from(Buffer.from(data ?? []).toString('latin1'), 'base64').length;
}

/** Cuts text into at most `count` pieces, never inside a character. */
export function cutText(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  const pieces: string[] = [];
  for (let start = 0; start < text.length; ) {
    const end = start + size;
    const isInside = isHighSurrogate(text.charCodeAt(end - 1));
    pieces.push(text.slice(start, isInside ? end + 1 : end));
    start = isInside ? end + 1 : end;
  }
  return pieces.length > 0 ? pieces : [''];
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}

/** The `call NAME {json}` wishes in the last paragraphs of the query, for tools that are offered.
 *
 *  Only the run of paragraphs at the end that hold calls counts: when a client folds its history into the query,
 *  calls that were made and answered long ago stand further up and must not be made again. */
export function requestedCalls(query: string, toolNames: readonly string[]): RequestedCall[] {
  const calls: RequestedCall[][] = [];
  for (const paragraph of query
    .trimEnd()
    .split(/\n\s*\n/)
    .reverse()) {
    const found = callsIn(paragraph).filter((call) => toolNames.includes(call.name));
    if (found.length === 0) break;
    calls.unshift(found);
  }
  return calls.flat();
}

function callsIn(text: string): RequestedCall[] {
  const calls: RequestedCall[] = [];
  const pattern = /\bcall\s+([^\s{]+)\s*(?=\{)/g;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const end = endOfObject(text, pattern.lastIndex);
    const args = parseObject(text.slice(pattern.lastIndex, end));
    if (!args) continue;
    calls.push({ name: match[1] ?? '', args });
    pattern.lastIndex = end;
  }
  return calls;
}

/** The JSON object that starts at `start`, if one does. */
export function objectAt(text: string, start: number): JsonObject | undefined {
  return start < 0 ? undefined : parseObject(text.slice(start, endOfObject(text, start)));
}

/** The index behind the `}` that closes the object starting at `start`, or the end of the text. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  let isInString = false;
  for (let index = start; index < text.length; index++) {
    const character = text[index];
    if (isInString) {
      if (character === '\\') index++;
      else if (character === '"') isInString = false;
    } else if (character === '"') isInString = true;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return index + 1;
  }
  return text.length;
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const json = JSON.parse(text) as Json;
    return json !== null && typeof json === 'object' && !Array.isArray(json) ? json : undefined;
  } catch {
    return undefined;
  }
}
