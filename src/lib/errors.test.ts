import { expect, test } from 'vitest';
import { errorCode, errorMessage } from './errors.ts';

test('the code is that of the error, or of the first of several addresses that failed', () => {
  const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  expect(errorCode(refused)).toBe('ECONNREFUSED');
  expect(errorCode(new AggregateError([refused, new Error('other')]))).toBe('ECONNREFUSED');
  expect(errorCode(Object.assign(new Error('numbered'), { code: 7 }))).toBeUndefined();
  expect(errorCode({ code: 'ENOENT' })).toBeUndefined();
});

test('anything that was thrown has a message', () => {
  expect(errorMessage(new Error('why'))).toBe('why');
  expect(errorMessage('why')).toBe('why');
  expect(errorMessage(undefined)).toBe('undefined');
});
