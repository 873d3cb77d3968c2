import { Validator } from '@cfworker/json-schema';
import { describe, expect, it } from 'vitest';
import { checkableSchema } from './checkable-schema.ts';

const isValid = (schema: object, value: unknown) =>
  new Validator({ ...checkableSchema(schema as Record<string, unknown>).schema }, '2020-12').validate(value)
    .valid;
const uncheckedIn = (schema: object) => checkableSchema(schema as Record<string, unknown>).unchecked;

const foreign = ['(?i)^a$', '\\Aabc\\Z', '(?P<year>\\d{4})', 'a++', '[[:alpha:]]+(?#x)', '\\-', '(?>a)'];

describe('a pattern of another dialect', () => {
  it.each(foreign)('is not checked, and named: %s', (pattern) => {
    const schema = { properties: { a: { type: 'string', pattern }, n: { type: 'number' } }, required: ['a'] };
    expect(uncheckedIn(schema)).toEqual(['pattern']);
    expect(isValid(schema, { a: 'anything', n: 1 })).toBe(true);
    // The rest still is.
    expect(isValid(schema, { a: 5 })).toBe(false);
    expect(isValid(schema, { a: 'x', n: 'one' })).toBe(false);
    expect(isValid(schema, {})).toBe(false);
  });

  it('among properties leaves the others to their patterns', () => {
    const schema = {
      patternProperties: { '\\Aa': {}, '^n': { type: 'number' } },
      additionalProperties: false,
    };
    expect(uncheckedIn(schema)).toEqual(['patternProperties']);
    expect(isValid(schema, { abc: 1, n: 1 })).toBe(true);
    expect(isValid(schema, { n: 'one' })).toBe(false);
  });

  const bad = { type: 'string', pattern: '(?i)^a' };
  it.each([
    ['not', { not: bad }, 'b'],
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    ['if', { if: bad, then: false }, 'b'],
    ['oneOf', { oneOf: [bad, { minLength: 2 }] }, 'bb'],
    ['a reference in not', { not: { $ref: '#/$defs/a' }, $defs: { a: bad } }, 'b'],
    ['maxContains', { contains: bad, maxContains: 1 }, ['a', 'b']],
  ])('refuses no answer by its absence, in %s', (_where, schema, value) => {
    expect(isValid(schema, value)).toBe(true);
  });
});

it('what JavaScript knows is checked as before, and the schema stays itself', () => {
  const schema = { type: 'string', pattern: '^(?<year>\\d{4})$', format: 'date', not: { const: 'x' } };
  expect(checkableSchema(schema)).toEqual({ schema, unchecked: [] });
  expect(checkableSchema(schema).schema).toBe(schema);
});

it('references to other documents, formats and drafts that are not known are named', () => {
  expect(uncheckedIn({ items: { $ref: 'https://elsewhere.test/s.json' } })).toEqual(['$ref']);
  expect(isValid({ type: 'array', items: { $ref: 'https://elsewhere.test/s.json' } }, [1])).toBe(true);
  expect(isValid({ type: 'array', items: { $ref: 'https://elsewhere.test/s.json' } }, 1)).toBe(false);
  expect(uncheckedIn({ properties: { a: { format: 'colour' } } })).toEqual(['format']);
  expect(uncheckedIn({ $schema: 'https://elsewhere.test/draft' })).toEqual(['$schema']);
  for (const draft of [
    'http://json-schema.org/draft-07/schema#',
    'https://json-schema.org/draft/2020-12/schema',
  ])
    expect(uncheckedIn({ $schema: draft })).toEqual([]);
});

it('names like those of keywords are properties', () => {
  expect(uncheckedIn({ properties: { pattern: { type: 'string' }, format: {}, $ref: {} } })).toEqual([]);
});

it('a schema nested deeply is read in one pass', () => {
  let schema: Record<string, unknown> = { pattern: '(?i)x' };
  for (let depth = 0; depth < 200; depth += 1)
    schema = depth % 2 === 0 ? { not: schema } : { oneOf: [schema] };
  expect(uncheckedIn(schema)).toEqual(['pattern']);
});
