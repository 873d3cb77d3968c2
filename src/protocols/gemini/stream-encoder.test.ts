import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { TurnEvent } from '../../core/turn.ts';
import {
  ArrayFrames,
  createGeminiStreamEncoder,
  encodeGeminiAnswer,
  encodeGeminiError,
  eventFrames,
} from './encode-answer.ts';
import { proofOf, signedReasoning } from './thought-signatures.ts';

const identity = { id: 'r1', created: 1, model: 'm', now: () => 0 };
const shown = { includeUsage: true, showsThoughts: true };
const proof = { protocol: 'anthropic-messages', data: 'signed' };

interface Sent {
  readonly candidates?: readonly {
    readonly content: { readonly parts: readonly Record<string, unknown>[] };
  }[];
}

function responsesOf(events: readonly TurnEvent[], options = shown): Sent[] {
  const text = createGeminiStreamEncoder(identity, options, new ArrayFrames()).encode(events);
  return JSON.parse(text) as Sent[];
}
const partsOf = (events: readonly TurnEvent[], options = shown) =>
  responsesOf(events, options).flatMap(({ candidates = [] }) =>
    candidates.flatMap(({ content }) => content.parts),
  );

const call = (index: number, text: string): TurnEvent[] => [
  { type: 'tool-call-start', index, id: `c${index}`, name: 'f' },
  { type: 'tool-call-delta', index, arguments: text },
];
const ended = (index: number): TurnEvent => ({ type: 'tool-call-end', index });

describe('a signature', () => {
  const thought: TurnEvent[] = [
    { type: 'reasoning-delta', text: 'I ' },
    { type: 'reasoning-delta', text: 'thought.' },
    { type: 'reasoning-proof', proof },
  ];
  const signedPart = (parts: readonly Record<string, unknown>[]) => {
    const place = parts.findIndex(({ thoughtSignature }) => thoughtSignature);
    const { thoughtSignature, ...part } = parts[place] ?? {};
    expect(signedReasoning(String(thoughtSignature))).toEqual({
      type: 'reasoning',
      text: 'I thought.',
      proof,
    });
    return part;
  };

  it('goes with the part that follows, and has the thoughts whether they are shown or not', () => {
    const said: TurnEvent[] = [
      ...thought,
      { type: 'text-delta', text: 'So' },
      { type: 'finish', reason: 'stop' },
    ];
    expect(signedPart(partsOf(said))).toEqual({ text: 'So' });
    const hidden = partsOf(said, { ...shown, showsThoughts: false });
    expect(signedPart(hidden)).toEqual({ text: 'So' });
    expect(hidden.some((part) => part['thought'])).toBe(false);
    const called: TurnEvent[] = [
      ...thought,
      ...call(0, '{}'),
      ended(0),
      { type: 'finish', reason: 'tool-calls' },
    ];
    expect(signedPart(partsOf(called))).toMatchObject({ functionCall: { id: 'c0' } });
  });

  it('of an answer that says nothing more has an empty text of its own', () => {
    expect(signedPart(partsOf([...thought, { type: 'finish', reason: 'stop' }]))).toEqual({ text: '' });
  });

  it('stands on the first part of a whole answer, and one of Google on the first call', () => {
    const answer = {
      text: 'So',
      reasoning: 'I thought.',
      toolCalls: [{ id: 'c0', name: 'f', arguments: '{}' }],
      usage: undefined,
      finishReason: 'tool-calls',
    } as const;
    const placeOf = (reasoningProof: typeof proof) => {
      const body = encodeGeminiAnswer(
        identity,
        { ...answer, reasoningProof },
        { ...shown, showsThoughts: false },
      );
      const parts = (JSON.parse(body) as Sent).candidates?.[0]?.content.parts ?? [];
      return parts.findIndex(({ thoughtSignature }) => thoughtSignature);
    };
    expect(placeOf(proof)).toBe(0);
    expect(placeOf({ protocol: 'gemini', data: 'AbC=' })).toBe(1);
  });
});

it('calls are whole and in their order, and one that a limit cut is left out', () => {
  const events = [...call(0, '{"a"'), ...call(1, '{}'), ended(1), ...call(2, '{"b"')];
  const names = (reason: 'length' | 'tool-calls', more: TurnEvent[] = []) =>
    partsOf([...events, ...more, { type: 'finish', reason }]).flatMap(({ functionCall }) =>
      functionCall ? [(functionCall as { id: string }).id] : [],
    );
  const rest: TurnEvent[] = [{ type: 'tool-call-delta', index: 0, arguments: ':1}' }, ended(0)];
  expect(names('length', rest)).toEqual(['c0', 'c1']);
  expect(names('length')).toEqual(['c1']);
  expect(names('tool-calls', rest)).toEqual(['c0', 'c1', 'c2']);
});

