import { expect, test } from 'vitest';
import { exampleOf } from './example-value.ts';
import type { JsonObject } from './struct.ts';

const object = (properties: JsonObject, required = Object.keys(properties)): JsonObject => ({
  type: 'object',
  properties,
  required,
});

test('arguments take the names, quoted words and numbers of the text in their order', () => {
  const schema = object({
    restaurant: { type: 'string' },
    party_size: { type: 'integer' },
    outdoor: { type: 'boolean' },
    note: { type: 'string' },
  });
  expect(exampleOf(schema, 'Book a table at Chez Nous for 4 people, and say "happy birthday".')).toEqual({
    restaurant: 'Chez Nous',
    party_size: 4,
    outdoor: true,
    note: 'happy birthday',
  });
});

test('where the text has nothing to offer a value is made up that fits', () => {
  const schema = object({
    city: { type: 'string', minLength: 6 },
    code: { type: ['null', 'string'], maxLength: 2 },
    when: { type: 'string', format: 'date' },
    size: { type: 'number', minimum: 5 },
    tags: { type: 'array', items: { type: 'string' }, minItems: 2 },
    unit: { enum: ['celsius', 'fahrenheit'] },
    version: { const: 3 },
    nothing: { type: 'null' },
  });
  expect(exampleOf(schema, 'it is in fahrenheit')).toEqual({
    city: 'city..',
    code: 'co',
    when: '2026-01-31',
    size: 5,
    tags: ['tags', 'tags'],
    unit: 'fahrenheit',
    version: 3,
    nothing: null,
  });
});

test('properties that are not required are left out', () => {
  expect(exampleOf(object({ a: { type: 'string' }, b: { type: 'string' } }, ['b']), '')).toEqual({ b: 'b' });
});

test('references are followed, those in a circle to a depth', () => {
  const node = object({ next: { $ref: '#/$defs/node' } });
  const made = JSON.stringify(exampleOf({ $ref: '#/$defs/node', $defs: { node } }, ''));
  expect(made).toMatch(/^(\{"next":){5,20}null\}+$/);
  expect(exampleOf({ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } }, '')).toBe('text');
});

test('a format nobody knows is none', () => {
  expect(exampleOf(object({ a: { type: 'string', format: 'constructor' } }), '')).toEqual({ a: 'a' });
});
