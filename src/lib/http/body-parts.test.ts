import { expect, it } from 'vitest';
import { BodyParts } from './body-parts.ts';

it('gives back what it was given, few pieces for many small ones', () => {
  const parts = new BodyParts();
  const whole = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));
  let start = 0;
  for (const length of [1, 5_000, 1, 2, 70_000, ...Array<number>(200_000).fill(1), 4_095, 4_096]) {
    parts.add(whole.subarray(start, start + length));
    start += length;
  }
  expect(parts.length).toBe(start);
  const taken = parts.take();
  expect(Buffer.concat(taken).equals(whole.subarray(0, start))).toBe(true);
  expect(taken.length).toBeLessThan(15);
  expect([parts.length, parts.take()]).toEqual([0, []]);
});

it('takes the only piece as it is', () => {
  const parts = new BodyParts();
  const piece = Buffer.from('all');
  parts.add(piece);
  expect(parts.take()[0]).toBe(piece);
});