it('a filter that lets nothing through blocks the prompt, whole and streamed', () => {
  const filtered = { reason: 'content-filter' } as const;
  expect(responsesOf([{ type: 'finish', ...filtered }])).toMatchObject([
    { promptFeedback: { blockReason: 'SAFETY' }, responseId: 'r1' },
  ]);
  const answer = { text: '', reasoning: '', toolCalls: [], usage: undefined, finishReason: filtered.reason };
  const whole = JSON.parse(encodeGeminiAnswer(identity, answer, shown)) as Sent;
  expect(whole).toMatchObject({ promptFeedback: { blockReason: 'SAFETY' } });
  expect(whole.candidates).toBeUndefined();
  const said: TurnEvent[] = [
    { type: 'text-delta', text: 'No' },
    { type: 'finish', ...filtered },
  ];
  expect(responsesOf(said).at(-1)).toMatchObject({ candidates: [{ finishReason: 'SAFETY' }] });
});

it('usage counts thoughts apart', () => {
  const usage = { inputTokens: 10, outputTokens: 7, reasoningTokens: 3, cachedInputTokens: 4 };
  expect(
    responsesOf([
      { type: 'usage', usage },
      { type: 'finish', reason: 'stop' },
    ]).at(-1),
  ).toMatchObject({
    usageMetadata: {
      promptTokenCount: 10,
      candidatesTokenCount: 4,
      thoughtsTokenCount: 3,
      cachedContentTokenCount: 4,
      totalTokenCount: 17,
    },
  });
});

it('a relayed stream is passed on as it is, or as an array wherever it was cut, and ends with its error', () => {
  const body = 'data: {"a":1}\r\n\r\ndata: {"b":"é\\n"}\r\n\r\n';
  const error = new AppError('upstream_timeout', 'Too late.');
  for (let cut = 0; cut <= body.length; cut += 1) {
    const pieces: TurnEvent[] = [body.slice(0, cut), body.slice(cut)].map((text) => ({
      type: 'relayed',
      text,
    }));
    const encode = (events: TurnEvent[], frames = new ArrayFrames()) =>
      createGeminiStreamEncoder(identity, shown, frames).encode(events);
    const finish: TurnEvent[] = [
      { type: 'usage', usage: { inputTokens: 1, outputTokens: 1 } },
      { type: 'finish', reason: 'stop' },
    ];
    expect(JSON.parse(encode([...pieces, ...finish]))).toEqual([{ a: 1 }, { b: 'é\n' }]);
    const broken = JSON.parse(encode([...pieces, { type: 'error', error }])) as unknown[];
    expect(broken).toEqual([{ a: 1 }, { b: 'é\n' }, { error: expect.objectContaining({ code: 504 }) }]);
    const streamed = createGeminiStreamEncoder(identity, shown, eventFrames);
    expect(streamed.encode([...pieces, ...finish])).toBe(body);
  }
});

it('an error says when to come again, and which field was wrong', () => {
  const errors = [
    new AppError('upstream_rate_limited', 'Slow down.', { retryAfterMs: 1_500 }),
    new AppError('invalid_request', 'contents: is missing.', { param: 'contents' }),
    new AppError('upstream_unavailable', 'Gone.'),
  ];
  expect(errors.map((error) => (JSON.parse(encodeGeminiError(error)) as { error: object }).error)).toEqual([
    {
      code: 429,
      status: 'RESOURCE_EXHAUSTED',
      message: 'Slow down.',
      details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '2s' }],
    },
    {
      code: 400,
      status: 'INVALID_ARGUMENT',
      message: 'contents: is missing.',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.BadRequest',
          fieldViolations: [{ field: 'contents', description: 'contents: is missing.' }],
        },
      ],
    },
    { code: 503, status: 'UNAVAILABLE', message: 'Gone.' },
  ]);
});

it('calls of a whole answer have their own signatures', () => {
  const signed = ['c1', 'c2'].map((id) => ({ signature: `of ${id}`, part: { type: 'call' as const, id } }));
  const answer = {
    text: 'Both.',
    reasoning: '',
    reasoningProof: proofOf('m', signed),
    toolCalls: ['c0', 'c1', 'c2'].map((id) => ({ id, name: 'f', arguments: '{}' })),
    usage: undefined,
    finishReason: 'tool-calls' as const,
  };
  const sent = JSON.parse(encodeGeminiAnswer(identity, answer, shown)) as Sent;
  expect(sent.candidates?.[0]?.content.parts.map(({ thoughtSignature }) => thoughtSignature)).toEqual([
    undefined,
    undefined,
    'of c1',
    'of c2',
  ]);
});
