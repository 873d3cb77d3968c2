import { describe, expect, it } from 'vitest';
import type { AppError } from '../../core/errors.ts';
import { decodeAnswer } from './testing/decode.ts';
import { actions, add, createTask, init, mcpCall, output, reasoning, task } from './testing/events.ts';
import { type Field, raw } from './testing/wire.ts';

const said = actions(createTask(task('T')), add('T', output('m1', 'Hello')));

function end(...fields: readonly Field[]) {
  return decodeAnswer([init(), said, raw([3, raw(...fields)])]).events.at(-1);
}

function errorOf(...fields: readonly Field[]): AppError {
  const last = end(...fields);
  if (last?.type !== 'error') throw new Error(`no error, but ${last?.type}`);
  return last.error;
}

const usage: Field = [8, raw([2, 10], [3, 2])];

describe('an end without a reason known here', () => {
  it.each<[string, Field[], string]>([
    ['a message', [[15, raw([1, 'x'])]], 'field 15'],
    ['a number', [[16, 3]], 'field 16'],
    ['two of them beside figures', [usage, [15, raw()], [200, 1]], 'field 15, 200'],
    ['a reason that cannot be read', [[7, Uint8Array.of(0x0a, 0x7f)]], 'field 7'],
  ])('is an error though text came: %s', (_name, fields, field) => {
    const error = errorOf(...fields);
    expect(error).toMatchObject({ code: 'upstream_unavailable', failover: 'once', outcome: undefined });
    expect(String(error.cause)).toContain(field);
  });

  it('is a finish where only figures are new beside a reason', () => {
    expect(end([2, raw()], [15, raw([1, 'x'])], [16, 3])).toEqual({ type: 'finish', reason: 'stop' });
  });

  it('is a finish where it holds nothing but figures, readable or not, and there is an answer', () => {
    const figures: Field[] = [usage, [10, Uint8Array.of(0x0a, 0x7f)], [13, 'x'], [9, 'y']];
    expect(end(...figures)).toEqual({ type: 'finish', reason: 'stop' });
    const thought = actions(createTask(task('T')), add('T', reasoning('r', 'hm')));
    const call = actions(createTask(task('T')), add('T', mcpCall('c', 'id', 'get_time')));
    const bare = raw([3, raw(usage)]);
    expect(decodeAnswer([init(), thought, bare]).events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    expect(decodeAnswer([init(), call, bare]).events.at(-1)).toEqual({
      type: 'finish',
      reason: 'tool-calls',
    });
  });

  it('is an error where there is no answer either', () => {
    const { events, memory } = decodeAnswer([init(), raw([3, raw(usage)])]);
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      error: { code: 'upstream_unavailable', failover: 'once', outcome: undefined },
    });
    expect(memory).toBeUndefined();
  });
});

it('shows the message of the upstream for a spent subscription, on one line', () => {
  const error = errorOf([14, raw([1, 7], [3, 'Your plan has\n ended.\u0007'])]);
  expect(error).toMatchObject({
    code: 'upstream_quota_exhausted',
    outcome: 'quota_exhausted',
    message: 'The account has no credits left. The upstream says: Your plan has ended.',
  });
  expect(errorOf([14, raw()]).message).toBe('The account has no credits left. Look into its plan.');
  expect(errorOf([14, raw([3, 'x'.repeat(5_000)])]).message.length).toBeLessThan(400);
});

it.each([
  ['done', [2, raw([1, 'x'])]],
  ['done with bytes that are no message', [2, Uint8Array.of(0x0a, 0x7f)]],
] as const)('ends well with %s', (_name, field) => {
  expect(end(field)).toEqual({ type: 'finish', reason: 'stop' });
});

it.each([1, 6, 7])('blames no account for reason %i, and tries once more at most', (reason) => {
  const error = errorOf([reason, raw()]);
  expect(error.outcome).toBeUndefined();
  expect(error.failover).toBe('once');
});

it('blames the vendor’s key and not the account’s credential, and remembers nothing of the model', () => {
  const error = errorOf([12, raw([2, 'claude'])]);
  expect(error).toMatchObject({ code: 'upstream_unauthorized', outcome: undefined, failover: 'once' });
  expect(error.isModelRefusedToAccount).toBe(false);
});
