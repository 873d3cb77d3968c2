import { describe, expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { StreamRelay, WholeRelay } from '../shared/relay.ts';
import { MessagesTap, readAnswer } from './relay.ts';

const sse = (data: { readonly type: string; readonly [field: string]: unknown }) =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const begin = sse({
  type: 'message_start',
  message: { id: 'msg_up', usage: { input_tokens: 5, cache_read_input_tokens: 10, output_tokens: 1 } },
});
const ping = sse({ type: 'ping' });
const block = sse({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
const said = (text: string) =>
  sse({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
const malformed = 'event: content_block_delta\ndata: {"type":"content_block_delta", oops\n\n';
const sent = [
  begin,
  ping,
  block,
  said('Grüße "type":"error" 🎈'),
  sse({ type: 'brand_new', type2: 'error' }),
  malformed,
  said('{"type": "message_stop"}'),
  sse({ type: 'content_block_stop', index: 0 }),
  sse({ type: 'message_delta', delta: { stop_reason: 'max_tokens' }, usage: { output_tokens: 9 } }),
  sse({ type: 'message_stop' }),
].join('');
const sound = sent.replace(malformed, '');
const usage = { inputTokens: 15, outputTokens: 9, cachedInputTokens: 10 };

function relay(text: string, pieceBytes = 10_000): TurnEvent[] {
  const decoder = new StreamRelay(new MessagesTap());
  const bytes = Buffer.from(text);
  const events: TurnEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    events.push(...decoder.push(bytes.subarray(at, at + pieceBytes)));
  }
  return [...events, ...decoder.end()];
}
const passed = (events: readonly TurnEvent[]) =>
  events.map((event) => (event.type === 'relayed' ? event.text : '')).join('');

describe('a relayed stream', () => {
  it.each([1, 7, 100, 10_000])(
    'passes unchanged but for what is no JSON, cut every %i bytes',
    (pieceBytes) => {
      const events = relay(sent, pieceBytes);
      expect(passed(events)).toBe(sound);
      expect(events.filter(({ type }) => type === 'usage').at(-1)).toEqual({ type: 'usage', usage });
      expect(events.at(-1)).toEqual({ type: 'finish', reason: 'length' });
    },
  );

  it('holds back what comes before the first content', () => {
    expect(passed(relay(begin + ping + block))).toBe('');
    const overloaded = sse({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });
    const events = relay(begin + ping + block + overloaded);
    expect(passed(events)).toBe('');
    expect(events.at(-1)).toMatchObject({ type: 'error', error: { code: 'model_unavailable' } });
    const broken = relay(begin + block + said('Hi') + overloaded);
    expect(passed(broken)).toBe(begin + block + said('Hi'));
  });

  it.each([
    [{ type: 'tool_use', id: 't', name: 'f', input: {} }],
    [{ type: 'redacted_thinking', data: 'x' }],
    [{ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }],
  ])('begins with %j', (content) => {
    const start = sse({ type: 'content_block_start', index: 0, content_block: content });
    expect(passed(relay(begin + start))).toBe(begin + start);
  });

  it('is whole by its end mark alone', () => {
    const cut = sound.slice(0, sound.indexOf('event: message_stop'));
    expect(relay(cut).at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_protocol' } });
    // Its last blank line may be missing.
    expect(relay(sound.trimEnd()).at(-1)).toEqual({ type: 'finish', reason: 'length' });
  });
});

it('an answer that is not streamed passes unchanged, or is known for what it is', () => {
  const whole = (text: string) => {
    const decoder = new WholeRelay(readAnswer);
    decoder.push(Buffer.from(text));
    return decoder.end();
  };
  const answer =
    '{ "type":"message", "content":[], "stop_reason":"tool_use", "usage":{"input_tokens":15,"output_tokens":9}}';
  expect(whole(answer)).toEqual([
    { type: 'relayed', text: answer },
    { type: 'usage', usage: { inputTokens: 15, outputTokens: 9 } },
    { type: 'finish', reason: 'tool-calls' },
  ]);
  expect(whole('{"type":"error","error":{"type":"api_error"}}')).toMatchObject([
    { type: 'error', error: { code: 'upstream_unavailable' } },
  ]);
  expect(whole('{"object":"list"}')).toMatchObject([{ error: { code: 'upstream_protocol' } }]);
});
