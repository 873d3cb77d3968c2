// An answer in the form of Anthropic's Messages, whole and as a stream.
import { type Answer, abandonedUsage, type Call, type Usage } from '../vendor/scenarios.ts';
import type { Played } from '../vendor/vendor.ts';
import { redactedData, signatureFor } from './check.ts';

export const streamType = 'text/event-stream; charset=utf-8';

const stopReasons: Record<Answer['finish'], string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  'stop-sequence': 'stop_sequence',
  calls: 'tool_use',
  filter: 'refusal',
};

interface Shown {
  readonly model: string;
  /** Thoughts are left out of the answer, and signed anyway. */
  readonly isOmitted: boolean;
}

/** A block of the answer: as a whole, as it begins in a stream, and its deltas. */
interface SentBlock {
  readonly whole: object;
  readonly start: object;
  readonly deltas: readonly object[];
}

function event(type: string, fields: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

export function playedAnswer(answer: Answer, shown: Shown, headers: Record<string, string>): Played {
  const { finish, usage } = answer;
  const blocks = blocksOf(answer, shown);
  const stop = stopOf(answer);
  const frames = [startOf(shown.model, usage)];
  for (const [index, { start, deltas }] of blocks.entries()) {
    frames.push(event('content_block_start', { index, content_block: start }));
    if (index === 0) frames.push(event('ping', {}));
    for (const delta of deltas) frames.push(event('content_block_delta', { index, delta }));
    frames.push(event('content_block_stop', { index }));
  }
  const { service_tier: _tier, inference_geo: _geo, cache_creation: _creation, ...told } = usageOf(usage);
  frames.push(event('message_delta', { delta: { container: null, ...stop }, usage: told }));
  frames.push(event('message_stop', {}));
  return {
    whole: {
      ...emptyMessage(shown.model),
      content: blocks.map(({ whole }) => whole),
      ...stop,
      usage: usageOf(usage),
    },
    frames,
    contentAt: finish === 'filter' ? 1 : 3,
    endFrames: 1,
    contentType: streamType,
    headers,
    everyMs: answer.everyMs,
  };
}

/** Half an answer that tells its usage and breaks. */
export function abandonedFrames(model: string): string[] {
  return [
    startOf(model, abandonedUsage),
    event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Half of' } }),
    event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: ' an answer' } }),
    event('error', { error: { type: 'overloaded_error', message: 'Overloaded', details: null } }),
  ];
}

function startOf(model: string, usage: Usage): string {
  const message = {
    ...emptyMessage(model),
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    usage: { ...usageOf(usage), output_tokens: usage === abandonedUsage ? usage.output : 1 },
  };
  return event('message_start', { message });
}

function emptyMessage(model: string) {
  return {
    id: 'msg_up',
    type: 'message',
    role: 'assistant',
    model: `${model}-2026`,
    container: null,
    content: [],
  };
}

function stopOf({ finish, stopSequence, refusal }: Answer) {
  const isRefused = finish === 'filter' || refusal;
  return {
    stop_reason: isRefused ? 'refusal' : stopReasons[finish],
    stop_sequence: stopSequence,
    stop_details: isRefused ? { type: 'refusal', category: null, explanation: null } : null,
  };
}

/** Tokens that a cache gave or took are not among `input_tokens`. */
function usageOf({ input, cacheRead, cacheWrite, output, thinking }: Usage) {
  return {
    input_tokens: input - cacheRead - cacheWrite,
    cache_creation_input_tokens: cacheWrite,
    cache_read_input_tokens: cacheRead,
    cache_creation: { ephemeral_5m_input_tokens: cacheWrite, ephemeral_1h_input_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { thinking_tokens: thinking },
    server_tool_use: null,
    service_tier: 'standard',
    inference_geo: null,
  };
}

function blocksOf({ thoughts, isRedacted, texts, calls }: Answer, { isOmitted }: Shown): SentBlock[] {
  const blocks: SentBlock[] = [];
  if (isRedacted) {
    const redacted = { type: 'redacted_thinking', data: redactedData };
    blocks.push({ whole: redacted, start: redacted, deltas: [] });
  }
  if (thoughts.length > 0) blocks.push(thinkingBlock(isOmitted ? [] : thoughts));
  if (texts.length > 0 && calls.length === 0) blocks.push(textBlock(texts));
  return [...blocks, ...calls.map(callBlock)];
}

function thinkingBlock(thoughts: readonly string[]): SentBlock {
  const thinking = thoughts.join('');
  const signature = signatureFor(thinking);
  return {
    whole: { type: 'thinking', thinking, signature },
    start: { type: 'thinking', thinking: '', signature: '' },
    deltas: [
      ...thoughts.map((thought) => ({ type: 'thinking_delta', thinking: thought })),
      { type: 'signature_delta', signature },
    ],
  };
}

function textBlock(texts: readonly string[]): SentBlock {
  return {
    whole: { type: 'text', text: texts.join('') },
    start: { type: 'text', text: '' },
    deltas: texts.map((text) => ({ type: 'text_delta', text })),
  };
}

function callBlock({ id, name, pieces }: Call): SentBlock {
  const head = { type: 'tool_use', id: `toolu_${id}`, name, caller: { type: 'direct' } };
  return {
    whole: { ...head, input: JSON.parse(pieces.join('')) as unknown },
    start: { ...head, input: {} },
    // The vendor begins with an empty piece.
    deltas: ['', ...pieces].map((piece) => ({ type: 'input_json_delta', partial_json: piece })),
  };
}
