import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { createChatStreamEncoder, encodeChatAnswer } from './encode-answer.ts';

const identity = { id: 'chatcmpl-1', created: 7, model: 'm', now: () => 7_000 };
const usage = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, reasoningTokens: 2 };
const shownUsage = {
  prompt_tokens: 10,
  completion_tokens: 5,
  total_tokens: 15,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
};

type Chunk = OpenAI.ChatCompletionChunk & { error?: { message: string } };

/** The data lines of a stream; the last one as it is when it is no JSON. */
function encode(events: readonly TurnEvent[], includeUsage = true, custom: readonly string[] = []) {
  const encoder = createChatStreamEncoder(identity, { includeUsage, customTools: new Set(custom) });
  const lines = events
    .map((event) => encoder.encode([event]))
    .join('')
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => block.replace(/^data: /, ''));
  const isDone = lines.at(-1) === '[DONE]';
  const chunks = (isDone ? lines.slice(0, -1) : lines).map((line) => JSON.parse(line) as Chunk);
  return { chunks, isDone };
}

const deltas = (chunks: readonly Chunk[]) => chunks.map((chunk) => chunk.choices[0]?.delta);

const twoCalls: TurnEvent[] = [
  { type: 'tool-call-start', index: 0, id: 'a', name: 'read' },
  { type: 'tool-call-delta', index: 0, arguments: '{"x":' },
  { type: 'tool-call-start', index: 1, id: 'b', name: 'patch' },
  { type: 'tool-call-delta', index: 1, arguments: '{"input":"one' },
  { type: 'tool-call-delta', index: 0, arguments: '1}' },
  { type: 'tool-call-delta', index: 1, arguments: ' two"}' },
  { type: 'tool-call-end', index: 0 },
  { type: 'tool-call-end', index: 1 },
  { type: 'finish', reason: 'tool-calls' },
];

describe('a stream', () => {
  it('begins with the role, tells the reason at its end, then usage with no choices, then that it is done', () => {
    const { chunks, isDone } = encode([
      { type: 'start' },
      { type: 'text-delta', text: 'Hi' },
      { type: 'usage', usage },
      { type: 'finish', reason: 'stop' },
    ]);
    expect(deltas(chunks)).toEqual([{ role: 'assistant', content: '' }, { content: 'Hi' }, {}, undefined]);
    expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, null, 'stop', undefined]);
    expect(chunks.every((chunk) => chunk.choices.every(({ index }) => index === 0))).toBe(true);
    expect(chunks.map((chunk) => chunk.usage ?? null)).toEqual([
      null,
      null,
      null,
      expect.objectContaining({ total_tokens: 15 }),
    ]);
    expect(chunks[3]?.usage).toMatchObject(shownUsage);
    expect(
      new Set(chunks.map(({ id, object, created, model }) => [id, object, created, model].join())),
    ).toEqual(new Set(['chatcmpl-1,chat.completion.chunk,7,m']));
    expect(isDone).toBe(true);
  });

  it('holds no usage that nobody asked for', () => {
    const { chunks } = encode(
      [
        { type: 'usage', usage },
        { type: 'finish', reason: 'stop' },
      ],
      false,
    );
    expect(chunks.map((chunk) => 'usage' in chunk)).toEqual([false, false]);
  });

  it('keeps reasoning apart from the text', () => {
    const { chunks } = encode([
      { type: 'reasoning-delta', text: 'hm' },
      { type: 'text-delta', text: 'Hi' },
      { type: 'finish', reason: 'stop' },
    ]);
    expect(deltas(chunks).slice(1, 3)).toEqual([{ reasoning_content: 'hm' }, { content: 'Hi' }]);
  });

  it('has the index on every piece of a call, and its id, type and name once, in the first', () => {
    const { chunks } = encode(twoCalls);
    const pieces = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    expect(pieces).toEqual([
      { index: 0, id: 'a', type: 'function', function: { name: 'read', arguments: '' } },
      { index: 0, function: { arguments: '{"x":' } },
      { index: 1, id: 'b', type: 'function', function: { name: 'patch', arguments: '' } },
      { index: 1, function: { arguments: '{"input":"one' } },
      { index: 0, function: { arguments: '1}' } },
      { index: 1, function: { arguments: ' two"}' } },
    ]);
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('tool_calls');
  });

  it('shows the call of a custom tool with its input', () => {
    const { chunks } = encode(twoCalls, true, ['patch']);
    const pieces = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    expect(pieces.filter(({ index }) => index === 1)).toEqual([
      { index: 1, id: 'b', type: 'custom', custom: { name: 'patch', input: '' } },
      { index: 1, custom: { input: 'one two' } },
    ]);
  });

  it('shows the input of a custom tool also where its end was not told', () => {
    const unended = twoCalls.filter(({ type }) => type !== 'tool-call-end');
    const { chunks } = encode(unended, true, ['patch']);
    expect(chunks.at(-2)?.choices[0]?.delta.tool_calls).toEqual([{ index: 1, custom: { input: 'one two' } }]);
  });

  it('that breaks ends with the error: no reason, no usage, and it is not done', () => {
    const error = new AppError('upstream_protocol', 'It broke.');
    const { chunks, isDone } = encode([
      { type: 'text-delta', text: 'Hi' },
      { type: 'usage', usage },
      { type: 'error', error },
    ]);
    expect(isDone).toBe(false);
    expect(chunks.at(-1)?.error).toEqual({
      message: 'It broke.',
      type: 'server_error',
      param: null,
      code: 'upstream_protocol',
    });
    expect(chunks.slice(0, -1).every((chunk) => chunk.choices[0]?.finish_reason === null)).toBe(true);
  });

  it('is kept alive by a comment', () => {
    expect(
      createChatStreamEncoder(identity, { includeUsage: true, customTools: new Set() }).keepAlive,
    ).toMatch(/^: .*\n\n$/);
  });
});

