import { expect, it } from 'vitest';
import { AppError } from '../core/errors.ts';
import { checkSchema } from './json-schema.ts';

const good: Record<string, unknown>[] = [
  {},
  { type: 'object', properties: { next: { $ref: '#' } } },
  { $ref: '#/$defs/node', $defs: { node: { properties: { left: { $ref: '#/$defs/node' } } } } },
  { $id: 'https://x.test/s', $ref: '#here', $defs: { a: { $anchor: 'here', type: 'string' } } },
  { properties: { $ref: { type: 'string' }, pattern: { type: 'string' } } },
  { patternProperties: { '^x-': true }, propertyNames: { pattern: '^\\p{L}+$' } },
  { type: ['object', 'null'], additionalProperties: false, items: [{ type: 'integer' }, true], anyOf: [{}] },
  { properties: { type: { enum: [1] }, required: true, enum: {} }, required: ['enum'] },
  { example: { type: 'Point', required: 5 }, default: { enum: 1 }, const: { allOf: 1 } },
  branching(40),
  { items: { $ref: 'https://elsewhere.test/s.json' } },
  { properties: { a: { pattern: '(?i)^a' } }, patternProperties: { '\\Ax': {} } },
  { $schema: 'https://elsewhere.test/draft', properties: { a: { format: 'colour' } } },
];

it.each(good.map((schema) => [schema]))('takes %#', (schema) => {
  expect(() => checkSchema(schema, 'x')).not.toThrow();
});

it.each([
  [{ $ref: '#/nowhere' }, 'leads nowhere'],
  [{ $ref: 7 }, 'its "$ref" is 7'],
  [{ properties: { a: { pattern: 5 } } }, 'its "pattern" is 5'],
  [{ type: 5 }, 'its "type" is 5, and has to be of array'],
  [{ items: { type: ['string', 'STRING'] } }, 'its "type" is'],
  [{ properties: { a: { required: true } } }, 'its "required" is true'],
  [{ required: [1] }, 'its "required" is [1]'],
  [{ anyOf: [{ enum: 5 }] }, 'its "enum" is 5'],
  [{ not: { allOf: {} } }, 'its "allOf" is {}'],
  [{ properties: null }, 'its "properties" is null'],
  [{ items: 5 }, '5 stands where a schema has to be'],
  [{ additionalProperties: null }, 'null stands where a schema has to be'],
  [{ description: 'x'.repeat(300_000) }, 'longer than 256 KB'],
  [nested(20_000), 'nested too deeply'],
  [{ properties: { ['x'.repeat(50_000)]: { properties: many(5_000) } } }, 'too many parts'],
])('refuses %#, by the name of its parameter', (schema, reason) => {
  const check = () => checkSchema(schema as Record<string, unknown>, 'response_format.json_schema.schema');
  expect(check).toThrow(AppError);
  expect(check).toThrow(reason);
});

/** Harmless to read, and 2 to the power of `depth` steps to follow. */
function branching(depth: number): Record<string, unknown> {
  const $defs: Record<string, unknown> = { [`d${depth}`]: { type: 'object' } };
  for (let level = 0; level < depth; level += 1) {
    const next = { $ref: `#/$defs/d${level + 1}` };
    $defs[`d${level}`] = { allOf: [next, next] };
  }
  return { $ref: '#/$defs/d0', $defs };
}

function many(count: number): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, true]));
}

function nested(depth: number): unknown {
  let schema: unknown = {};
  for (let level = 0; level < depth; level += 1) schema = { not: schema };
  return schema;
}
