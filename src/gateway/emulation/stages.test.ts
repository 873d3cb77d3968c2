import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { createToolCallLimit } from './stages.ts';

const call = (index: number): TurnEvent[] => [
  { type: 'tool-call-start', index, id: `call-${index}`, name: 'read' },
  { type: 'tool-call-delta', index, arguments: '{}' },
  { type: 'tool-call-end', index },
];
const end: TurnEvent = { type: 'finish', reason: 'tool-calls' };

it('lets one call through where calls do not run side by side, however their pieces are mixed', () => {
  const limit = createToolCallLimit({ toolChoice: { type: 'auto' }, parallelToolCalls: false });
  const [start0, delta0, end0] = call(0) as [TurnEvent, TurnEvent, TurnEvent];
  const [start1, delta1, end1] = call(1) as [TurnEvent, TurnEvent, TurnEvent];
  expect(limit?.apply([start0, start1, delta1])).toEqual([start0]);
  expect(limit?.apply([end1, delta0, end0, end])).toEqual([delta0, end0, end]);
  expect(limit?.hasDropped).toBe(true);
});

it('leaves an answer with one call as it is', () => {
  const limit = createToolCallLimit({ toolChoice: { type: 'required' }, parallelToolCalls: false });
  const events = [...call(0), end];
  expect(limit?.apply(events)).toBe(events);
  expect(limit?.hasDropped).toBe(false);
});

it('makes an error of a call that was forbidden', () => {
  const limit = createToolCallLimit({ toolChoice: { type: 'none' }, parallelToolCalls: true });
  const text: TurnEvent = { type: 'text-delta', text: 'hm' };
  expect(limit?.apply([text, end])).toEqual([text, end]);
  expect(limit?.apply([text, ...call(0), end])).toMatchObject([
    text,
    { type: 'error', error: { code: 'upstream_protocol', failover: 'no', outcome: undefined } },
  ]);
});

it('is not there when an answer may hold any calls', () => {
  expect(createToolCallLimit({ toolChoice: { type: 'auto' }, parallelToolCalls: true })).toBeUndefined();
});
