// What a streamed answer says, put together, is what the whole one says: in every dialect, from every protocol.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CollectedTurn, Inbound, StreamEncoder, TurnDecoder } from '../src/core/protocol.ts';
import type { FinishReason, TurnEvent } from '../src/core/turn.ts';
import { CollectedAnswer } from '../src/gateway/turn/collected-answer.ts';
import { MessagesDecoder } from '../src/protocols/anthropic-messages/decode-stream.ts';
import { anthropicMessagesInbound } from '../src/protocols/anthropic-messages/inbound.ts';
import { GeminiDecoder } from '../src/protocols/gemini/decode-stream.ts';
import { createGeminiInbound } from '../src/protocols/gemini/inbound.ts';
import { ChatDecoder } from '../src/protocols/openai-chat/decode-stream.ts';
import { openaiChatInbound } from '../src/protocols/openai-chat/inbound.ts';
import { ResponsesDecoder } from '../src/protocols/openai-responses/decode-stream.ts';
import { createResponsesInbound } from '../src/protocols/openai-responses/inbound.ts';
import { batched } from './support/neutral-answers.ts';
import type { Dialect } from './support/stream-grammar.ts';

type Json = Record<string, unknown>;

interface Encoders {
  stream(): StreamEncoder;
  whole(answer: CollectedTurn): Json;
}

const identity = { id: 'resp_1', created: 1_700_000_000, model: 'm', now: () => 1_700_000_000_000 };
const user = { role: 'user', content: 'Hi' };
const names = ['look', 'files__read'];

const encoders: Readonly<Record<Dialect, Encoders>> = {
  chat: both(openaiChatInbound, {
    messages: [user],
    stream: true,
    stream_options: { include_usage: true },
    tools: [{ type: 'custom', custom: { name: 'patch' } }],
  }),
  responses: both(createResponsesInbound(), {
    input: 'Hi',
    include: ['reasoning.encrypted_content'],
    tools: [
      ...names.map((name) => ({ type: 'function', name, parameters: {} })),
      { type: 'custom', name: 'patch' },
    ],
  }),
  messages: both(anthropicMessagesInbound, {
    max_tokens: 4_000,
    messages: [user],
    thinking: { type: 'enabled', budget_tokens: 1_024 },
  }),
  gemini: both(createGeminiInbound({ model: 'm', answer: 'events' }), {
    contents: [{ parts: [{ text: 'Hi' }] }],
    generationConfig: { thinkingConfig: { includeThoughts: true } },
  }),
};

function both<Options>(inbound: Inbound<Options>, body: Json): Encoders {
  const { options } = inbound.decode({ model: 'm', ...body });
  return {
    stream: () => inbound.streamEncoder(identity, options),
    whole: (answer) => JSON.parse(inbound.encodeAnswer(identity, answer, options)) as Json,
  };
}

const decoders: Readonly<Record<Dialect, () => TurnDecoder>> = {
  chat: () => new ChatDecoder('m'),
  responses: () => new ResponsesDecoder('m', new Map()),
  messages: () => new MessagesDecoder('m', new Map()),
  gemini: () => new GeminiDecoder('m', new Map()),
};

/** What a client holds in the end, whatever pieces it came in. */
interface Held {
  text: string;
  thought: string;
  refusal: string;
  calls: unknown[];
  sources: unknown[];
  end: unknown;
  usage: unknown;
}

const nothing = (): Held => ({
  text: '',
  thought: '',
  refusal: '',
  calls: [],
  sources: [],
  end: undefined,
  usage: undefined,
});
const list = (value: unknown) => (Array.isArray(value) ? (value as Json[]) : []);
const object = (value: unknown) => (value ?? {}) as Json;
const eventsIn = (stream: string) =>
  [...stream.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data as string) as Json);

function readChat(answers: readonly Json[]): Held {
  const held = nothing();
  const calls: { id: unknown; name: unknown; input: string }[] = [];
  for (const { choices, usage } of answers) {
    held.usage = usage ?? held.usage;
    for (const { delta, message, finish_reason: end } of list(choices)) {
      const said = object(delta ?? message);
      held.text += said['content'] ?? '';
      held.thought += said['reasoning_content'] ?? '';
      held.refusal += said['refusal'] ?? '';
      held.sources.push(...list(said['annotations']));
      for (const [at, call] of list(said['tool_calls']).entries()) {
        const { name, arguments: given, input } = object(call['function'] ?? call['custom']);
        const index = (call['index'] as number | undefined) ?? at;
        calls[index] ??= { id: call['id'], name, input: '' };
        calls[index].input += given ?? input ?? '';
      }
      held.end = end ?? held.end;
    }
  }
  return { ...held, calls };
}

