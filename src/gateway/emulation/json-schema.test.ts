import { Validator } from '@cfworker/json-schema';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { until } from '../testing/turn-fixture.ts';
import { checkableSchema, checkSchema, SchemaChecker, SchemaUnusableError } from './json-schema.ts';

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

const clock = createManualClock();
const checker = new SchemaChecker(clock);
afterEach(() => checker.close());

const faultOf = (schema: Readonly<Record<string, unknown>>, value: unknown, clientId = 'me') =>
  checker.faultOf(schema, JSON.stringify(value), clientId);

const tree = {
  $ref: '#/$defs/node',
  $defs: {
    node: {
      type: 'object',
      properties: { value: { type: 'number' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
      required: ['value'],
      additionalProperties: false,
    },
  },
};

it('follows recursive schemas as deep as a value goes', async () => {
  let value: unknown = { value: 1 };
  for (let level = 0; level < 499; level += 1) value = { value: level, children: [value] };
  expect(await faultOf(tree, value)).toBeUndefined();
  expect(await faultOf(tree, { value: 1, children: [{ value: 'x' }] })).toMatch(/children\/0\/value/);
});

it('says few words about a value with many faults', async () => {
  const fault = await faultOf(
    { items: { type: 'string' } },
    Array.from({ length: 10_000 }, () => 1),
  );
  expect(fault?.length).toBeLessThan(1_000);
});

it('gives up on a check that takes too long, and does the next one', async () => {
  const slow = faultOf({ pattern: '^(a+)+$' }, `${'a'.repeat(60)}!`).catch((error: unknown) => error);
  const next = faultOf(tree, { value: 1 });
  await until(() => clock.waiting === 1);
  await clock.advance(2_000);
  expect(await slow).toBeInstanceOf(SchemaUnusableError);
  expect(await next).toBeUndefined();
});

it('does not give up on a check because the process paused for longer than its limit', async () => {
  let pauses = 0;
  const paused = new SchemaChecker({
    ...clock,
    after(_delayMs, task) {
      pauses += 1;
      // As a timer that is due before the thread has gone on.
      if (pauses === 1) queueMicrotask(task);
      return () => {};
    },
  });
  onTestFinished(() => paused.close());
  expect(await paused.faultOf(tree, JSON.stringify({ value: 1 }), 'me')).toBeUndefined();
  expect(pauses).toBe(2);
});

it("lets a client's check wait for one of another client, and not for all of them", async () => {
  const slow = Array.from({ length: 3 }, () =>
    faultOf({ pattern: '^(a+)+$' }, `${'a'.repeat(60)}!`, 'other').catch((error: unknown) => error),
  );
  const quick = faultOf(tree, { value: 1 });
  await until(() => clock.waiting === 1);
  await clock.advance(2_000);
  expect(await quick).toBeUndefined();
  for (const check of slow.slice(1)) {
    await until(() => clock.waiting === 1);
    await clock.advance(2_000);
    expect(await check).toBeInstanceOf(SchemaUnusableError);
  }
});

it('says so when a schema cannot be followed to its end', async () => {
  await expect(faultOf({ $ref: '#' }, 1)).rejects.toThrow(SchemaUnusableError);
});

it('finds fault with a value nested without end, and leaves nothing behind for the checks after it', async () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  expect(await checker.faultOf({ type: 'array' }, deep, 'me')).toContain('nested deeper');
  expect(clock.waiting).toBe(0);
  expect(await faultOf(tree, { value: 1 })).toBeUndefined();
});
