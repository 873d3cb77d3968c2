import { expect, it } from 'vitest';
import { DatabaseError } from '../db/errors.ts';
import { createTestClock } from './testing.ts';
import { WriteWatch } from './write-watch.ts';

it('a database that cannot be reached is not said to take no changes', () => {
  const writes = new WriteWatch(createTestClock());
  writes.failed(new DatabaseError('database_unreachable', 'no answer'));
  expect(writes.isFailing).toBe(false);
  writes.failed(new DatabaseError('database_unusable', 'the disk is full'));
  expect(writes.isFailing).toBe(true);
});
