import { expect, test } from 'vitest';
import { createLedger } from './ledger.ts';

test('an account that two sessions hold at a time is found', () => {
  let now = 0;
  const ledger = createLedger(() => now);
  ledger.granted('one', 'acc', 1, 10_000);
  ledger.granted('one', 'acc', 1, 12_000);
  expect(ledger.violations).toEqual([]);
  now = 5_000;
  ledger.granted('two', 'acc', 2, 15_000);
  expect(ledger.violations).toEqual([expect.stringContaining('while one held it')]);
});

test('a lease that was given back or ran out may go to another, with a higher fence only', () => {
  let now = 0;
  const ledger = createLedger(() => now);
  ledger.granted('one', 'acc', 1, 10_000);
  ledger.releasing('one');
  ledger.granted('two', 'acc', 2, 10_000);
  now = 10_000;
  ledger.granted('three', 'acc', 3, 20_000);
  expect(ledger.violations).toEqual([]);
  ledger.releasing('three');
  ledger.granted('four', 'acc', 3, 20_000);
  expect(ledger.violations).toEqual([expect.stringContaining('fence 3 after fence 3')]);
});
