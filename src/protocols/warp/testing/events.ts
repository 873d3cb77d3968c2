import { plainTurn } from '../../../core/testing/plain-turn.ts';
import type { Message, Tool, TurnEvent, TurnRequest } from '../../../core/turn.ts';
import { writeStruct } from '../tool-calls.ts';
import { encoded } from '../wire-message.ts';
import { type Field, raw } from './wire.ts';

export const encodeStruct = (object: Readonly<Record<string, unknown>>) =>
  encoded((writer) => writeStruct(writer, object));

/** One ResponseEvent as a server writes it: padded URL-safe base64 in a data line. */
export function sse(event: Uint8Array): string {
  const text = Buffer.from(event).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  return `data: ${text}\n\n`;
}

export function stream(...events: readonly Uint8Array[]): string {
  return events.map(sse).join('');
}

export const init = (conversation = 'conversation-1', request = 'request-1') =>
  raw([1, raw([1, conversation], [2, request], [3, 'run-1'])]);
export const actions = (...list: readonly Uint8Array[]) =>
  raw([2, raw(...list.map((item): Field => [1, item]))]);
/** `reason` is the field number of the end's reason, 2 being done. */
export const finished = (reason = 2, ...more: readonly Field[]) =>
  raw([3, raw([reason, new Uint8Array()], ...more)]);

export const task = (id: string, ...more: readonly Field[]) => raw([1, id], ...more);
export const childTask = (id: string, parent: string) => raw([1, id], [3, raw([1, parent])]);
export const createTask = (value: Uint8Array) => raw([1, raw([1, value])]);
export const add = (taskId: string, ...messages: readonly Uint8Array[]) =>
  raw([3, raw([1, taskId], ...messages.map((item): Field => [2, item]))]);
const change =
  (kind: number) =>
  (taskId: string, message: Uint8Array, ...paths: readonly string[]) =>
    raw([kind, raw([1, message], [2, raw(...paths.map((path): Field => [1, path]))], [3, taskId])]);
export const update = change(4);
export const append = change(5);
export const begin = raw([9, new Uint8Array()]);
export const commit = raw([10, new Uint8Array()]);
export const rollback = raw([11, new Uint8Array()]);

export const message = (id: string, ...more: readonly Field[]) => raw([1, id], ...more);
export const output = (id: string, text: string) => message(id, [3, raw([1, text])]);
export const reasoning = (id: string, text: string) => message(id, [15, raw([1, text])]);
export const userQuery = (id: string, text: string) => message(id, [2, raw([1, text])]);
/** The wire has fields of other numbers behind a call and a result, too. */
const behind: readonly Field[] = [
  [11, 'T'],
  [13, 'request-1'],
];
export const mcpCall = (id: string, callId: string, name: string, args: Record<string, unknown> = {}) =>
  message(id, [4, raw([1, callId], [12, raw([1, name], [2, encodeStruct(args)], [3, 'server'])])], ...behind);
export const callResult = (id: string, callId: string) =>
  message(id, [5, raw([1, callId], [16, raw([1, raw([1, raw([1, raw([1, 'sunny'])])])])])], ...behind);
export const appendText = (taskId: string, id: string, text: string) =>
  append(taskId, output(id, text), 'agent_output.text');
export const appendReasoning = (taskId: string, id: string, text: string) =>
  append(taskId, reasoning(id, text), 'agent_reasoning.reasoning');

export const user = (text: string): Message => ({ role: 'user', parts: [{ type: 'text', text }] });
export const assistant = (text: string): Message => ({ role: 'assistant', parts: [{ type: 'text', text }] });
export const system = (text: string): Message => ({ role: 'system', parts: [{ type: 'text', text }] });
export const toolResult = (callId: string, text: string, isError = false): Message => ({
  role: 'tool',
  parts: [{ type: 'tool-result', callId, text, isError }],
});

export const weather: Tool = {
  name: 'get_weather',
  description: 'The weather of a place.',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

export function turnRequest(changes: Partial<TurnRequest> = {}): TurnRequest {
  return {
    ...plainTurn,
    messages: [user('Hi')],
    ...changes,
  };
}

export function textOf(
  events: readonly TurnEvent[],
  type: 'text-delta' | 'reasoning-delta' = 'text-delta',
): string {
  return events.map((event) => (event.type === type ? event.text : '')).join('');
}

/** The events as plain data: an error as its code. */
export function plain(events: readonly TurnEvent[]): unknown[] {
  return events.map((event) => (event.type === 'error' ? { type: 'error', code: event.error.code } : event));
}