function readResponses(answers: readonly Json[]): Held {
  const held = nothing();
  const [answer] = answers.map(({ response, ...whole }) => response ?? whole).slice(-1);
  const { output, status, incomplete_details: details, usage } = object(answer);
  for (const { id: _, ...item } of list(output)) {
    for (const part of list(item['content'])) {
      held.text += part['text'] ?? '';
      held.refusal += part['refusal'] ?? '';
      held.sources.push(...list(part['annotations']));
    }
    for (const part of list(item['summary'])) held.thought += part['text'];
    if (String(item['type']).endsWith('_call')) held.calls.push(item);
  }
  return { ...held, end: [status, details], usage };
}

function readMessages(answers: readonly Json[]): Held {
  const held = nothing();
  const blocks: Json[] = [];
  const inputs = new Map<Json, string>();
  const [first = {}] = answers;
  if (first['type'] === 'message') {
    blocks.push(...list(first['content']));
    held.end = ['stop_reason', 'stop_sequence', 'stop_details'].map((name) => first[name]);
    held.usage = first['usage'];
  }
  for (const event of answers) {
    const delta = object(event['delta']);
    const block = blocks.at(-1) ?? {};
    if (event['type'] === 'content_block_start') blocks.push({ ...object(event['content_block']) });
    if (event['type'] === 'content_block_delta') {
      for (const name of ['text', 'thinking'])
        if (name in delta) block[name] = `${block[name]}${delta[name]}`;
      if ('citation' in delta) block['citations'] = [...list(block['citations']), delta['citation']];
      if ('partial_json' in delta) inputs.set(block, `${inputs.get(block) ?? ''}${delta['partial_json']}`);
    }
    if (event['type'] === 'message_delta') {
      held.end = ['stop_reason', 'stop_sequence', 'stop_details'].map((name) => delta[name]);
      held.usage = event['usage'];
    }
  }
  for (const block of blocks) {
    held.text += block['text'] ?? '';
    held.thought += block['thinking'] ?? '';
    held.sources.push(...list(block['citations']));
    if (block['type'] === 'tool_use') {
      // What a client makes of arguments that were cut is its own.
      const given = object(block['input']);
      const isWhole = first['type'] === 'message';
      const shown = 'invalid_json' in given ? undefined : given;
      const input = isWhole ? shown : parsed(inputs.get(block) || '{}');
      held.calls.push({ id: block['id'], name: block['name'], input });
    }
  }
  return held;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readGemini(answers: readonly Json[]): Held {
  const held = nothing();
  for (const { candidates, usageMetadata: usage, promptFeedback } of answers) {
    held.usage = usage ?? held.usage;
    held.end = promptFeedback ?? held.end;
    for (const { content, finishReason, groundingMetadata } of list(candidates)) {
      for (const part of list(object(content)['parts'])) {
        if (part['thought']) held.thought += part['text'];
        else held.text += part['text'] ?? '';
        if (part['functionCall']) held.calls.push(part['functionCall']);
      }
      held.sources.push(...list(object(groundingMetadata)['groundingChunks']));
      held.end = finishReason ?? held.end;
    }
  }
  return held;
}

const readers = { chat: readChat, responses: readResponses, messages: readMessages, gemini: readGemini };

type Move = readonly [
  kind: 'text' | 'refusal' | 'think' | 'prove' | 'cite' | 'call' | 'piece' | 'end',
  size: number,
];
const anyMove: fc.Arbitrary<Move> = fc.tuple(
  fc.constantFrom(
    ...(['text', 'text', 'refusal', 'think', 'prove', 'cite', 'call', 'call', 'piece', 'piece'] as const),
    ...(['end', 'end'] as const),
  ),
  fc.nat({ max: 20 }),
);
const inputs = ['{}', '', '{"city":"Oslo, \\"N\\""}', '{"input":"*** Begin"}', '{"a":'];
const ends = ['stop', 'length', 'content-filter'] as const;

/** Calls may overlap, be cut anywhere and have text between them; what ends whole has only whole calls. */
function play(moves: readonly Move[], end: (typeof ends)[number], stopSequence?: string): TurnEvent[] {
  const events: TurnEvent[] = [{ type: 'start' }];
  const calls: { rest: string; isOpen: boolean }[] = [];
  const pick = (size: number) => {
    const open = calls.filter(({ isOpen }) => isOpen);
    return calls.indexOf(open[size % open.length] as (typeof calls)[number]);
  };
  const piece = (index: number, size: number) => {
    const call = calls[index];
    if (!call || call.rest === '') return;
    events.push({ type: 'tool-call-delta', index, arguments: call.rest.slice(0, size) });
    call.rest = call.rest.slice(size);
  };
  const endCall = (index: number) => {
    const call = calls[index];
    if (!call) return;
    if (end === 'stop') piece(index, call.rest.length);
    call.isOpen = false;
    events.push({ type: 'tool-call-end', index });
  };
  let said: 'nothing' | 'text' | 'refusal' = 'nothing';
  for (const [kind, size] of moves) {
    // Nothing is said behind a refusal, and a citation is one of text.
    if ((kind === 'text' && said === 'refusal') || (kind === 'cite' && said !== 'text')) continue;
    if (kind === 'text' || kind === 'refusal') said = kind;
    if (kind === 'text') events.push({ type: 'text-delta', text: `Text ${size}. ` });
    else if (kind === 'refusal') events.push({ type: 'refusal-delta', text: `No ${size}. ` });
    else if (kind === 'think') events.push({ type: 'reasoning-delta', text: `Hm ${size}. ` });
    else if (kind === 'prove')
      events.push({ type: 'reasoning-proof', proof: { protocol: 'other', data: `p${size}` } });
    else if (kind === 'cite')
      events.push({ type: 'citation', citation: { url: `https://a.test/${size}`, start: 0, end: size } });
    else if (kind === 'call') {
      const name = ['patch', ...names][size % 3] as string;
      const possible = end === 'stop' ? inputs.slice(0, 4) : inputs;
      events.push({ type: 'tool-call-start', index: calls.length, id: `call_${calls.length}`, name });
      calls.push({ rest: possible[size % possible.length] as string, isOpen: true });
    } else if (kind === 'piece') piece(pick(size), size + 1);
    else endCall(pick(size));
  }
  if (end === 'stop') for (const [index, { isOpen }] of calls.entries()) if (isOpen) endCall(index);
  events.push({
    type: 'usage',
    usage: { inputTokens: 9, outputTokens: 5, cachedInputTokens: 2, reasoningTokens: 1 },
  });
  const reason: FinishReason =
    end === 'stop' && calls.length > 0 && stopSequence === undefined ? 'tool-calls' : end;
  events.push({ type: 'finish', reason, ...(stopSequence !== undefined && { stopSequence }) });
  return events;
}

const anyAnswer = fc
  .tuple(
    fc.array(anyMove, { maxLength: 14 }),
    fc.constantFrom(...ends),
    fc.option(fc.constant('END'), { nil: undefined, freq: 4 }),
  )
  .map(([moves, end, stop]) => play(moves, end, end === 'stop' ? stop : undefined));
const anySizes = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 3 });

