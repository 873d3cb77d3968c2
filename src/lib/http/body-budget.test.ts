import { expect, it } from 'vitest';
import { BodyBudget } from './body-budget.ts';

const kib = 1024;
const overloaded = expect.objectContaining({ kind: 'overloaded', retryAfterMs: expect.any(Number) });

it('counts what has come until all who share a body have released it', () => {
  const bodies = new BodyBudget(1800 * kib);
  const body = bodies.begin('a key', 100 * kib);
  expect(bodies.heldBytes).toBe(0);
  body.add(60 * kib);
  body.add(40 * kib);
  body.share();
  body.release();
  expect([body.bytes, bodies.heldBytes]).toEqual([100 * kib, 100 * kib]);
  body.release();
  body.release();
  expect(bodies.heldBytes).toBe(0);
  // What still arrives of a released one.
  body.add(10 * kib);
  expect(bodies.heldBytes).toBe(0);
});

it('refuses what there is no room for, and lets go of what had come of it', () => {
  const bodies = new BodyBudget(2800 * kib);
  const first = bodies.begin('a key');
  first.add(300 * kib);
  const second = bodies.begin('a key');
  second.add(200 * kib);
  expect(() => second.add(100 * kib)).toThrow(overloaded);
  expect(bodies.heldBytes).toBe(300 * kib);
  expect(() => bodies.begin('a key', 300 * kib)).toThrow(overloaded);
  first.release();
  bodies.begin('a key', 300 * kib).add(300 * kib);
  expect(bodies.heldBytes).toBe(300 * kib);
});

it('keeps room for smaller bodies beside the largest, and takes small ones beside any', () => {
  const bodies = new BodyBudget(1800 * kib);
  const held = bodies.begin('a key');
  held.add(200 * kib);
  expect(() => bodies.begin('a key', 180 * kib)).toThrow(overloaded);
  for (let count = 0; count < 6; count += 1) bodies.begin('a key').add(75 * kib);
  for (let count = 0; count < 20; count += 1) bodies.begin('a key').add(64 * kib);
  expect(bodies.heldBytes).toBeGreaterThan(1800 * kib);
  expect(() => bodies.begin('a key').add(65 * kib)).toThrow(overloaded);
});

it.each([
  ['small', 64],
  ['large', 1024],
])('leaves a key room beside all that another key holds of %s bodies', (_size, kibs) => {
  const bodies = new BodyBudget(64 * 1024 * kib);
  const hoard = (): void => {
    for (let count = 0; count < 5000; count += 1) bodies.begin('greedy').add(kibs * kib);
  };
  expect(hoard).toThrow(overloaded);
  expect(bodies.heldBytes).toBeLessThanOrEqual(48 * 1024 * kib);
  const others = Array.from({ length: 6 }, () => {
    const body = bodies.begin('modest', 1024 * kib);
    body.add(1024 * kib);
    return body;
  });
  for (const body of others) body.release();
  expect(hoard).toThrow(overloaded);
  bodies.begin('modest', 1536 * kib).add(1536 * kib);
});

it('takes some small bodies with a key whatever others hold', () => {
  const bodies = new BodyBudget(8 * 1024 * kib);
  const hoard = (key: string) => (): void => {
    for (let count = 0; count < 5000; count += 1) bodies.begin(key).add(64 * kib);
  };
  for (const key of ['one', 'two', 'three']) expect(hoard(key)).toThrow(overloaded);
  for (let count = 0; count < 32; count += 1) bodies.begin('four').add(64 * kib);
});

it('holds no place for a body that has not come', () => {
  const bodies = new BodyBudget(1800 * kib);
  const slow = Array.from({ length: 100 }, () => bodies.begin('a key', 180 * kib));
  expect(bodies.heldBytes).toBe(0);
  for (const body of slow) body.add(kib);
  bodies.begin('a key', 180 * kib).add(170 * kib);
});
