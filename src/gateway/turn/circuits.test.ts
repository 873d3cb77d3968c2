import { expect, it } from 'vitest';
import type { Route } from '../models/route.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { Circuits } from './upstream-health.ts';

const primary = { provider: { name: 'one' }, model: 'm' } as Route;
const other = { provider: { name: 'one' }, model: 'other' } as Route;

function failing() {
  const clock = createManualClock(0);
  const circuits = new Circuits(clock);
  for (let fault = 0; fault < 3; fault += 1) circuits.failed(primary);
  return { clock, circuits };
}

it('opens after three faults in a row, of that model alone', () => {
  const circuits = new Circuits(createManualClock(0));
  circuits.failed(primary);
  circuits.failed(primary);
  circuits.succeeded(primary);
  circuits.failed(primary);
  circuits.failed(primary);
  expect(circuits.openUntil(primary)).toBeUndefined();
  circuits.failed(primary);
  expect(circuits.openUntil(primary)).toBe(5_000);
  expect(circuits.openUntil(other)).toBeUndefined();
  expect(circuits.open).toEqual(['one/m']);
});

it('lets one turn through now and then, and all of them once that one is being answered', async () => {
  const { clock, circuits } = failing();
  await clock.advance(5_000);
  expect(circuits.openUntil(primary)).toBeUndefined();
  expect(circuits.openUntil(primary)).toBe(10_000);
  circuits.begunToAnswer(primary);
  expect(circuits.openUntil(primary)).toBeUndefined();
  expect(circuits.open).toEqual([]);
  // An answer that is cut is no success.
  circuits.failed(primary);
  expect(circuits.open).toEqual(['one/m']);
});

it('is looked at without taking the place of the turn that is let through', async () => {
  const { clock, circuits } = failing();
  expect(circuits.wouldBeOpenUntil(primary)).toBe(5_000);
  await clock.advance(5_000);
  for (let look = 0; look < 3; look += 1) expect(circuits.wouldBeOpenUntil(primary)).toBeUndefined();
  expect(circuits.openUntil(primary)).toBeUndefined();
  expect(circuits.wouldBeOpenUntil(primary)).toBe(10_000);
});

it('is tried again within 30 seconds, however long it has failed', async () => {
  const { clock, circuits } = failing();
  for (let probe = 0; probe < 20; probe += 1) {
    await clock.advance(25_000);
    expect(circuits.openUntil(primary)).toBeUndefined();
    circuits.failed(primary);
  }
});
