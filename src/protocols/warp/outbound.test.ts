import { fromBinary, toJson } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { Message, ToolChoice, TurnRequest } from '../../core/turn.ts';
import { createWarpOutbound } from './outbound.ts';
import {
  actions,
  add,
  assistant,
  createTask,
  finished,
  init,
  mcpCall,
  output,
  stream,
  system,
  task,
  toolResult,
  turnRequest,
  user,
  userQuery,
  weather,
} from './testing/events.ts';
import { raw, readRaw } from './testing/wire.ts';

const outbound = createWarpOutbound();
const pixel = { type: 'image', mediaType: 'image/png', data: 'iVBORw0KGgo=' } as const;

function open(
  changes: Partial<TurnRequest> = {},
  remembered?: { memory: Uint8Array; newMessages: Message[] },
) {
  const { request } = outbound.open({ request: turnRequest(changes), ...(remembered && { remembered }) });
  return { wire: readRaw(request.body) };
}

function queryOf(changes: Partial<TurnRequest>): string {
  return open(changes).wire.at(2, 6, 1, 1, 1).text;
}

function errorOf(run: () => unknown): AppError {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
  }
  throw new Error('no AppError was thrown');
}

/** The memory of a conversation with one call open, `id-1`. */
function memoryWithCall(): Uint8Array {
  const { decoder } = outbound.open({ request: turnRequest({ tools: [weather] }) });
  decoder.push(
    Buffer.from(
      stream(
        init(),
        actions(createTask(raw([1, 'T'], [50, 'future']))),
        actions(
          add('T', userQuery('u1', 'Weather?'), mcpCall('c1', 'id-1', 'get_weather', { city: 'Bonn' })),
        ),
        finished(),
      ),
    ),
  );
  const memory = decoder.memory();
  if (!memory) throw new Error('nothing is remembered');
  return memory;
}

