import { expect, it } from 'vitest';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { missingSignature } from '../shared/reasoning.ts';
import { createGeminiOutbound } from './outbound.ts';
import { withoutSignatures } from './relay.ts';

const outbound = createGeminiOutbound(Date.now);
const body = '{ "contents": [{"parts":[{"text":"\\u0041"}]}],\n "brandNew": {"deep": [1e2]} }';
const opened = (isStream: boolean, choices = 1, model = 'gemini-x') =>
  outbound.relay?.open({ dialect: 'gemini', body, isStream, includeUsage: false, choices }, model) as {
    request: { path: string; body: Uint8Array };
    contentType?: string;
    decoder: TurnDecoder;
  };

const data = (value: unknown) => `data: ${JSON.stringify(value)}\r\n\r\n`;
const usageMetadata = { promptTokenCount: 3, candidatesTokenCount: 2 };
const chunk = (parts: object[], finishReason?: string, index = 0) =>
  data({ candidates: [{ index, content: { parts }, ...(finishReason && { finishReason }) }], usageMetadata });

function relay(text: string, pieceBytes: number, choices = 1): TurnEvent[] {
  const { decoder } = opened(true, choices);
  const bytes = Buffer.from(text);
  const events: TurnEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    events.push(...decoder.push(bytes.subarray(at, at + pieceBytes)));
  }
  return [...events, ...decoder.end()];
}
const passed = (events: readonly TurnEvent[]) =>
  events.map((event) => (event.type === 'relayed' ? event.text : '')).join('');

it("sends the client's own bytes to the model in the path", () => {
  expect(opened(true).request.path).toBe('/v1beta/models/gemini-x:streamGenerateContent?alt=sse');
  expect(opened(false).request.path).toBe('/v1beta/models/gemini-x:generateContent');
  expect(opened(false, 1, 'tunedModels/a b').request.path).toBe('/v1beta/tunedModels/a%20b:generateContent');
  expect(Buffer.from(opened(true).request.body).toString()).toBe(body);
});

it.each([1, 7, 10_000])('passes a stream on as it came, in pieces of %i bytes', (pieceBytes) => {
  const text =
    chunk([{ text: '' }]) +
    chunk([{ text: 'Grüße', thoughtSignature: 's' }]) +
    data({ odd: 1 }) +
    chunk([{ functionCall: { name: 'f' } }], 'STOP') +
    data({ later: true });
  const events = relay(text, pieceBytes);
  expect(passed(events)).toBe(text);
  expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
  expect(events.filter(({ type }) => type === 'usage').at(-1)).toEqual({
    type: 'usage',
    usage: { inputTokens: 3, outputTokens: 2 },
  });
});

it('passes nothing on before the first content', () => {
  const { decoder } = opened(true);
  expect(decoder.push(Buffer.from(chunk([{ text: '' }]))).map(({ type }) => type)).toEqual(['usage']);
  expect(decoder.push(Buffer.from(chunk([{ text: 'a' }])))[0]?.type).toBe('relayed');
});

it('passes on an answer that the model broke off, and a blocked prompt', () => {
  const broken = chunk([], 'MALFORMED_FUNCTION_CALL');
  expect(passed(relay(broken, 5))).toBe(broken);
  const blocked = relay(data({ promptFeedback: { blockReason: 'SAFETY' } }), 5);
  expect(passed(blocked)).toContain('SAFETY');
  expect(blocked.at(-1)).toEqual({ type: 'finish', reason: 'content-filter' });
});

const unavailable = { error: { code: 503, message: 'overloaded', status: 'UNAVAILABLE' } };

it.each([
  ['a cut', chunk([{ text: 'x' }]), 'upstream_protocol', 1],
  ['an error', chunk([{ text: 'x' }]) + data(unavailable), 'model_unavailable', 1],
  [
    'an error that is no event',
    chunk([{ text: 'x' }]) + JSON.stringify(unavailable, null, 1),
    'model_unavailable',
    1,
  ],
  ['an end of one candidate of two', chunk([{ text: 'x' }], 'STOP', 1), 'upstream_protocol', 2],
])('%s is an error behind what came before', (_name, text, code, choices) => {
  for (const pieceBytes of [1, 10_000]) {
    const events = relay(text, pieceBytes, choices);
    expect(passed(events)).toContain('"x"');
    expect(passed(events)).not.toContain('error');
    expect(events.at(-1)).toMatchObject({ type: 'error', error: { code } });
    expect(events.some(({ type }) => type === 'finish')).toBe(false);
  }
});

it('leaves signatures out, but for the placeholder of the calls that need one', () => {
  const call = (name: string, more: object = {}) => ({ functionCall: { name, args: {} }, ...more });
  const contents = [
    { role: 'user', parts: [{ text: 'Go.' }] },
    { role: 'model', parts: [{ text: 'Hm.', thoughtSignature: 's' }, call('a'), call('b')] },
    { role: 'model', parts: [call('c', { thoughtSignature: 's' }), call('d', { thought_signature: 's' })] },
  ];
  const sent = JSON.parse(withoutSignatures(JSON.stringify({ contents, brandNew: 1e2 })));
  const thoughtSignature = missingSignature;
  expect(sent).toEqual({
    contents: [
      contents[0],
      { role: 'model', parts: [{ text: 'Hm.' }, call('a', { thoughtSignature }), call('b')] },
      { role: 'model', parts: [call('c', { thoughtSignature }), call('d', { thoughtSignature })] },
    ],
    brandNew: 100,
  });
});

it('passes a whole answer on, and knows one that failed', () => {
  const whole = (text: string) => {
    const { decoder } = opened(false);
    return [...decoder.push(Buffer.from(text)), ...decoder.end()];
  };
  const good = JSON.stringify(
    { candidates: [{ content: { parts: [] }, finishReason: 'MAX_TOKENS' }], usageMetadata },
    null,
    2,
  );
  expect(whole(good)).toEqual([
    { type: 'relayed', text: good },
    { type: 'usage', usage: { inputTokens: 3, outputTokens: 2 } },
    { type: 'finish', reason: 'length' },
  ]);
  expect(whole(JSON.stringify(unavailable))[0]).toMatchObject({ error: { code: 'model_unavailable' } });
  expect(whole('{}')[0]).toMatchObject({ error: { code: 'upstream_protocol' } });
});
