import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { decodeResponsesRequest, parseResponsesRequest } from './decode-request.ts';
import { encodeResponsesAnswer } from './encode-answer.ts';
import { ResponseEvents } from './response-events.ts';

const identity = { id: `resp_${'0'.repeat(32)}`, created: 1, model: 'auto', now: () => 7_900 };

function eventsOf(batches: readonly TurnEvent[][], more: object = {}) {
  const asked = parseResponsesRequest({ model: 'auto', input: 'Hello', ...more });
  const { options } = decodeResponsesRequest(asked);
  // biome-ignore lint/suspicious/noExplicitAny: events are checked by what they hold
  const events: any[] = [];
  const ended: Record<string, unknown>[] = [];
  const made = new ResponseEvents(identity, options, {
    emit: (type, json) => events.push({ ...JSON.parse(json), named: type }),
    onEnd: (response) => ended.push(response),
  });
  for (const batch of batches) made.push(batch);
  return { events, ended, types: events.map(({ type }) => type), last: events.at(-1) };
}

const usage: TurnEvent = { type: 'usage', usage: { inputTokens: 3, outputTokens: 2 } };
const text = (words: string): TurnEvent => ({ type: 'text-delta', text: words });

it('numbers every event and names it as its type', () => {
  const { events } = eventsOf([[text('a')], [text('b'), usage, { type: 'finish', reason: 'stop' }]]);
  expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
  expect(events.every(({ type, named }) => type === named)).toBe(true);
});

it('ends a filtered answer incomplete, with the reason', () => {
  const { last, ended } = eventsOf([[text('a'), { type: 'finish', reason: 'content-filter' }]]);
  expect(last).toMatchObject({
    type: 'response.incomplete',
    response: { status: 'incomplete', incomplete_details: { reason: 'content_filter' } },
  });
  expect(ended).toHaveLength(1);
});

it('ends a broken answer failed, with one event that every client takes for an error', () => {
  const error = new AppError('upstream_timeout', 'It fell silent.');
  const { events, last, types, ended } = eventsOf([
    [text('half an '), { type: 'tool-call-start', index: 0, id: 'call_1', name: 'look' }],
    [{ type: 'tool-call-delta', index: 0, arguments: '{"pa' }],
    [{ type: 'error', error }],
  ]);
  const told = { code: 'upstream_timeout', message: 'It fell silent.' };
  expect(last).toMatchObject({
    type: 'response.failed',
    error: told,
    response: { status: 'failed', error: told, incomplete_details: null },
  });
  expect(last.response.output).toMatchObject([
    { type: 'message', status: 'completed' },
    { type: 'function_call', status: 'incomplete', arguments: '{"pa' },
  ]);
  expect(types.filter((type) => /completed|failed|incomplete/.test(type))).toEqual(['response.failed']);
  expect(events.some(({ item, type }) => type.endsWith('.done') && item?.type === 'function_call')).toBe(
    false,
  );
  expect(ended[0]).toMatchObject({ status: 'failed' });
});

it('an answer of nothing but thoughts has an empty message, as one that is not streamed', () => {
  const thought: TurnEvent = { type: 'reasoning-delta', text: 'Hm.' };
  const { last } = eventsOf([[thought, { type: 'finish', reason: 'stop' }]]);
  const answer = {
    text: '',
    reasoning: 'Hm.',
    toolCalls: [],
    finishReason: 'stop',
    usage: undefined,
  } as const;
  const { options } = decodeResponsesRequest(parseResponsesRequest({ model: 'auto', input: 'Hello' }));
  expect(last.response.output).toMatchObject([
    { type: 'reasoning' },
    { type: 'message', status: 'completed', content: [{ text: '' }] },
  ]);
  expect(encodeResponsesAnswer(identity, answer, options)['output']).toEqual(last.response.output);
});

it('announces a response before it fails', () => {
  const { types } = eventsOf([[{ type: 'error', error: new AppError('internal', 'No.') }]]);
  expect(types).toEqual(['response.created', 'response.in_progress', 'response.failed']);
});

it('does not call a call whole that a limit has cut', () => {
  const { last } = eventsOf([
    [
      { type: 'tool-call-start', index: 0, id: 'call_1', name: 'look' },
      { type: 'tool-call-delta', index: 0, arguments: '{"pa' },
      { type: 'finish', reason: 'length' },
    ],
  ]);
  expect(last.response).toMatchObject({ status: 'incomplete', output: [{ status: 'incomplete' }] });
});

