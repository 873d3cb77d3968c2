import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { CallsInTurn } from './calls-in-turn.ts';

const start = (index: number): TurnEvent => ({
  type: 'tool-call-start',
  index,
  id: `id-${index}`,
  name: 'f',
});
const piece = (index: number, text: string): TurnEvent => ({
  type: 'tool-call-delta',
  index,
  arguments: text,
});
const end = (index: number): TurnEvent => ({ type: 'tool-call-end', index });
const text = (words: string): TurnEvent => ({ type: 'text-delta', text: words });
const finish: TurnEvent = { type: 'finish', reason: 'tool-calls' };

function passed(events: readonly TurnEvent[]): string[] {
  const shown: string[] = [];
  const calls = new CallsInTurn((event) => {
    if (event.type === 'tool-call-start') shown.push(`start ${event.index}`);
    else if (event.type === 'tool-call-delta') shown.push(`${event.index} ${event.arguments}`);
    else if (event.type === 'tool-call-end') shown.push(`end ${event.index}`);
    else shown.push(event.type === 'text-delta' ? event.text : event.type);
  });
  for (const event of events) calls.push(event);
  return shown;
}

it('passes calls that come one after another on as they come', () => {
  const events = [
    text('a'),
    start(0),
    piece(0, '{'),
    piece(0, '}'),
    end(0),
    start(1),
    piece(1, '{}'),
    end(1),
  ];
  expect(passed([...events, finish])).toEqual([
    ...['a', 'start 0', '0 {', '0 }', 'end 0', 'start 1', '1 {}', 'end 1', 'finish'],
  ]);
});

it('lets what comes while a call is open wait until it has ended', () => {
  const events = [
    ...[start(0), start(1), start(2), piece(1, '{"x"'), piece(0, '{'), piece(2, '{}'), text('b')],
    ...[piece(1, ':1}'), end(2), piece(0, '}'), end(0), piece(1, ' '), end(1), finish],
  ];
  expect(passed(events)).toEqual([
    ...['start 0', '0 {', '0 }', 'end 0', 'start 1', '1 {"x":1}', '1  ', 'end 1'],
    ...['start 2', '2 {}', 'end 2', 'b', 'finish'],
  ]);
});

it('passes all that waits on before an answer that was cut ends, and nothing more of one that broke', () => {
  const open = [start(0), piece(0, '{'), start(1), piece(1, '{"a'), text('c')];
  expect(passed([...open, { type: 'finish', reason: 'length' }])).toEqual([
    ...['start 0', '0 {', 'start 1', '1 {"a', 'c', 'finish'],
  ]);
  const error = { type: 'error', error: new Error('broken') } as never;
  expect(passed([...open, error])).toEqual(['start 0', '0 {', 'error']);
});

it('moves no list of what waits for each thing that goes on', ({ onTestFinished }) => {
  const { shift } = Array.prototype;
  onTestFinished(() => {
    Array.prototype.shift = shift;
  });
  Array.prototype.shift = () => {
    throw new Error('moved');
  };
  const waiting = Array.from({ length: 100 }, (_one, at) => text(`${at}`));
  const again = [start(1), piece(1, '{}'), text('c'), end(1)];
  const events = [start(0), ...waiting, end(0), text('b'), ...again, finish];
  expect(passed(events)).toEqual([
    ...['start 0', 'end 0', ...waiting.keys().map(String), 'b', 'start 1', '1 {}', 'end 1', 'c', 'finish'],
  ]);
});
