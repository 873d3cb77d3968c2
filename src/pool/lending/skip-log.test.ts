import { expect, it } from 'vitest';
import { SkipLog } from './waiting-room.ts';

it('keeps the last five skips of an account, the newest first, and one of a caller that is refused again and again', () => {
  const log = new SkipLog();
  for (let number = 0; number < 7; number += 1) {
    log.note(number, `s-${number}`, [{ accountId: 'a', reason: 'leased' }]);
  }
  log.note(7, 's-6', [{ accountId: 'a', reason: 'leased' }]);
  expect(log.of('a').map(({ at, sessionId }) => [at, sessionId])).toEqual([
    [7, 's-6'],
    [5, 's-5'],
    [4, 's-4'],
    [3, 's-3'],
    [2, 's-2'],
  ]);
  expect(log.of('b')).toEqual([]);
});

it('forgets the accounts that were skipped longest ago when there are too many', () => {
  const log = new SkipLog();
  const skip = (number: number) => ({ accountId: `a-${number}`, reason: 'leased' });
  for (let number = 0; number < 10_000; number += 1) log.note(0, 's', [skip(number)]);
  log.note(1, 't', [skip(0), skip(10_000)]);
  expect([log.of('a-0').length, log.of('a-1').length, log.of('a-2').length]).toEqual([2, 0, 1]);
});
