import { expect, it } from 'vitest';
import { shownKeys } from './shown-keys.ts';

it('finds the keys of a request in every usual place, each once', () => {
  const headers = { authorization: 'Bearer Bearer one', 'x-api-key': 'two, one', 'api-key': 'three' };
  expect(shownKeys(headers, '/v1/models?key=four&key=two')).toEqual(['one', 'two', 'three', 'four']);
});

it('takes a few of thousands: each has to be hashed', () => {
  const many = Array.from({ length: 5_000 }, (_, number) => `k${number}`);
  expect(shownKeys({ 'x-api-key': many.join(',') }, `/?key=${many.join('&key=')}`)).toHaveLength(16);
});
