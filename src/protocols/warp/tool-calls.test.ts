import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { decodeAnswer } from './testing/decode.ts';
import { actions, add, createTask, finished, init, mcpCall, task } from './testing/events.ts';

function startsOf(...messages: readonly Uint8Array[]): readonly TurnEvent[] {
  const { events } = decodeAnswer([
    init(),
    actions(createTask(task('T')), add('T', ...messages)),
    finished(),
  ]);
  return events.filter(({ type }) => type === 'tool-call-start');
}

it('gives every call a unique id, also where the upstream repeats one', () => {
  const starts = startsOf(
    mcpCall('m1', 'same', 'get_time'),
    mcpCall('m2', 'same', 'get_time'),
    mcpCall('m3', '', 'get_time'),
  );
  const ids = starts.map((start) => start.type === 'tool-call-start' && start.id);
  expect(ids[0]).toBe('same');
  expect(new Set(ids).size).toBe(3);
});

it('names a call that has no name, so that clients can send it back', () => {
  expect(startsOf(mcpCall('m1', 'c1', ''))).toMatchObject([{ id: 'c1', name: 'unnamed_tool' }]);
});
