import { expect, it } from 'vitest';
import { grantOf, secondsField } from './tokens.ts';

const now = Date.UTC(2026, 0, 1);
const year = 365 * 24 * 3_600_000;

function tokenOf(claims: object): string {
  return `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
}

it.each([
  ['a lifetime of the answer', { lifetimeSeconds: secondsField({ expires_in: 1e300 }, 'expires_in') }],
  ['a time of the token', { bearer: tokenOf({ exp: 1e300 }) }],
  ['a time of the token from long ago', { bearer: tokenOf({ exp: -1e300 }) }],
  ['a span of the token', { bearer: tokenOf({ iat: -1e300, exp: 1e300 }) }],
])('a grant ends at a time that can be stored and shown, whatever an issuer says: %s', (_name, given) => {
  const { lifetimeMs } = grantOf({
    bearer: 'opaque',
    refreshToken: undefined,
    lifetimeSeconds: undefined,
    idToken: undefined,
    now,
    ...given,
  });
  expect(Number.isSafeInteger(now + lifetimeMs)).toBe(true);
  expect(lifetimeMs).toBeGreaterThanOrEqual(0);
  expect(new Date(now + lifetimeMs).getTime()).toBeLessThanOrEqual(now + 11 * year);
});
