import { describe, expect, it } from 'vitest';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { StreamRelay, WholeRelay } from '../shared/relay.ts';
import { ChatTap, readAnswer } from './relay.ts';

const chunk = (delta: object, more: object = {}) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null, ...more }], usage: null })}\n\n`;
const role = chunk({ role: 'assistant', content: '' });
const usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n';
const done = 'data: [DONE]\n\n';
const finish = chunk({}, { finish_reason: 'stop' });

function relay(text: string, hidesUsage: boolean, pieceBytes = text.length * 4, choices = 1): TurnEvent[][] {
  const decoder = new StreamRelay(new ChatTap(choices, hidesUsage));
  const bytes = Buffer.from(text);
  const batches: TurnEvent[][] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    batches.push([...decoder.push(bytes.subarray(at, at + pieceBytes))]);
  }
  batches.push([...decoder.end()]);
  return batches.filter((batch) => batch.length > 0);
}

const textOf = (batches: TurnEvent[][]) =>
  batches
    .flat()
    .map((event) => (event.type === 'relayed' ? event.text : ''))
    .join('');

describe('a relayed stream', () => {
  const whole = `: hello\n\n${role}${chunk({ content: 'Grüße "finish_reason":"x"' })}${chunk({ content: ' 🎈' })}${finish}${usage}${done}`;

  it.each([1, 2, 3, 7, 64, 100_000])('comes out as it went in, in pieces of %i bytes', (pieceBytes) => {
    const batches = relay(whole, false, pieceBytes);
    expect(textOf(batches)).toBe(whole);
    const events = batches.flat();
    expect(events.filter(({ type }) => type === 'usage')).toEqual([
      { type: 'usage', usage: { inputTokens: 3, outputTokens: 2 } },
    ]);
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    expect(events.filter(({ type }) => type === 'finish' || type === 'error')).toHaveLength(1);
  });

  it.each(['', '\n', '\n\n'])('that is an error in plain JSON says what the error says, before %j', (end) => {
    const [last] = relay(
      `: hello\n\n{"error":{"message":"Slow.","type":"rate_limit_error"}}${end}`,
      false,
    ).flat();
    expect(last?.type === 'error' && last.error.code).toBe('upstream_rate_limited');
  });

  it('keeps back the usage that only the gateway asked for', () => {
    expect(textOf(relay(whole, true, 5))).toBe(whole.replace(usage, ''));
  });

  it.each(['\n\n\n', '\r\n\r\n\r\n', '\r\n\r\n\n', '\r\r\n\r\n'])(
    'may have more line ends between its events than it needs: %j',
    (gap) => {
      const spaced = whole.replaceAll('\n\n', gap);
      const events = relay(spaced, false).flat();
      expect(textOf([events]).trimEnd()).toBe(spaced.trimEnd());
      expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
      expect(textOf(relay(spaced, true))).not.toContain('prompt_tokens');
    },
  );

  it('passes nothing on before the first content', () => {
    const decoder = new StreamRelay(new ChatTap(1));
    expect(decoder.push(Buffer.from(`: wait\n\n${role}`))).toEqual([]);
    const first = chunk({ tool_calls: [{ index: 0, id: 'c', function: { name: 'f', arguments: '' } }] });
    expect(decoder.push(Buffer.from(first))).toEqual([
      { type: 'relayed', text: `: wait\n\n${role}${first}` },
    ]);
  });

  it('ends with an error where the upstream says so, or leaves off; half an event is not passed on', () => {
    const said = chunk({ content: 'Half' });
    const late = relay(`${role}${said}data: {"error":{"message":"no","code":429}}\n\n`, false, 1);
    expect(textOf(late)).toBe(role + said);
    expect(late.flat().at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_rate_limited' } });
    const cut = relay(`${role}${said}data: {"choi`, false, 1);
    expect(textOf(cut)).toBe(role + said);
    expect(cut.flat().at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_protocol' } });
    const first = relay('data: {"error":{"message":"Overloaded","type":"server_error"}}\n\n', false).flat();
    expect(first).toMatchObject([{ type: 'error', error: { code: 'upstream_unavailable' } }]);
  });

  it('is whole by its finish reason, and then has the end mark that clients wait for', () => {
    const batches = relay(role + chunk({ content: 'x' }) + finish, false);
    expect(batches.flat().at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    expect(textOf(batches)).toBe(role + chunk({ content: 'x' }) + finish + done);
  });

  it('of several choices is whole when each has ended', () => {
    const other = (more: object) => chunk({ content: 'b' }, { index: 1, ...more });
    const half = role + other({}) + chunk({ content: 'a' }) + finish;
    expect(relay(half, false, 9, 2).flat().at(-1)).toMatchObject({ error: { code: 'upstream_protocol' } });
    const whole = half + chunk({}, { index: 1, finish_reason: 'stop' });
    expect(relay(whole, false, 9, 2).flat().at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    // A server may know of one choice only.
    expect(
      relay(half + done, false, 9, 2)
        .flat()
        .at(-1),
    ).toEqual({ type: 'finish', reason: 'stop' });
  });

  it.each([
    ['without a finish reason', ''],
    ['with one that says it broke', chunk({}, { finish_reason: 'error' })],
    ['with an error that is the chunk itself', 'data: {"object":"error","message":"died","code":500}\n\n'],
  ])('is not whole by its end mark %s', (_name, end) => {
    const events = relay(role + chunk({ content: 'Half' }) + end + done, false, 11).flat();
    expect(events.filter(({ type }) => type === 'error' || type === 'finish')).toMatchObject([
      { type: 'error' },
    ]);
    expect(textOf([events])).toBe(role + chunk({ content: 'Half' }));
  });

  it('takes an event of very many pieces in about the time that its bytes take', async () => {
    const text = 'x'.repeat(8_000_000);
    const whole = role + chunk({ content: text }) + finish + done;
    const seconds = await cpuSecondsOf(() => {
      expect(textOf(relay(whole, false, 1_000)).length).toBe(whole.length);
    });
    // Joined again with each piece, it takes half a minute.
    expect(seconds).toBeLessThan(5);
  });

  it.each([1, 2, 3, 7, 64, 100_000])('leaves out a chunk that is no JSON, in pieces of %i bytes', (size) => {
    const broken = [
      'data: {oops\n\n',
      'data: {"choices":[{"delta":{"content":"Hel\n\n',
      'data: "usage":{ nor this\n\n',
      'event: x\r\ndata: {"id":"a", oops\r\n\r\n',
      'data: null\n\n',
    ];
    const sound = [
      role,
      ': a comment\n\n',
      chunk({ content: 'x' }),
      'data: {\ndata: "choices": []}\n\n',
      'data:{"choices":[]}\r\n\r\n',
      chunk({ content: 'y' }),
      finish,
      done,
    ];
    const text = sound.map((event, index) => (broken[index] ?? '') + event).join('');
    const events = relay(text, false, size).flat();
    expect(textOf([events])).toBe(sound.join(''));
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
  });

  it.each([
    ['}\n\n', 'data: {"id":1}\r\r'],
    ['', 'data: {"id":1}\r\r', 'data: {oops}\n\n'],
    ['', 'data: {"id":1}\r: a comment\n\n'],
    ['', 'data:  {"id":1} \n\n'],
    ['', '', 'data: {"id":1}\rdata: oops}\n\n'],
    ['', '', 'event: x\rdata: oops\ndata: {"id":1}\n\n'],
  ])('reads lines that end in several ways: %j', (start, sound, broken = '') => {
    const begun = role + chunk({ content: 'x' });
    const decoder = new StreamRelay(new ChatTap(1));
    const batches = [begun, start + sound + broken, finish + done].map((text) =>
      decoder.push(Buffer.from(text)),
    );
    expect(textOf(batches.map((batch) => [...batch]))).toBe(begun + start + sound + finish + done);
  });
});

it('a relayed whole answer that is none, or an error, is no answer', () => {
  const of = (text: string) => {
    const decoder = new WholeRelay(readAnswer);
    return [...decoder.push(Buffer.from(text)), ...decoder.end()];
  };
  expect(of('{"error":{"message":"no","type":"insufficient_quota"}}')).toMatchObject([
    { error: { code: 'upstream_quota_exhausted' } },
  ]);
  expect(of('{"id":')).toMatchObject([{ error: { code: 'upstream_protocol' } }]);
  expect(of('{}')).toMatchObject([{ error: { code: 'upstream_protocol' } }]);
  expect(of('{"choices":[{"finish_reason":"error"}]}')).toMatchObject([
    { error: { code: 'upstream_unavailable' } },
  ]);
  expect(of('{"choices":[{"finish_reason":"error","error":{"code":429,"message":"no"}}]}')).toMatchObject([
    { error: { code: 'upstream_rate_limited' } },
  ]);
  expect(of('{"choices":[{"finish_reason":"length"}]}').at(-1)).toEqual({ type: 'finish', reason: 'length' });
});