function streamed(dialect: Dialect, batches: readonly (readonly TurnEvent[])[]): string {
  const encoder = encoders[dialect].stream();
  return batches.map((batch) => encoder.encode(batch)).join('');
}

function whole(dialect: Dialect, events: readonly TurnEvent[]): Json {
  const answer = new CollectedAnswer();
  answer.take(events, false);
  return encoders[dialect].whole(answer.whole(events.at(-1) as Extract<TurnEvent, { type: 'finish' }>));
}

function agree(dialect: Dialect, events: readonly TurnEvent[], sizes: readonly number[] = []): void {
  const read = readers[dialect];
  expect(read(eventsIn(streamed(dialect, batched(events, sizes))))).toEqual(read([whole(dialect, events)]));
}

const dialects = Object.keys(encoders) as Dialect[];

it.each(dialects)('a streamed answer of %s says what the whole one says', (dialect) => {
  fc.assert(
    fc.property(anyAnswer, anySizes, (events, sizes) => agree(dialect, events, sizes)),
    { numRuns: 300 },
  );
});

describe.each(dialects)('from an upstream of %s', (upstream) => {
  it.each(dialects.filter((dialect) => dialect !== upstream))('it is so for a client of %s', (dialect) => {
    fc.assert(
      fc.property(anyAnswer, anySizes, (events, sizes) => {
        const decoder = decoders[upstream]();
        const bytes = Buffer.from(streamed(upstream, batched(events, sizes)));
        const read = [...decoder.push(bytes), ...decoder.end()];
        fc.pre(read.at(-1)?.type === 'finish');
        agree(dialect, read, sizes);
      }),
      { numRuns: 150 },
    );
  });
});