describe('a whole answer', () => {
  const answer: CollectedTurn = { text: 'Hi', reasoning: '', toolCalls: [], usage, finishReason: 'stop' };
  const encodeWhole = (more: Partial<CollectedTurn> = {}, custom: readonly string[] = []) =>
    JSON.parse(
      encodeChatAnswer(
        identity,
        { ...answer, ...more },
        { includeUsage: true, customTools: new Set(custom) },
      ),
    ) as OpenAI.ChatCompletion;

  it('has every field that clients look for', () => {
    expect(encodeWhole()).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 7,
      model: 'm',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hi', refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        ...shownUsage,
        prompt_tokens_details: { cached_tokens: 4, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 2, audio_tokens: 0 },
      },
    });
  });

  it('has arguments as text, and the input of custom tools as they take it', () => {
    const toolCalls = [
      { id: 'a', name: 'read', arguments: '{"x":1}' },
      { id: 'b', name: 'patch', arguments: '{"input":"one"}' },
      { id: 'c', name: 'patch', arguments: 'no JSON at all' },
    ];
    const { message, finish_reason } = encodeWhole({ text: '', toolCalls, finishReason: 'tool-calls' }, [
      'patch',
    ]).choices[0] as OpenAI.ChatCompletion.Choice;
    expect(finish_reason).toBe('tool_calls');
    expect(message.content).toBeNull();
    expect(message.tool_calls).toEqual([
      { id: 'a', type: 'function', function: { name: 'read', arguments: '{"x":1}' } },
      { id: 'b', type: 'custom', custom: { name: 'patch', input: 'one' } },
      { id: 'c', type: 'custom', custom: { name: 'patch', input: 'no JSON at all' } },
    ]);
  });

  it('shows reasoning where clients read it, and none where there is none', () => {
    expect(encodeWhole({ reasoning: 'hm' }).choices[0]?.message).toMatchObject({ reasoning_content: 'hm' });
    expect(encodeWhole().choices[0]?.message).not.toHaveProperty('reasoning_content');
  });
});
