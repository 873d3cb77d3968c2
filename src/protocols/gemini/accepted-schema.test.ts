import { expect, it } from 'vitest';
import { acceptedSchema } from './accepted-schema.ts';

it.each([
  [
    'what is taken',
    { type: 'integer', minimum: 1, title: 'n', enum: [1, 2] },
    { type: 'integer', minimum: 1, title: 'n', enum: [1, 2] },
  ],
  [
    'rules that Gemini lacks, which its description states',
    { $schema: 's', type: 'string', pattern: 'a', minLength: 1, format: 'uuid', description: 'A.', not: {} },
    { type: 'string', description: 'A.\n(format: "uuid", pattern: "a", minLength: 1)' },
  ],
  ['known formats', { type: 'string', format: 'date-time' }, { type: 'string', format: 'date-time' }],
  ['constants', { const: 'a' }, { enum: ['a'] }],
  [
    'values that cannot be listed',
    { type: 'boolean', const: true },
    { type: 'boolean', description: '(const: true)' },
  ],
  [
    'values and null',
    { type: ['string', 'null'], enum: ['a', null] },
    { type: ['string', 'null'], enum: ['a'] },
  ],
  [
    'an empty value',
    { type: 'string', enum: ['', 'a'] },
    { type: 'string', description: '(enum: ["","a"])' },
  ],
  [
    'what is required and not described',
    { properties: { a: {} }, required: ['a', 'b'] },
    { properties: { a: {} }, required: ['a'] },
  ],
  ['open borders', { type: 'integer', exclusiveMinimum: 0 }, { type: 'integer', minimum: 1 }],
  ['nullable', { type: 'string', nullable: true }, { type: ['string', 'null'] }],
  [
    'older definitions',
    {
      definitions: { d: { not: {} } },
      properties: { a: { $ref: '#/definitions/d', description: 'x' } },
    },
    { $defs: { d: {} }, properties: { a: { $ref: '#/$defs/d' } } },
  ],
  [
    'a reference in a list of one',
    { allOf: [{ $ref: '#/$defs/d' }], description: 'x' },
    { $ref: '#/$defs/d' },
  ],
  [
    'schemas to be met together',
    {
      type: 'object',
      allOf: [
        { properties: { a: { type: 'string', $comment: 'x' } }, required: ['a'] },
        { properties: { b: {} }, required: ['b'] },
      ],
    },
    { type: 'object', required: ['a', 'b'], properties: { a: { type: 'string' }, b: {} } },
  ],
  [
    'everything within',
    {
      properties: { pattern: { type: 'string', $comment: 'a' } },
      additionalProperties: { not: {} },
      items: { $comment: 'x' },
      anyOf: [{ if: {} }],
      oneOf: [true],
    },
    {
      properties: { pattern: { type: 'string' } },
      additionalProperties: {},
      items: {},
      anyOf: [{}],
      oneOf: [{}],
    },
  ],
  ['tuples of older drafts', { items: [{ type: 'string' }] }, { prefixItems: [{ type: 'string' }] }],
])('%s', (_name, given, expected) => {
  expect(acceptedSchema(given)).toEqual(expected);
});
