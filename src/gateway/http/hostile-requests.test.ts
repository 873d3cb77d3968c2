// Requests of the size a body may have, made so that reading them with the square of their parts, or with a pattern that
// goes back and forth, takes from five seconds up to minutes.
import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import { anthropicMessagesInbound } from '../../protocols/anthropic-messages/inbound.ts';
import { createGeminiInbound } from '../../protocols/gemini/inbound.ts';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import {
  decodeResponsesRequest,
  parseResponsesRequest,
} from '../../protocols/openai-responses/decode-request.ts';
import { createOpaque } from '../responses/responses-request.ts';

/** Far above what each takes, on any machine, and far below what it took. */
const mostSeconds = 8;

const asked = { role: 'user', content: 'Go on.' };
const answered = { role: 'assistant', content: 'Well.' };
const opaque = createOpaque('client');

function many<Item>(count: number, make: (index: number) => Item): Item[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

function chat(body: object) {
  return openaiChatInbound.decode({ model: 'any', ...body });
}

function responses(body: object) {
  return decodeResponsesRequest(parseResponsesRequest({ model: 'any', input: 'Hello', ...body }), { opaque });
}

function gemini(body: object) {
  return createGeminiInbound({ model: 'any', answer: 'whole' }).decode(body);
}

type Read = (body: object) => unknown;

const requests: readonly [string, Read, () => object][] = [
  [
    'results that name their function only, the last call first',
    chat,
    () => {
      const calls = many(30_000, (index) => ({
        role: 'assistant',
        function_call: { name: `f${index}`, arguments: '{}' },
      }));
      const results = calls.map(({ function_call: { name } }) => ({ role: 'function', name, content: 'x' }));
      return { messages: [asked, ...calls, ...results.reverse()] };
    },
  ],
  [
    'the pieces of an answer as contents of their own, and results that name their function only',
    gemini,
    () => {
      const pieces = many(15_000, (index) => ({
        role: 'model',
        parts: [{ functionCall: { name: `f${index}` } }],
      }));
      const texts = many(10_000, () => ({ role: 'model', parts: [{ text: 'x' }] }));
      const parts = many(15_000, (index) => ({
        functionResponse: { name: `f${14_999 - index}`, response: {} },
      }));
      const user = { role: 'user', parts: [{ text: 'Go on.' }] };
      return { contents: [user, ...pieces, ...texts, { role: 'user', parts }] };
    },
  ],
  [
    'a data URL of nothing but escapes',
    chat,
    () => {
      const url = `data:image/png,${'%41'.repeat(10_000_000)}`;
      const message = { role: 'user', content: [{ type: 'image_url', image_url: url }] };
      return { messages: [message, answered, asked] };
    },
  ],
  [
    'a message between agents of faulty parts alone',
    responses,
    () => ({
      input: [{ type: 'agent_message', content: many(2_000_000, () => 1) }, answered, asked],
    }),
  ],
  [
    'one tool offered over and over, under a name that many others have taken',
    responses,
    () => {
      const others = many(16, (list) => ({
        type: 'additional_tools',
        tools: many(128, (index) => ({ type: 'function', name: `x_${list * 128 + index + 2}` })),
      }));
      const first = { type: 'additional_tools', tools: [{ type: 'function', name: 'x' }] };
      const again = many(90, () => ({
        type: 'additional_tools',
        tools: many(512, () => ({ type: 'custom', name: 'x' })),
      }));
      return { input: [...others, first, ...again, asked] };
    },
  ],
  [
    'as many items with tools that are left out',
    responses,
    () => {
      const items = many(30_000, (index) => ({ type: 'additional_tools', tools: [{ type: `t${index}` }] }));
      return { tools: [{ type: 'function', name: 'f' }], input: [...items, asked] };
    },
  ],
  [
    'one compaction after another',
    responses,
    () => {
      const content = opaque.seal(JSON.stringify({ rules: ['Be short.'], summary: 'Nothing yet.' }));
      return { input: [...many(40_000, () => ({ type: 'compaction', encrypted_content: content })), asked] };
    },
  ],
];

it.each(requests)('is read at once: %s', { timeout: 120_000 }, async (_name, read, bodyOf) => {
  const body = bodyOf();
  expect(await cpuSecondsOf(() => read(body))).toBeLessThan(mostSeconds);
});

it('the rules of a compaction may be very many', () => {
  const rules = many(150_000, (index) => `Rule ${index}.`);
  const content = opaque.seal(JSON.stringify({ rules, summary: 'Nothing yet.' }));
  const input = [
    { role: 'system', content: 'Rule 7.' },
    { type: 'compaction', encrypted_content: content },
    asked,
  ];
  // The system's message, the others of its rules, the summary and the new question.
  expect(responses({ input }).request.messages).toHaveLength(1 + (rules.length - 1) + 2);
});

it.each<[string, string, () => unknown]>([
  [
    'messages',
    'messages.10000: cannot be read here, like 10000 others before it',
    () => chat({ messages: [...many(100_000, () => null), answered, asked] }),
  ],
  [
    'items',
    'input.10000: cannot be read here',
    () => responses({ input: [...many(100_000, () => ({})), answered, asked] }),
  ],
  [
    'tools of items',
    'input.97.tools: brings too many tools: all items together may bring 50000',
    () =>
      responses({
        input: [...many(400, () => ({ type: 'tool_search_output', tools: many(512, () => 1) })), asked],
      }),
  ],
])('a history of too many %s that cannot be read is refused', async (_name, message, read) => {
  const seconds = await cpuSecondsOf(() => expect(read).toThrow(message));
  expect(seconds).toBeLessThan(mostSeconds);
});

it('a conversation brings 4,096 tools at most', () => {
  const tools = (count: number) => [
    {
      type: 'namespace',
      name: 'n',
      tools: many(count, (index) => ({ type: 'function', name: `f${index}` })),
    },
  ];
  expect(responses({ tools: tools(4_096) }).request.tools).toHaveLength(4_096);
  expect(() => responses({ tools: tools(4_097) })).toThrow(
    'tools.0.tools.4096: is one tool too many: a conversation may bring 4096, offer fewer.',
  );
});

describe('what an error quotes', () => {
  const long = 'x'.repeat(20_000_000);

  it.each<[string, () => unknown]>([
    ['a format', () => chat({ messages: [asked], response_format: { type: long } })],
    ['a role', () => chat({ messages: [{ role: long, content: 'x' }] })],
    ['a type of a part', () => chat({ messages: [{ role: 'user', content: [{ type: long }] }] })],
    ['a key of the metadata', () => responses({ metadata: { [long]: 'x' } })],
    ['a tool that is chosen', () => responses({ tool_choice: { type: 'function', name: long } })],
    ['a type of an item', () => responses({ input: [{ type: `${long}_call` }] })],
    [
      'a type of a block',
      () =>
        anthropicMessagesInbound.decode({
          model: 'any',
          max_tokens: 1,
          messages: [{ role: 'user', content: [{ type: long }] }],
        }),
    ],
  ])('is bounded: %s', (_name, read) => {
    let thrown: unknown;
    try {
      read();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'invalid_request' });
    const { message, param } = AppError.from(thrown);
    expect(message.length).toBeLessThan(2_100);
    expect(param?.length ?? 0).toBeLessThan(300);
  });
});
