import { afterEach, expect, it } from 'vitest';
import { createSchemaChecker, SchemaUnusableError } from './schema-checker.ts';
import { createManualClock } from './testing/manual-clock.ts';
import { until } from './testing/turn-fixture.ts';

const clock = createManualClock();
const checker = createSchemaChecker(clock);
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
