import { expect, it } from 'vitest';
import { CollectedAnswer } from './collected-answer.ts';

function passed(events: string): number {
  const answer = new CollectedAnswer();
  answer.take([{ type: 'relayed', text: events }], false);
  return answer.passedCharacters;
}

it('measures what the model wrote in events that are passed on', () => {
  expect(passed('data: {"choices":[{"delta":{"role":"assistant","content":"Half"}}]}\n\n')).toBe(4);
  expect(passed('data: {"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":"}}\n\n')).toBe(7);
  expect(passed('data: {"type":"ping"}\n\n')).toBe(0);
  const delta =
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Half"}\n\n';
  const done =
    'event: response.output_text.done\ndata: {"type":"response.output_text.done","text":"Half"}\n\n';
  expect(passed(delta + done)).toBe(4);
});

it('measures a huge event', () => {
  const text = 'a \\"quoted\\" word '.repeat(1_000_000);
  expect(passed(`data: {"text":"${text}"}\n\n`)).toBe(text.length);
});

it('measures a long stream to its end', () => {
  const answer = new CollectedAnswer();
  const text = `data: {"text":"${'a'.repeat(50_000)}"}\n\n`;
  for (let count = 0; count < 5; count += 1) answer.take([{ type: 'relayed', text }], false);
  expect(answer.passedCharacters).toBe(250_000);
});
