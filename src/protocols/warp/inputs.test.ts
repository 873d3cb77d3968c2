import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { ImagePart, Message, Tool, TurnRequest } from '../../core/turn.ts';
import { createWarpOutbound } from './outbound.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  assistant,
  callResult,
  createTask,
  finished,
  init,
  mcpCall,
  system,
  task,
  toolResult,
  turnRequest,
  user,
  weather,
} from './testing/events.ts';
import { raw, readRaw } from './testing/wire.ts';
import { decodeStruct } from './tool-calls.ts';

const outbound = createWarpOutbound();

interface Remembered {
  readonly memory: Uint8Array;
  readonly newMessages: readonly Message[];
}

function open(changes: Partial<TurnRequest>, remembered?: Remembered) {
  const { request } = outbound.open({
    request: turnRequest(changes),
    ...(remembered && { remembered: { ...remembered, newMessages: [...remembered.newMessages] } }),
  });
  return readRaw(request.body);
}

function errorOf(run: () => unknown): AppError {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
  }
  throw new Error('no AppError was thrown');
}

const image = (bytes = 9, mediaType = 'image/png'): ImagePart => ({
  type: 'image',
  mediaType,
  data: 'A'.repeat(Math.ceil(bytes / 3) * 4),
});

/** The memory of a conversation in which three calls wait: `id-1` to `id-3`. */
function threeCalls(): Uint8Array {
  const { memory } = decodeAnswer(
    [
      init(),
      actions(createTask(task('T'))),
      actions(
        add('T', mcpCall('c1', 'id-1', 'get_weather'), mcpCall('c2', 'id-2', 'get_weather')),
        add('T', mcpCall('c3', 'id-3', 'get_weather')),
      ),
      finished(),
    ],
    { tools: ['get_weather'] },
  );
  if (!memory) throw new Error('nothing is remembered');
  return memory;
}

/** The inputs of a request: `query TEXT` or `result ID`. */
function inputsOf(wire: ReturnType<typeof open>): string[] {
  return wire
    .at(2, 6)
    .all(1)
    .map((input) =>
      input.numbers[0] === 1 ? `query ${input.at(1, 1).text}` : `result ${input.at(2, 1).text}`,
    );
}

describe('results of tools', () => {
  it('go all in one request, in the order the client has them', () => {
    const newMessages = [toolResult('id-2', 'b'), toolResult('id-1', 'a'), toolResult('id-3', 'c')];
    const wire = open({ tools: [weather] }, { memory: threeCalls(), newMessages });
    expect(inputsOf(wire)).toEqual(['result id-2', 'result id-1', 'result id-3']);
  });

  it('stand before what the user says, wherever that stood between them', () => {
    const newMessages = [toolResult('id-1', 'a'), user('Hurry!'), toolResult('id-2', 'b'), user('Please.')];
    const wire = open({ tools: [weather] }, { memory: threeCalls(), newMessages });
    expect(inputsOf(wire)).toEqual(['result id-1', 'result id-2', 'query Hurry!\n\nPlease.']);
  });

  it('may be missing: a call that the client did not carry out is left out', () => {
    const wire = open({ tools: [weather] }, { memory: threeCalls(), newMessages: [toolResult('id-3', 'c')] });
    expect(inputsOf(wire)).toEqual(['result id-3']);
    expect(wire.at(4, 1).text).toBe('conversation-1');
  });

  it('go on from a history in which other calls were answered, and are none for those', () => {
    const { memory = new Uint8Array() } = decodeAnswer(
      [
        init(),
        actions(createTask(task('T'))),
        actions(
          add('T', mcpCall('c1', 'id-1', 'get_weather'), callResult('r1', 'id-1')),
          add('T', mcpCall('c2', 'id-2', 'get_weather')),
        ),
        finished(),
      ],
      { tools: ['get_weather'] },
    );
    const wire = open({ tools: [weather] }, { memory, newMessages: [toolResult('id-2', 'b')] });
    expect(inputsOf(wire)).toEqual(['result id-2']);
    const late = { memory, newMessages: [toolResult('id-1', 'a'), user('Go on')] };
    expect(open({ tools: [weather] }, late).at(4).numbers).toEqual([]);
  });

  it('that come twice for one call are sent once, the last one', () => {
    const newMessages = [toolResult('id-1', 'old'), toolResult('id-1', 'new')];
    const wire = open({ tools: [weather] }, { memory: threeCalls(), newMessages });
    expect(inputsOf(wire)).toEqual(['result id-1']);
    expect(wire.at(2, 6, 1, 2, 12, 1, 1, 1, 1).text).toBe('new');
  });

  it('carry their images beside their text, as the ASCII of the base64', () => {
    const picture = image();
    const newMessages: Message[] = [
      {
        role: 'tool',
        parts: [
          { type: 'tool-result', callId: 'id-1', text: 'A plot.', images: [picture], isError: false },
          { type: 'tool-result', callId: 'id-2', text: '', images: [picture, picture], isError: false },
          { type: 'tool-result', callId: 'id-3', text: '', isError: false },
        ],
      },
    ];
    const [first, second, third] = open({ tools: [weather] }, { memory: threeCalls(), newMessages })
      .at(2, 6)
      .all(1)
      .map((input) => input.at(2, 12, 1).all(1));
    expect(first?.[0]?.at(1, 1).text).toBe('A plot.');
    expect(first?.[1]?.at(2, 1).text).toBe(picture.data);
    expect(first?.[1]?.at(2, 2).text).toBe('image/png');
    expect(second).toHaveLength(2);
    expect(third?.[0]?.numbers).toEqual([1]);
  });
});

