import { expect, it } from 'vitest';
import { createManualClock } from '../testing/manual-clock.ts';
import { BufferedStore } from './buffered-store.ts';
import { FairShare } from './open-state-store.ts';

const hour = 60 * 60_000;
const maxBytes = 120_000;

function stores() {
  const memory = new BufferedStore({ clock: createManualClock(), maxBytes });
  return { memory, fair: new FairShare(memory, maxBytes) };
}

it('a flood of one client pushes out its own entries, the first ones first, and none of others', async () => {
  const { memory, fair } = stores();
  for (let count = 0; count < 40; count += 1)
    await fair.put(`mine ${count}`, new Uint8Array(1_000), hour, { clientId: 'me' });
  for (let count = 0; count < 1_000; count += 1)
    await fair.put(`flood ${count}`, new Uint8Array(1_000), hour, { clientId: 'other' });
  for (let count = 0; count < 40; count += 1) expect(await fair.get(`mine ${count}`)).toBeDefined();
  expect(await fair.get('flood 999')).toBeDefined();
  expect(await fair.get('flood 951')).toBeDefined();
  expect(await fair.get('flood 949')).toBeUndefined();
  expect(memory.figures().bytes).toBeLessThanOrEqual(maxBytes);
});

it('counts what was replaced once, and what was claimed not at all', async () => {
  const { fair } = stores();
  await fair.put('first', new Uint8Array(1_000), hour, { clientId: 'me' });
  for (let count = 0; count < 200; count += 1)
    await fair.put('same', new Uint8Array(1_000), hour, { clientId: 'me' });
  for (let count = 0; count < 200; count += 1) {
    await fair.put(`claimed ${count}`, new Uint8Array(1_000), hour, { clientId: 'me' });
    expect(await fair.claim(`claimed ${count}`)).toBeDefined();
  }
  expect(await fair.get('first')).toBeDefined();
  expect(await fair.get('same')).toBeDefined();
});

it('keeps one entry of any size that fits', async () => {
  const { fair } = stores();
  await fair.put('large', new Uint8Array(100_000), hour, { clientId: 'me' });
  expect(await fair.get('large')).toBeDefined();
});

it('remembers a bounded number of entries, however many clients there are, first those of the busiest no longer', async () => {
  const { fair } = stores();
  for (let count = 0; count < 30; count += 1)
    await fair.put(`mine ${count}`, new Uint8Array(1_000), hour, { clientId: 'me' });
  for (let count = 0; count < 50_000; count += 1)
    await fair.put(`entry ${count}`, new Uint8Array(1), hour, { clientId: `client ${count % 100}` });
  expect(fair.remembered).toBe(10_000);
  // Mine still count, so that what I add pushes out my own.
  for (let count = 30; count < 60; count += 1)
    await fair.put(`mine ${count}`, new Uint8Array(1_000), hour, { clientId: 'me' });
  expect(fair.remembered).toBeLessThan(10_000);
});
