import { expect, it } from 'vitest';
import { z } from 'zod';
import { firstProblem } from './request.ts';

it.each<[string, z.ZodType, unknown]>([
  ['a: must be a string, not null', z.object({ a: z.string() }), { a: null }],
  ['a: must be an object, not a list', z.object({ a: z.object({}) }), { a: [] }],
  ['a: must be a whole number, not a number', z.object({ a: z.int() }), { a: 1.5 }],
  ['a: is missing (must be a list)', z.object({ a: z.array(z.string()) }), {}],
  ['a: must be "x" or "y"', z.object({ a: z.enum(['x', 'y']) }), { a: 1 }],
  ['a: must be "x", "y" or "z"', z.object({ a: z.enum(['x', 'y', 'z']) }), { a: 'b' }],
  ['a: must have at least 1 characters', z.object({ a: z.string().min(1) }), { a: '' }],
  ['a: must have at most 2 items', z.object({ a: z.array(z.int()).max(2) }), { a: [1, 2, 3] }],
  ['a: must be at most 2', z.object({ a: z.number().max(2) }), { a: 3 }],
  [
    'type: must be "x" or "y", not "z"',
    z.discriminatedUnion('type', [z.object({ type: z.literal('x') }), z.object({ type: z.literal('y') })]),
    { type: 'z' },
  ],
])('%s', (told, schema, value) => {
  const { error } = schema.safeParse(value);
  if (!error) throw new Error('It is valid.');
  const { path, message } = firstProblem(error, value);
  expect(`${path}: ${message}`).toBe(told);
});
