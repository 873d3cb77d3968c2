import { expect, test } from 'vitest';
import { sealBytes, sealText, unsealBytes, unsealText } from './sealed-bytes.ts';

const key = Buffer.alloc(32, 7);
const place = Buffer.from('["acc","refresh_token"]');

test('what is sealed can be opened again, and only with its key and where it belongs', () => {
  const text = sealText(key, 'a secret, schön', place);
  expect(unsealText(key, text, place)).toBe('a secret, schön');
  expect(() => unsealText(key, text, Buffer.from('elsewhere'))).toThrow();
  expect(() => unsealText(Buffer.alloc(32, 8), text, place)).toThrow();
  expect(unsealText(key, text.slice(0, 30), place)).toBeUndefined();

  const bytes = sealBytes(key, Buffer.from('a secret'));
  expect(unsealBytes(key, bytes).toString()).toBe('a secret');
  expect(() => unsealBytes(Buffer.alloc(32, 8), bytes)).toThrow();
  expect(() => unsealBytes(key, bytes.subarray(0, 20))).toThrow('no seal');
});

test('what earlier releases stored can be opened', () => {
  const bytes = Buffer.from('AcgeRd4YH33U9WDCs_gQg4BoYiHLWBcCU5vm2jRZ5fAFJL_UDw', 'base64url');
  expect(unsealBytes(key, bytes).toString()).toBe('a secret');
});
