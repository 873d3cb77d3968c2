import { fromBinary, type JsonObject, toBinary, toJson } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { encodeStruct } from './testing/events.ts';
import { decodeStruct } from './tool-calls.ts';

// Through JSON once, which has no negative zero.
const json = fc
  .dictionary(fc.string(), fc.jsonValue())
  .map((object): JsonObject => JSON.parse(JSON.stringify(object)));

it('returns any JSON object as it was, and writes what others read', () => {
  fc.assert(
    fc.property(json, (object) => {
      const bytes = encodeStruct(object);
      expect(JSON.parse(JSON.stringify(decodeStruct(bytes)))).toEqual(object);
      const theirs = fromBinary(StructSchema, bytes);
      if (!JSON.stringify(object).includes('__proto__')) {
        expect(toJson(StructSchema, theirs)).toEqual(object);
        expect(decodeStruct(toBinary(StructSchema, theirs))).toEqual(decodeStruct(bytes));
      }
    }),
  );
});

it('keeps a member named __proto__ a plain member', () => {
  const object = JSON.parse('{"__proto__":{"a":1}}') as Record<string, unknown>;
  expect(JSON.stringify(decodeStruct(encodeStruct(object)))).toBe('{"__proto__":{"a":1}}');
});

it('leaves out what JSON cannot hold', () => {
  expect(JSON.stringify(decodeStruct(encodeStruct({ a: undefined, b: [undefined, 1], c: Number.NaN })))).toBe(
    '{"b":[null,1]}',
  );
});

it('refuses bytes that are no Struct, and one without a bottom', () => {
  expect(() => decodeStruct(Uint8Array.of(0x0a, 0x7f))).toThrow();
  expect(() => decodeStruct(Buffer.from('zz'))).toThrow();
  let deep: Record<string, unknown> = {};
  for (let depth = 0; depth < 1000; depth++) deep = { a: [deep] };
  expect(() => encodeStruct(deep)).toThrow(RangeError);
});