describe('system messages', () => {
  const rulesIn = (wire: ReturnType<typeof open>) => wire.at(2, 1, 10, 2, 2).text;

  it('go with every turn, all of them in their order, also those that came later', () => {
    const messages = [system('One.'), user('Hi'), assistant('Hello'), system('Two.'), user('More')];
    expect(rulesIn(open({ messages }))).toBe('One.\n\nTwo.');
    const memory = threeCalls();
    const wire = open({ messages }, { memory, newMessages: [system('Two.'), user('More')] });
    expect(rulesIn(wire)).toBe('One.\n\nTwo.');
    expect(inputsOf(wire)).toEqual(['query More']);
  });

  it('leave no rules behind when they are blank', () => {
    expect(open({ messages: [system(' \n'), user('Hi')] }).at(2, 1).numbers).not.toContain(10);
  });
});

describe('tools', () => {
  const schemaIn = (tool: Tool) => decodeStruct(open({ tools: [tool] }).at(6, 3, 4, 3).bytes);

  it('of one name are refused, since a call names nothing else', () => {
    const error = errorOf(() => open({ tools: [weather, { ...weather, description: 'Another.' }] }));
    expect(error).toMatchObject({ code: 'invalid_request', param: 'tools' });
    expect(error.message).toContain('"get_weather"');
  });

  it('keep what their schema says: order of members, large numbers as far as doubles go, names of any kind', () => {
    const parameters = {
      type: 'object',
      properties: {
        zeta: { type: 'integer', maximum: 2 ** 53, minimum: -(2 ** 53) },
        alpha: { enum: [1, 1.5, null, true, 'ü', [], {}] },
        '': { $ref: '#/$defs/x' },
      },
      $defs: { x: { const: 0 } },
      additionalProperties: false,
    };
    const kept = schemaIn({ name: 'Ünï.code-name/1', parameters });
    expect(JSON.stringify(kept)).toBe(JSON.stringify(parameters));
  });

  it('may be nested as deep as people write them', () => {
    let parameters: Record<string, unknown> = { type: 'string' };
    for (let depth = 0; depth < 40; depth += 1)
      parameters = { type: 'object', properties: { a: parameters } };
    expect(schemaIn({ name: 'deep', parameters })).toMatchObject({ properties: { a: { type: 'object' } } });
  });
});

describe('arguments of a call', () => {
  it('are JSON with whole numbers written whole', () => {
    const args = { page: 3, size: 2 ** 53, ratio: 0.25, minus: -7, none: null, list: [1, [2]], text: '"\n' };
    const { events } = decodeAnswer(
      [init(), actions(createTask(task('T')), add('T', mcpCall('c', 'id', 'get_weather', args))), finished()],
      { tools: ['get_weather'] },
    );
    const delta = events.find((event) => event.type === 'tool-call-delta');
    expect(delta?.type === 'tool-call-delta' && delta.arguments).toBe(
      '{"page":3,"size":9007199254740992,"ratio":0.25,"minus":-7,"none":null,"list":[1,[2]],"text":"\\"\\n"}',
    );
  });
});

describe('a long history', () => {
  it('is folded whole', () => {
    const count = 5_000;
    const messages: Message[] = Array.from({ length: count }, (_, index) =>
      index % 2 === 0 ? user(`question ${index} ${'x'.repeat(1_000)}`) : assistant(`answer ${index}`),
    );
    const query = open({ messages: [...messages, user('And now?')] }).at(2, 6, 1, 1, 1).text;
    expect(query.startsWith('The conversation so far')).toBe(true);
    expect(query.endsWith('"}\n\nAnd now?')).toBe(true);
    for (const index of [0, 2_500, count - 2])
      expect(query).toContain(`\n{"role":"user","text":"question ${index} `);
    expect(query).toContain(`\n{"role":"assistant","text":"answer ${count - 1}"}\n`);
  });
});

it('keeps the bytes of a raw task apart from the request around it', () => {
  const { memory } = decodeAnswer([init(), actions(createTask(raw([1, 'T'], [50, 'future']))), finished()]);
  const wire = open({}, { memory: memory ?? new Uint8Array(), newMessages: [user('More')] });
  expect(wire.numbers).toEqual([1, 2, 3, 4]);
  expect(wire.at(1, 1, 50).text).toBe('future');
});