describe('a request', () => {
  it('goes to the agent path as protobuf and claims to be nobody else', () => {
    const { request } = outbound.open({ request: turnRequest() });
    expect(request).toMatchObject({
      method: 'POST',
      path: '/ai/multi-agent',
      headers: { 'content-type': 'application/x-protobuf', accept: 'text/event-stream' },
    });
    expect(Object.keys(request.headers)).toHaveLength(2);
  });

  it('has these bytes, field by field', () => {
    const { wire } = open({ model: 'gpt-x', messages: [system('Be brief.'), user('Hi')] });
    expect(wire.numbers).toEqual([1, 2, 3, 4]);
    expect(wire.at(1).bytes).toHaveLength(0);
    expect(wire.at(2).numbers).toEqual([1, 6]);
    const [rules] = wire.at(2, 1).all(10);
    expect(rules?.at(2, 2).text).toBe('Be brief.');
    expect(rules?.at(2, 1).text).toBe('/INSTRUCTIONS.md');
    expect(Buffer.from(wire.at(2, 6).bytes)).toEqual(
      Buffer.from(raw([1, raw([1, raw([1, 'Hi'], [3, new Uint8Array()])])])),
    );
    expect(wire.at(4).bytes).toHaveLength(0);
    expect(Buffer.from(wire.at(3).bytes)).toEqual(
      Buffer.from(
        raw(
          [1, raw([1, 'gpt-x'])],
          [4, true],
          [6, true],
          [9, Uint8Array.of(9)],
          [11, true],
          [17, true],
          [19, 1],
        ),
      ),
    );
  });

  it('shows the tools as one server and their schemas as Structs', () => {
    const odd = { name: 'odd', parameters: [] as unknown as Record<string, unknown> };
    const { wire } = open({ tools: [weather, odd], parallelToolCalls: false });
    const server = wire.at(6, 3);
    expect([server.at(1).text, server.at(2).text]).toEqual(['client-tools', 'The tools of the client.']);
    expect(server.at(5).text).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    const [first, second] = server.all(4);
    expect(first?.at(1).text).toBe('get_weather');
    expect(first?.at(2).text).toBe('The weather of a place.');
    const schema = fromBinary(StructSchema, first?.at(3).bytes ?? new Uint8Array());
    expect(toJson(StructSchema, schema)).toEqual(weather.parameters);
    expect(toJson(StructSchema, fromBinary(StructSchema, second?.at(3).bytes ?? new Uint8Array()))).toEqual({
      type: 'object',
      properties: {},
    });
    expect(wire.at(3).numbers).not.toContain(4);
  });

  it('shows no tools when the client wants none called', () => {
    expect(open({ tools: [weather], toolChoice: { type: 'none' } }).wire.numbers).not.toContain(6);
    expect(open().wire.numbers).not.toContain(6);
  });

  it('offers a demanded tool alone', () => {
    const other = { ...weather, name: 'other' };
    const offered = (toolChoice: ToolChoice) =>
      open({ tools: [weather, other], toolChoice })
        .wire.at(6, 3)
        .all(4)
        .map((tool) => tool.at(1).text);
    expect(offered({ type: 'tool', name: 'other' })).toEqual(['other']);
    expect(offered({ type: 'required' })).toHaveLength(2);
  });

  it.each([
    [{ type: 'required' } as const, 'at least one of the available tools'],
    [{ type: 'tool', name: 'get_weather' } as const, 'the tool named "get_weather"'],
  ])('asks in the rules for what the wire has no field for: %o', (toolChoice, words) => {
    const { wire } = open({
      tools: [weather],
      toolChoice,
      messages: [system('One.'), system('Two.'), user('Hi')],
    });
    expect(wire.at(2, 1, 10, 2, 2).text).toMatch(/^One\.\n\nTwo\.\n\nAnswer this turn by calling/);
    expect(wire.at(2, 1, 10, 2, 2).text).toContain(words);
  });

  it('carries images as the ASCII of their base64', () => {
    const messages: Message[] = [{ role: 'user', parts: [{ type: 'text', text: 'See' }, pixel] }];
    const image = open({ messages }).wire.at(2, 1, 7);
    expect(image.at(1).text).toBe(pixel.data);
    expect(image.at(2).text).toBe('image/png');
    expect(queryOf({ messages })).toBe('See');
    expect(queryOf({ messages: [{ role: 'user', parts: [pixel] }] })).toBe('See the attached image.');
  });

  it('refuses a tool schema without a bottom', () => {
    let parameters: Record<string, unknown> = {};
    for (let depth = 0; depth < 200; depth++) parameters = { properties: parameters };
    const error = errorOf(() => open({ tools: [weather, { name: 'deep', parameters }] }));
    expect(error).toMatchObject({ code: 'invalid_request', param: 'tools' });
  });

  it.each<[string, Message[]]>([
    ['nothing', []],
    [
      'an open call at the end',
      [
        user('Hi'),
        { role: 'assistant', parts: [{ type: 'tool-call', id: 'id-1', name: 'f', arguments: '{}' }] },
      ],
    ],
  ])('is refused when it brings %s', (_name, messages) => {
    expect(errorOf(() => open({ messages }))).toMatchObject({ code: 'invalid_request', param: 'messages' });
    const asInput = errorOf(() => open({ messages, messagesParam: 'input' }));
    expect([asInput.param, asInput.message]).toEqual(['input', expect.stringMatching(/^input: /)]);
  });

  it.each<[string, Message[], string]>([
    ['no text', [user('  ')], 'The message of the user is empty.'],
    ['system messages only', [system('Be brief.')], 'Answer as your instructions say.'],
    ['a system message after an answer', [user('Hi'), assistant('Hello'), system('Now sing.')], 'Answer as'],
    ['an empty answer at the end', [user('Hi'), assistant(' ')], 'Hi'],
  ])('has a query when it brings %s', (_name, messages, query) => {
    expect(queryOf({ messages })).toContain(query);
  });
});

describe('without a memory', () => {
  it('sends the user texts as they are', () => {
    expect(queryOf({ messages: [user(' Hi\n')] })).toBe(' Hi\n');
    expect(queryOf({ messages: [user('One'), system('x'), user('Two')] })).toBe('One\n\nTwo');
  });

  it('puts the history in front, and the new text last and unchanged', () => {
    const messages: Message[] = [
      system('Be brief.'),
      user('Weather in Bonn?'),
      {
        role: 'assistant',
        parts: [
          { type: 'reasoning', text: 'secret' },
          { type: 'text', text: 'Let me look.' },
          { type: 'tool-call', id: 'id-1', name: 'get_weather', arguments: '{"city":"Bonn"}' },
        ],
      },
      toolResult('id-1', 'sunny'),
      toolResult('id-2', 'no such city', true),
      assistant('Sunny.'),
      user('And tomorrow?'),
    ];
    expect(queryOf({ messages })).toMatchInlineSnapshot(`
      "The conversation so far, oldest first: 6 JSON records, one a line. Only "role" says who spoke; everything inside a string is quoted from that speaker. Answer what comes after them, without a record of your own.

      {"role":"user","text":"Weather in Bonn?"}
      {"role":"assistant","text":"Let me look."}
      {"role":"assistant","tool_call":{"id":"id-1","name":"get_weather","arguments":"{\\"city\\":\\"Bonn\\"}"}}
      {"role":"tool","tool_call_id":"id-1","text":"sunny"}
      {"role":"tool","tool_call_id":"id-2","is_error":true,"text":"no such city"}
      {"role":"assistant","text":"Sunny."}

      And tomorrow?"
    `);
  });

  it('folds tool results too when they are the news', () => {
    const query = queryOf({ messages: [user('Weather?'), assistant('Wait.'), toolResult('id-1', 'sunny')] });
    expect(query).toContain('{"role":"tool","tool_call_id":"id-1","text":"sunny"}');
    expect(query.endsWith('Continue the conversation from there.')).toBe(true);
  });
});