describe('of a call with half its arguments', () => {
  const begun: TurnEvent[] = [
    { type: 'tool-call-start', index: 0, id: 'call_1', name: 'look' },
    { type: 'tool-call-delta', index: 0, arguments: '{"pa' },
    { type: 'tool-call-end', index: 0 },
  ];
  const done = (events: ReturnType<typeof eventsOf>['events']) =>
    events.filter(({ type }) => type === 'response.output_item.done').map(({ item }) => item.status);
  const whole = (finishReason: 'length' | 'tool-calls') => {
    const { options } = decodeResponsesRequest(parseResponsesRequest({ model: 'auto', input: 'Hello' }));
    const toolCalls = [
      { id: 'call_0', name: 'look', arguments: '{}' },
      { id: 'call_1', name: 'look', arguments: '{"pa' },
    ];
    const answer = { text: '', reasoning: '', toolCalls, finishReason, usage: undefined };
    return encodeResponsesAnswer(identity, answer, options)['output'];
  };

  it('the item is incomplete where a limit cut the answer, although the upstream ended the call', () => {
    const { last, events } = eventsOf([begun, [usage], [{ type: 'finish', reason: 'length' }]]);
    expect(last).toMatchObject({ type: 'response.incomplete' });
    expect(last.response.output).toMatchObject([{ status: 'incomplete', arguments: '{"pa' }]);
    expect(done(events)).toEqual(['incomplete']);
    expect(whole('length')).toMatchObject([{ status: 'completed' }, { status: 'incomplete' }]);
  });

  it('the item is complete where the model ended it so', () => {
    const { last, events } = eventsOf([begun, [{ type: 'finish', reason: 'tool-calls' }]]);
    expect(last.response.output).toMatchObject([{ status: 'completed' }]);
    expect(done(events)).toEqual(['completed']);
    const next = { type: 'tool-call-start', index: 1, id: 'call_2', name: 'look' } as const;
    const further = eventsOf([begun, [next, { type: 'finish', reason: 'length' }]]);
    expect(done(further.events)).toEqual(['completed', 'incomplete']);
    expect(whole('tool-calls')).toMatchObject([{ status: 'completed' }, { status: 'completed' }]);
  });
});

it('tells when it was whole, by the clock it was given, and of a broken one nothing', () => {
  expect(eventsOf([[text('a'), { type: 'finish', reason: 'stop' }]]).last.response.completed_at).toBe(7);
  const broken = eventsOf([[text('a'), { type: 'error', error: new AppError('internal', 'No.') }]]);
  expect(broken.last.response.completed_at).toBeNull();
});

it('repeats what the request asked for', () => {
  const { last } = eventsOf([[text('a'), { type: 'finish', reason: 'stop' }]], {
    max_tool_calls: 3,
    metadata: { a: 'b' },
    truncation: 'auto',
  });
  expect(last.response).toMatchObject({ max_tool_calls: 3, metadata: { a: 'b' }, truncation: 'auto' });
});

it('reasoning that is only encrypted comes back with the next request, after a stream and a whole answer', () => {
  const opaque = { seal: (sealed: string) => `sealed:${sealed}`, open: (sealed: string) => sealed.slice(7) };
  const decoded = (body: object) =>
    decodeResponsesRequest(parseResponsesRequest({ model: 'auto', ...body }), { opaque });
  const { options } = decoded({ input: 'Hello', include: ['reasoning.encrypted_content'] });
  const proof = { protocol: 'openai-chat', data: '[{"type":"reasoning.encrypted","data":"x"}]' };
  const call = { id: 'c', name: 'f', arguments: '{}' };
  let streamed: Record<string, unknown> = {};
  const made = new ResponseEvents(identity, options, {
    emit: () => {},
    onEnd: (response) => {
      streamed = response;
    },
  });
  made.push([
    { type: 'reasoning-proof', proof },
    { type: 'tool-call-start', index: 0, id: 'c', name: 'f' },
    { type: 'tool-call-delta', index: 0, arguments: '{}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'finish', reason: 'tool-calls' },
  ]);
  const answer = { text: '', reasoning: '', reasoningProof: proof, toolCalls: [call], usage: undefined };
  const whole = encodeResponsesAnswer(identity, { ...answer, finishReason: 'tool-calls' }, options);
  expect(streamed['output']).toEqual(whole['output']);
  const output = { type: 'function_call_output', call_id: 'c', output: 'fine' };
  const { messages } = decoded({ input: [...(whole['output'] as object[]), output] }).request;
  expect(messages[0]?.parts).toMatchObject([
    { type: 'reasoning', proof },
    { type: 'tool-call', id: 'c' },
  ]);
});

it('a proof that comes behind its reasoning stands before the call that needs it', () => {
  const opaque = { seal: (sealed: string) => `sealed:${sealed}`, open: (sealed: string) => sealed.slice(7) };
  const asked = { model: 'auto', input: 'Hello', include: ['reasoning.encrypted_content'] };
  const { options } = decodeResponsesRequest(parseResponsesRequest(asked), { opaque });
  let output: { type: string; encrypted_content?: string }[] = [];
  const made = new ResponseEvents(identity, options, {
    emit: () => {},
    onEnd: (response) => {
      output = response['output'] as typeof output;
    },
  });
  made.push([
    { type: 'reasoning-delta', text: 'hm' },
    { type: 'text-delta', text: 'a' },
    { type: 'reasoning-proof', proof: { protocol: 'gemini', data: 'one' } },
    { type: 'tool-call-start', index: 0, id: 'c', name: 'f' },
    { type: 'tool-call-end', index: 0 },
    { type: 'finish', reason: 'tool-calls' },
  ]);
  expect(output.map(({ type }) => type)).toEqual(['reasoning', 'message', 'reasoning', 'function_call']);
  expect(output[2]?.encrypted_content).toContain('"one"');
});
