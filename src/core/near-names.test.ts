import { expect, it } from 'vitest';
import { unknownFields } from './near-names.ts';

const known = ['provider', 'email', 'api_key', 'refresh_token', 'label'];

it.each([
  ['apikey', 'api_key'],
  ['apiKey', 'api_key'],
  ['API-KEY', 'api_key'],
  ['key', 'api_key'],
  ['refreshToken', 'refresh_token'],
  ['e-mail', 'email'],
  ['mail', 'email'],
  ['provder', 'provider'],
])('names %s, and %s, which is meant', (name, meant) => {
  expect(unknownFields([name], known)).toBe(`"${name}" (did you mean "${meant}"?)`);
});

it('lists the fields where none is like it', () => {
  expect(unknownFields(['password', 'apikey'], known)).toBe(
    '"password", "apikey" (did you mean "api_key"?); the fields are provider, email, api_key, refresh_token, label',
  );
});

it('names a few of many', () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `mail${index % 100}`);
  expect(unknownFields(names, known)).toMatch(/"mail0" .*"mail1" .*"mail2" .* and 4997 others$/);
});

it.each([
  'wk-1.8f2c1d',
  'sk-proj-abcdefghijklmnopqrstuvwxyz',
  'AIzaSyDqWeRtYuIoPaSdFgHjKlZxCvBnM',
  'abcdefghijklmnopqrstuvwxyzabcdef',
  'f9a1c2d3e5b6a79',
  'owner@example.com',
  'a\u001b[2J',
  '',
])('does not show %j, which may be a secret', (name) => {
  const said = unknownFields([name], known);
  expect(said).toContain('one whose name may be a secret');
  if (name !== '') expect(said).not.toContain(name);
});
