import { expect, it } from 'vitest';
import { headerName } from './http1-reader.ts';

it('gives the same name for a header each time, known or not, and none for what is no name', () => {
  for (const round of [1, 2]) {
    expect([round, headerName('X-Request-Id'), headerName('x-request-id')]).toEqual([
      round,
      'x-request-id',
      'x-request-id',
    ]);
    for (const none of ['', 'a b', 'a:', 'ä', 'a\n']) expect(headerName(none)).toBeUndefined();
  }
  // More than are kept, and one that is too long to be.
  const many = Array.from({ length: 600 }, (_, n) => `X-${n}`);
  for (const name of [...many, ...many, 'X'.repeat(100)]) expect(headerName(name)).toBe(name.toLowerCase());
});
