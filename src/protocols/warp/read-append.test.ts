import { expect, it } from 'vitest';
import { actions, append, appendReasoning, appendText, finished, message, output } from './testing/events.ts';
import { raw } from './testing/wire.ts';
import { readAppend, type StringAppend } from './wire-message.ts';

const read = (event: Uint8Array) => readAppend(Buffer.from(event));

it('reads an append of text or reasoning, whatever else the message holds', () => {
  expect(read(actions(appendText('T', 'm1', 'ü🌍')))).toEqual({
    taskId: 'T',
    messageId: 'm1',
    isReasoning: false,
    delta: 'ü🌍',
  });
  expect(read(actions(appendReasoning('T', 'r1', 'hm')))).toMatchObject({ isReasoning: true, delta: 'hm' });
  const full = message(
    'm1',
    [3, raw([1, 'x'.repeat(300)])],
    [11, 'T'],
    [13, 'request'],
    [14, raw([1, 5])],
    [40, 'new'],
  );
  expect(read(actions(append('T', full, 'agent_output.text')))?.delta).toHaveLength(300);
});

it.each([
  ['another event', finished()],
  ['two actions', actions(appendText('T', 'm1', 'a'), appendText('T', 'm1', 'b'))],
  ['another path', actions(append('T', output('m1', 'a'), 'agent_output'))],
  ['a path without its value', actions(append('T', output('m1', 'a'), 'agent_reasoning.reasoning'))],
  ['two paths', actions(raw([5, raw([1, output('m', 'a')], [2, raw([1, 'agent_output.text'], [1, 'id'])])]))],
  ['an unknown field beside the message', actions(raw([5, raw([1, output('m', 'a')], [9, 'x'])]))],
  ['nothing', new Uint8Array()],
])('leaves %s to the full decoder', (_name, event) => {
  expect(read(event)).toBeUndefined();
});

it('leaves every cut of an append to the full decoder', () => {
  const event = actions(appendText('task', 'message', 'delta'));
  for (let length = 0; length < event.length; length++)
    expect(read(event.subarray(0, length))).toBeUndefined();
});

it('tells names apart that follow each other, however alike', () => {
  let last: StringAppend | undefined;
  const readNext = (bytes: Buffer) => {
    last = readAppend(bytes, last);
    return last;
  };
  const ids = ['m1', 'm2', 'm2', '', 'm', 'ü1', 'm1', 'task', 'm1'];
  for (const id of ids) {
    const append = readNext(Buffer.from(actions(appendText(`T-${id}`, id, 'x'))));
    expect([append?.taskId, append?.messageId, append?.isReasoning]).toEqual([`T-${id}`, id, false]);
    const reasoning = readNext(Buffer.from(actions(appendReasoning('T', id, 'y'))));
    expect([reasoning?.messageId, reasoning?.isReasoning]).toEqual([id, true]);
  }
});
