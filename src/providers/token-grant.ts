import type { TokenGrant } from '../core/provider.ts';
import { readClaims } from './id-token.ts';

/** Taken where neither the answer nor the token tells: what issuers commonly choose. */
const usualLifetimeMs = 3_600_000;

/** No token lasts longer. Times far beyond it cannot be stored, nor written as a date. */
const longestLifetimeMs = 10 * 365 * 24 * 3_600_000;

/** The first of these fields that holds text fit for a header or a form. */
export function textField(body: Readonly<Record<string, unknown>>, ...names: string[]): string | undefined {
  for (const name of names) {
    const value = body[name];
    if (typeof value === 'string' && /^[\x21-\x7e]{1,16384}$/.test(value)) return value;
  }
  return undefined;
}

/** A span in seconds, as a number or a decimal string. */
export function secondsField(
  body: Readonly<Record<string, unknown>>,
  ...names: string[]
): number | undefined {
  for (const name of names) {
    const value = body[name];
    const seconds =
      typeof value === 'string' && /^\d{1,10}(\.\d{1,9})?$/.test(value.trim()) ? Number(value) : value;
    if (typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0) return seconds;
  }
  return undefined;
}

export function grantOf(parts: {
  readonly bearer: string;
  readonly refreshToken: string | undefined;
  readonly lifetimeSeconds: number | undefined;
  /** Whose claims tell what the answer leaves out. */
  readonly idToken: string | undefined;
  readonly now: number;
}): TokenGrant {
  const { bearer, refreshToken, lifetimeSeconds, idToken, now } = parts;
  const claims = idToken === undefined ? {} : readClaims(idToken);
  const lifetimeMs = lifetimeSeconds === undefined ? lifetimeOf(bearer, now) : lifetimeSeconds * 1_000;
  return {
    bearer,
    lifetimeMs: Math.floor(Math.min(longestLifetimeMs, Math.max(0, lifetimeMs))),
    ...(refreshToken === undefined ? {} : { refreshToken }),
    ...(claims.email === undefined ? {} : { email: claims.email }),
  };
}

/** Where the token tells both of its times, by them alone: the issuer's clock may be another. */
function lifetimeOf(bearer: string, now: number): number {
  const { issuedAt, expiresAt } = readClaims(bearer);
  if (expiresAt === undefined) return usualLifetimeMs;
  return issuedAt !== undefined && issuedAt < expiresAt ? expiresAt - issuedAt : expiresAt - now;
}
