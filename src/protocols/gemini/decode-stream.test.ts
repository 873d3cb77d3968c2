import { describe, expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { GeminiDecoder } from './decode-stream.ts';
import { proofOf } from './thought-signatures.ts';

const data = (value: unknown) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\r\n\r\n`;
const chunk = (parts: object[], more: object = {}, finishReason?: string) =>
  data({
    candidates: [{ content: { parts, role: 'model' }, ...(finishReason && { finishReason }), index: 0 }],
    responseId: 'up',
    ...more,
  });
const usageMetadata = { promptTokenCount: 9, candidatesTokenCount: 4, totalTokenCount: 13 };
const last = (parts: object[], finishReason = 'STOP') => chunk(parts, { usageMetadata }, finishReason);

function decode(text: string, pieceBytes = 5): TurnEvent[] {
  const decoder = new GeminiDecoder('gemini-x', new Map());
  const bytes = Buffer.from(text);
  const events: TurnEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    events.push(...decoder.push(bytes.subarray(at, at + pieceBytes)));
  }
  return [...events, ...decoder.end()];
}

// The form of Google's documented answers: "Thinking", "Thought signatures", "Function calling".
const thinking = [
  chunk([{ text: '**Weighing**\n', thought: true }], {
    usageMetadata: { promptTokenCount: 9, thoughtsTokenCount: 30 },
  }),
  chunk([{ text: 'Grüße 🎈' }], {
    usageMetadata: {
      promptTokenCount: 9,
      candidatesTokenCount: 3,
      thoughtsTokenCount: 30,
      totalTokenCount: 42,
    },
  }),
  chunk(
    [{ text: '', thoughtSignature: 'EpkKlast' }],
    {
      usageMetadata: {
        promptTokenCount: 9,
        cachedContentTokenCount: 6,
        candidatesTokenCount: 4,
        thoughtsTokenCount: 30,
        toolUsePromptTokenCount: 2,
        totalTokenCount: 45,
      },
    },
    'STOP',
  ),
].join('');

it('reads thoughts, text, its signature, usage and the end, wherever the bytes are cut', () => {
  for (const pieceBytes of [1, 3, 10_000]) {
    expect(decode(thinking, pieceBytes)).toEqual([
      { type: 'start', upstreamRequestId: 'up' },
      { type: 'usage', usage: { inputTokens: 9, outputTokens: 30, reasoningTokens: 30 } },
      { type: 'reasoning-delta', text: '**Weighing**\n' },
      { type: 'usage', usage: { inputTokens: 9, outputTokens: 33, reasoningTokens: 30 } },
      { type: 'text-delta', text: 'Grüße 🎈' },
      {
        type: 'usage',
        usage: { inputTokens: 11, outputTokens: 34, reasoningTokens: 30, cachedInputTokens: 6 },
      },
      {
        type: 'reasoning-proof',
        proof: proofOf('gemini-x', [{ signature: 'EpkKlast', part: { type: 'text', from: 8, to: 8 } }]),
      },
      { type: 'finish', reason: 'stop', upstreamReason: 'STOP' },
    ]);
  }
});

it('reads whole calls, with the signature of the first before it, and makes up missing ids', () => {
  const events = decode(
    last([
      {
        functionCall: { id: 'fc_1', name: 'get_weather', args: { city: 'Paris' } },
        thoughtSignature: 'sigA',
      },
      { functionCall: { name: 'get_time' } },
      { functionCall: { id: 'fc_1', name: 'get_time', args: {} } },
    ]),
  );
  expect(events.slice(2, 6)).toEqual([
    {
      type: 'reasoning-proof',
      proof: proofOf('gemini-x', [{ signature: 'sigA', part: { type: 'call', id: 'fc_1' } }]),
    },
    { type: 'tool-call-start', index: 0, id: 'fc_1', name: 'get_weather' },
    { type: 'tool-call-delta', index: 0, arguments: '{"city":"Paris"}' },
    { type: 'tool-call-end', index: 0 },
  ]);
  const ids = events.flatMap((event) => (event.type === 'tool-call-start' ? [event.id] : []));
  expect(new Set(ids).size).toBe(3);
  expect(ids.slice(1)).toEqual([expect.stringMatching(/^gemini-\w{32}$/), expect.stringMatching(/^gemini-/)]);
  expect(events.at(-1)).toEqual({ type: 'finish', reason: 'tool-calls', upstreamReason: 'STOP' });
});

it('each proof holds those before it', () => {
  const events = decode(
    chunk([{ functionCall: { id: 'a', name: 'f' }, thoughtSignature: 'A' }]) +
      last([{ functionCall: { id: 'b', name: 'f' }, thoughtSignature: 'B' }]),
  );
  expect(events.filter(({ type }) => type === 'reasoning-proof').at(-1)).toEqual({
    type: 'reasoning-proof',
    proof: proofOf('gemini-x', [
      { signature: 'A', part: { type: 'call', id: 'a' } },
      { signature: 'B', part: { type: 'call', id: 'b' } },
    ]),
  });
});

it.each([
  ['STOP', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['SAFETY', 'content-filter'],
  ['RECITATION', 'content-filter'],
  ['BLOCKLIST', 'content-filter'],
  ['PROHIBITED_CONTENT', 'content-filter'],
  ['SPII', 'content-filter'],
  ['LANGUAGE', 'content-filter'],
  ['IMAGE_SAFETY', 'content-filter'],
])('the reason %s is %s', (given, reason) => {
  expect(decode(last([{ text: 'x' }], given)).at(-1)).toEqual({
    type: 'finish',
    reason,
    upstreamReason: given,
  });
});

it.each(['MALFORMED_FUNCTION_CALL', 'UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS', 'OTHER', 'NEWER_WORD'])(
  'the reason %s is an error that may pass, and names it',
  (given) => {
    const events = decode(last([], given));
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      error: { code: 'upstream_protocol', fault: 'upstream', message: expect.stringContaining(given) },
    });
  },
);

it('a prompt that is blocked ends as a filtered answer', () => {
  const blocked = data({
    promptFeedback: { blockReason: 'PROHIBITED_CONTENT' },
    usageMetadata: { promptTokenCount: 3 },
  });
  expect(decode(blocked).slice(1)).toEqual([
    { type: 'usage', usage: { inputTokens: 3, outputTokens: 0 } },
    { type: 'finish', reason: 'content-filter', upstreamReason: 'PROHIBITED_CONTENT' },
  ]);
});

it('goes on after a reason that comes before the usage, and after bytes that end behind it', () => {
  const events = decode(chunk([{ text: 'a' }], {}, 'STOP') + data({ usageMetadata }));
  expect(events.slice(-2).map(({ type }) => type)).toEqual(['usage', 'finish']);
  expect(decode(chunk([{ text: 'a' }], {}, 'STOP')).at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  expect(decode(last([{ text: 'a' }]).trimEnd()).at(-1)).toMatchObject({ type: 'finish' });
});

it('reads sources, whose places Google counts in bytes', () => {
  const groundingMetadata = {
    groundingChunks: [{ web: { uri: 'https://example.com/w', title: 'example.com' } }],
    groundingSupports: [
      { segment: { startIndex: 8, endIndex: 13, text: 'Regen' }, groundingChunkIndices: [0, 7] },
    ],
  };
  const text = data({
    candidates: [{ content: { parts: [{ text: 'Grüße, Regen' }] }, groundingMetadata, finishReason: 'STOP' }],
    usageMetadata,
  });
  expect(decode(text).filter(({ type }) => type === 'citation')).toEqual([
    {
      type: 'citation',
      citation: { url: 'https://example.com/w', title: 'example.com', start: 6, end: 11 },
    },
  ]);
});

const unavailable = { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' };

describe.each([
  ['nothing', '', 'upstream_protocol'],
  ['text without a reason', chunk([{ text: 'x' }]), 'upstream_protocol'],
  ['half a chunk', chunk([{ text: 'x' }]) + last([{ text: 'y' }]).slice(0, 30), 'upstream_protocol'],
  ['an error', chunk([{ text: 'x' }]) + data({ error: unavailable }), 'model_unavailable'],
  ['an error in a list', data([{ error: unavailable }]), 'model_unavailable'],
  [
    'an error that is no event',
    `${chunk([{ text: 'x' }])}${JSON.stringify({ error: unavailable }, null, 2)}\n`,
    'model_unavailable',
  ],
  [
    'an error about the rate',
    data({ error: { code: 429, message: 'Resource has been exhausted', status: 'RESOURCE_EXHAUSTED' } }),
    'upstream_rate_limited',
  ],
])('%s', (_name, text, code) => {
  it.each([1, 7, 10_000])('is an error, and the only end, in pieces of %i bytes', (pieceBytes) => {
    const events = decode(text, pieceBytes);
    expect(events.filter(({ type }) => type === 'finish')).toEqual([]);
    expect(events.filter(({ type }) => type === 'error')).toMatchObject([{ error: { code } }]);
    expect(events.at(-1)?.type).toBe('error');
  });
});

it('passes over a chunk that is no JSON, and parts that are not known', () => {
  const events = decode(
    chunk([{ text: 'a' }]) + data('{oops') + chunk([{ executableCode: {} }]) + last([{ text: 'b' }]),
  );
  expect(events.flatMap((event) => (event.type === 'text-delta' ? [event.text] : []))).toEqual(['a', 'b']);
  expect(events.at(-1)?.type).toBe('finish');
});
