import { expect, it } from 'vitest';
import { BodyBudget } from './body-budget.ts';

const kib = 1024;
const overloaded = expect.objectContaining({ kind: 'overloaded', retryAfterMs: expect.any(Number) });

it('counts what has come until all who share a body have released it', () => {
  const bodies = new BodyBudget(1000 * kib);
  const body = bodies.begin(100 * kib);
  expect(bodies.heldBytes).toBe(0);
  body.add(60 * kib);
  body.add(40 * kib);
  body.share();
  body.release();
  expect([body.bytes, bodies.heldBytes]).toEqual([100 * kib, 100 * kib]);
  body.release();
  body.release();
  expect(bodies.heldBytes).toBe(0);
  // What still comes of one that nobody wants any more.
  body.add(10 * kib);
  expect(bodies.heldBytes).toBe(0);
});

it('refuses what there is no room for, and lets go of what had come of it', () => {
  const bodies = new BodyBudget(1500 * kib);
  const first = bodies.begin();
  first.add(300 * kib);
  const second = bodies.begin();
  second.add(200 * kib);
  expect(() => second.add(100 * kib)).toThrow(overloaded);
  expect(bodies.heldBytes).toBe(300 * kib);
  expect(() => bodies.begin(300 * kib)).toThrow(overloaded);
  first.release();
  bodies.begin(300 * kib).add(300 * kib);
  expect(bodies.heldBytes).toBe(300 * kib);
});

it('keeps room for smaller bodies beside the largest, and always takes small ones', () => {
  const bodies = new BodyBudget(1000 * kib);
  const held = bodies.begin();
  held.add(200 * kib);
  expect(() => bodies.begin(170 * kib)).toThrow(overloaded);
  for (let count = 0; count < 6; count += 1) bodies.begin().add(75 * kib);
  for (let count = 0; count < 50; count += 1) bodies.begin().add(64 * kib);
  expect(bodies.heldBytes).toBeGreaterThan(1000 * kib);
  expect(() => bodies.begin().add(65 * kib)).toThrow(overloaded);
});

it('holds no place for a body that has not come', () => {
  const bodies = new BodyBudget(1000 * kib);
  const slow = Array.from({ length: 100 }, () => bodies.begin(180 * kib));
  expect(bodies.heldBytes).toBe(0);
  for (const body of slow) body.add(kib);
  bodies.begin(180 * kib).add(170 * kib);
});
