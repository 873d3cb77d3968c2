import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { errorIn } from './failed-answer.ts';
import { classifyNamed } from './openai-failure.ts';
import { PassedAnswerDecoder, TranslatedAnswerDecoder } from './passed-answer.ts';
import { readResponsesUsage, readUsage } from './read-answer.ts';
import { unreadable } from './relay.ts';

function decode(text: string | Buffer, pieceBytes = 7): TurnEvent[] {
  const decoder = new PassedAnswerDecoder(
    (answer) => {
      const error = errorIn(answer);
      return error && classifyNamed(error);
    },
    (figures) => readUsage(figures) ?? readResponsesUsage(figures),
  );
  const bytes = Buffer.from(text as string);
  const events: TurnEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes)
    events.push(...decoder.push(bytes.subarray(at, at + pieceBytes)));
  return [...events, ...decoder.end()];
}

const error = (code: string) => [{ type: 'error', error: expect.objectContaining({ code }) }];

it('holds JSON until it is whole, and reads its figures', () => {
  const large = `{"data":["${'x'.repeat(100_000)}"],"usage":{"prompt_tokens":9,"details":{"a":1}}}\n`;
  expect(decode(large, 999)).toEqual([
    { type: 'passed', bytes: Buffer.from(large) },
    { type: 'usage', usage: { inputTokens: 9, outputTokens: 0 } },
    { type: 'finish', reason: 'stop' },
  ]);
  const image = '{"usage":{"input_tokens":5,"output_tokens":7}}';
  expect(decode(image)[1]).toEqual({ type: 'usage', usage: { inputTokens: 5, outputTokens: 7 } });
});

it('passes on what is no JSON as it comes', () => {
  const sound = Buffer.from([0xff, 0x00, 0x7b, 0x80]);
  expect(decode(sound, 2)).toEqual([
    { type: 'passed', bytes: sound.subarray(0, 2) },
    { type: 'passed', bytes: sound.subarray(2) },
    { type: 'finish', reason: 'stop' },
  ]);
});

it.each([
  ['nothing', '', 'upstream_protocol'],
  ['half an object', '{"data":[', 'upstream_protocol'],
  ['half a large object', `{"data":["${'x'.repeat(100_000)}`, 'upstream_protocol'],
  ['an error', '{"error":{"message":"No.","code":429}}', 'upstream_rate_limited'],
])('takes %s for no answer', (_case, text, code) => {
  expect(decode(text, 999)).toEqual(error(code));
});

it('passes on what was made of an answer of another dialect', () => {
  const usage = { inputTokens: 9, outputTokens: 0 };
  const translated = (text: string) => {
    const decoder = new TranslatedAnswerDecoder(({ said }) =>
      said === 'no' ? unreadable() : { body: { heard: said }, usage },
    );
    for (const letter of Buffer.from(text)) decoder.push(Buffer.of(letter));
    return decoder.end();
  };
  expect(translated('{"said":"Grüße"}')).toEqual([
    { type: 'passed', bytes: Buffer.from('{"heard":"Grüße"}') },
    { type: 'usage', usage },
    { type: 'finish', reason: 'stop' },
  ]);
  for (const text of ['', '[1]', '{"said":"no"}'])
    expect(translated(text)).toEqual(error('upstream_protocol'));
});