describe('with a memory', () => {
  it('echoes the tasks byte for byte and sends the results before the text', () => {
    const memory = memoryWithCall();
    const { wire } = open(
      { tools: [weather] },
      { memory, newMessages: [user('Quick!'), toolResult('id-1', 'sunny')] },
    );
    const kept = readRaw(memory).at(3);
    expect(Buffer.from(wire.at(1).bytes)).toEqual(Buffer.from(kept.bytes));
    expect(wire.at(1, 1, 50).text).toBe('future');
    expect(wire.at(4, 1).text).toBe('conversation-1');
    const [result, query] = wire.at(2, 6).all(1);
    expect(result?.at(2, 1).text).toBe('id-1');
    expect(result?.at(2, 12, 1, 1, 1, 1).text).toBe('sunny');
    expect(query?.at(1, 1).text).toBe('Quick!');
  });

  it('marks a failed result as an error', () => {
    const { wire } = open({}, { memory: memoryWithCall(), newMessages: [toolResult('id-1', 'down', true)] });
    expect(wire.at(2, 6, 1, 2, 12, 2, 1).text).toBe('down');
  });

  it.each([
    ['an answer of somebody else in between', [assistant('Me'), user('More')]],
    ['a result for a call it does not know', [toolResult('id-9', 'sunny'), user('More')]],
  ])('starts afresh at %s', (_name, newMessages: Message[]) => {
    const messages = [user('Weather?'), ...newMessages];
    const { wire } = open({ messages }, { memory: memoryWithCall(), newMessages });
    expect(wire.at(4).bytes).toHaveLength(0);
    expect(wire.at(1).bytes).toHaveLength(0);
    expect(wire.at(2, 6, 1, 1, 1).text).toContain('{"role":"user","text":"Weather?"}');
  });

  it('starts afresh when the memory cannot be read', () => {
    const memory = Buffer.from('not a memory');
    const { wire } = open({ messages: [user('Hi')] }, { memory, newMessages: [user('Hi')] });
    expect(wire.at(4).bytes).toHaveLength(0);
  });

  it('survives a second turn: the next memory still holds all', () => {
    const memory = memoryWithCall();
    const { decoder } = outbound.open({
      request: turnRequest({ tools: [weather] }),
      remembered: { memory, newMessages: [toolResult('id-1', 'sunny')] },
    });
    decoder.push(
      Buffer.from(stream(init('', 'request-2'), actions(add('T', output('m1', 'Sunny.'))), finished())),
    );
    const next = readRaw(decoder.memory() ?? new Uint8Array());
    expect(next.at(2).text).toBe('conversation-1');
    expect(next.at(3, 1).all(5)).toHaveLength(3);
    expect(next.at(3, 1, 50).text).toBe('future');
  });

  it('does not call a tool again that the client chose not to answer', () => {
    const { decoder } = outbound.open({
      request: turnRequest({ tools: [weather] }),
      remembered: { memory: memoryWithCall(), newMessages: [user('Never mind.')] },
    });
    const answer = stream(init(), actions(add('T', output('m1', 'Fine.'))), finished());
    expect(decoder.push(Buffer.from(answer)).slice(1)).toEqual([
      { type: 'text-delta', text: 'Fine.' },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it('remembers nothing of a turn that failed', () => {
    const { decoder } = outbound.open({ request: turnRequest() });
    decoder.push(Buffer.from(stream(init(), actions(createTask(task('T'))), finished(4))));
    expect(decoder.memory()).toBeUndefined();
  });
});
