import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { givenFields, withoutNulls } from './null-fields.ts';

const item = z.strictObject({ id: z.string(), size: z.int().optional() });
const schema = z
  .strictObject({
    label: z.string().nullable().optional(),
    count: z.int().default(1),
    items: z.array(item).optional(),
    filter: z.strictObject({ name: z.string().optional() }).optional(),
    names: z.record(z.string(), z.string()).default({}),
    source: z
      .discriminatedUnion('type', [
        z.strictObject({ type: z.literal('file'), path: z.string().optional() }),
        z.strictObject({ type: z.literal('login'), path: z.string().nullable() }),
      ])
      .optional(),
  })
  .refine(() => true);

describe('withoutNulls', () => {
  it('leaves out fields that may not be null, also in lists, objects and unions', () => {
    const sent = {
      count: null,
      items: [
        { id: 'a', size: null },
        { id: 'b', size: 2 },
      ],
      filter: { name: null },
      source: { type: 'file', path: null },
    };
    const items = [{ id: 'a' }, { id: 'b', size: 2 }];
    expect(withoutNulls(schema, sent)).toEqual({ items, filter: {}, source: { type: 'file' } });
    expect(
      schema.parse(withoutNulls(schema, { items: null, filter: null, source: null, names: null })),
    ).toEqual({
      count: 1,
      names: {},
    });
  });

  it.each([
    ['where the schema takes it', { label: null, source: { type: 'login', path: null } }],
    ['in a field that there is not', { unknown: null, items: [{ id: 'a', unknown: null }] }],
    ['as an item of a list, and as a value of a record', { items: [null], names: { a: null } }],
    ['in the name of a prototype', JSON.parse('{"__proto__": null, "constructor": null}')],
    ['in an object of an unknown kind', { source: { type: 'other', path: null } }],
    ['in what has another shape', { items: { id: null }, filter: [null] }],
  ])('keeps null %s', (_where, sent) => {
    expect(withoutNulls(schema, sent)).toEqual(sent);
  });
});

it('a query has the fields that have a value', () => {
  expect(givenFields({ email: '', limit: '5' })).toEqual({ limit: '5' });
  expect(givenFields(undefined)).toEqual({});
});
