// Answers of upstreams that mean harm: their work must not grow with the square of what was sent.
import { expect, it, vi } from 'vitest';
import type { TurnDecoder } from '../core/protocol.ts';
import type { TurnEvent } from '../core/turn.ts';
import { MessagesDecoder } from './anthropic-messages/decode-stream.ts';
import { citationsIn, GeminiDecoder } from './gemini/decode-stream.ts';
import { ChatDecoder } from './openai-chat/decode-stream.ts';
import { ResponsesDecoder } from './openai-responses/decode-stream.ts';

const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const many = <Item>(count: number, make: (index: number) => Item) =>
  Array.from({ length: count }, (_, index) => make(index));

const decoders = {
  chat: () => new ChatDecoder('m'),
  responses: () => new ResponsesDecoder('m'),
  messages: () => new MessagesDecoder('model', new Map()),
  gemini: () => new GeminiDecoder('model', new Map()),
};
type Name = keyof typeof decoders;

/** Its last event; all of them may be too much to keep. */
function lastOf(decoder: TurnDecoder, pieces: Iterable<string>): TurnEvent | undefined {
  let last: TurnEvent | undefined;
  for (const piece of pieces) last = decoder.push(Buffer.from(piece)).at(-1) ?? last;
  return decoder.end().at(-1) ?? last;
}

const chatCall = (call: object) => data({ choices: [{ delta: { tool_calls: [call] } }] });
const messagesBlock = (index: number, block: object) =>
  data({ type: 'content_block_start', index, content_block: block }) +
  data({ type: 'content_block_stop', index });
const geminiPart = (part: object) => data({ candidates: [{ content: { parts: [part] } }] });

const call: Record<Name, (index: number) => string> = {
  chat: (index) => chatCall({ index, id: `c${index}`, function: { name: 'f', arguments: '{}' } }),
  responses: (index) =>
    data({
      type: 'response.output_item.done',
      output_index: index,
      item: { type: 'function_call', call_id: `c${index}`, name: 'f', arguments: '{}' },
    }),
  messages: (index) => messagesBlock(index, { type: 'tool_use', id: `c${index}`, name: 'f', input: {} }),
  gemini: () => geminiPart({ functionCall: { name: 'f', args: {} } }),
};
const end: Record<Name, string> = {
  chat: data({ choices: [{ delta: {}, finish_reason: 'tool_calls' }], usage: { prompt_tokens: 1 } }),
  responses: data({ type: 'response.completed', response: {} }),
  messages:
    data({ type: 'message_delta', delta: { stop_reason: 'tool_use' } }) + data({ type: 'message_stop' }),
  gemini: data({ candidates: [{ finishReason: 'STOP' }] }),
};

it.each<Name>(['chat', 'responses', 'messages', 'gemini'])(
  '%s: more calls than any model makes are an error',
  (name) => {
    const answer = (count: number) => lastOf(decoders[name](), [...many(count, call[name]), end[name]]);
    expect(answer(1_000)).toMatchObject({ type: 'finish', reason: 'tool-calls' });
    expect(answer(1_001)).toMatchObject({
      type: 'error',
      error: { code: 'upstream_protocol', message: expect.stringContaining('more than 1000 calls') },
    });
  },
);

it('calls without a name count as well, and each piece finds its own at once', () => {
  const pieces = many(1_001, (index) => chatCall({ index, function: { arguments: '{' } }));
  expect(lastOf(decoders.chat(), pieces)).toMatchObject({ type: 'error', error: { fault: 'model' } });
});

/** Each brings one more piece of reasoning of that length, and a reader that repeats those before it. */
const reasoning: Record<Exclude<Name, 'chat'>, (index: number, text: string) => string> = {
  responses: (index, text) =>
    data({
      type: 'response.output_item.done',
      output_index: 2 * index,
      item: { type: 'reasoning', encrypted_content: text },
    }) + data({ type: 'response.output_item.added', output_index: 2 * index + 1, item: { type: 'message' } }),
  messages: (index, text) => messagesBlock(index, { type: 'redacted_thinking', data: text }),
  gemini: (_index, text) => geminiPart({ text: '', thoughtSignature: text }),
};

it.each(['responses', 'messages', 'gemini'] as const)(
  '%s: reasoning that is repeated counts as often',
  (name) => {
    const text = 'x'.repeat(4_000_000);
    const last = lastOf(
      decoders[name](),
      many(12, (index) => reasoning[name](index, text)),
    );
    expect(last).toMatchObject({
      type: 'error',
      error: { message: 'The upstream sent more than an answer can hold.' },
    });
  },
);

it('goes through the text of an answer once for all its citations', () => {
  const text = 'Grüße 🎈 '.repeat(1_000);
  const count = 2_000;
  const metadata = {
    groundingChunks: [{ web: { uri: 'https://example.com' } }],
    groundingSupports: many(count, (index) => ({
      segment: { startIndex: index * 4, endIndex: index * 4 + 6 },
      groundingChunkIndices: [0],
    })),
  };
  const decoded = vi.spyOn(Buffer.prototype, 'toString');
  const found = citationsIn(metadata, text);
  const bytes = decoded.mock.calls.reduce((sum, [, from = 0, to = 0]) => sum + Number(to) - Number(from), 0);
  const whole = decoded.mock.calls.filter(([, , to]) => to === undefined).length;
  decoded.mockRestore();
  expect(found).toHaveLength(count);
  expect(found[0]).toEqual({ url: 'https://example.com', start: 0, end: 4 });
  expect([whole, bytes <= Buffer.byteLength(text)]).toEqual([0, true]);
});

it('an answer whose chunks each cite all of a long text is too much', () => {
  const cite = { groundingChunks: [], groundingSupports: [] };
  const long = geminiPart({ text: 'x'.repeat(8_000_000) });
  const pieces = [long, ...many(40, () => data({ candidates: [{ groundingMetadata: cite }] }))];
  expect(lastOf(decoders.gemini(), pieces)).toMatchObject({ type: 'error', error: { fault: 'service' } });
});

it('lines that are no events are passed over, but not without end', () => {
  const odd = (lines: number) => ['a\n'.repeat(lines), '\n', call.chat(0), end.chat];
  expect(lastOf(decoders.chat(), odd(1_000))).toMatchObject({ type: 'finish' });
  expect(lastOf(decoders.chat(), odd(300_000))).toMatchObject({ type: 'error', error: { fault: 'service' } });
});
