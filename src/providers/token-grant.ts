import { z } from 'zod';
import type { TokenGrant } from '../core/provider.ts';
import { parseJson } from '../lib/parse-json.ts';

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
  const { email } = readClaims(idToken ?? '');
  const lifetimeMs = lifetimeSeconds === undefined ? lifetimeOf(bearer, now) : lifetimeSeconds * 1_000;
  return {
    bearer,
    lifetimeMs: Math.floor(Math.min(longestLifetimeMs, Math.max(0, lifetimeMs))),
    ...(refreshToken === undefined ? {} : { refreshToken }),
    ...(email === undefined ? {} : { email }),
  };
}

/** Where the token tells both of its times, by them alone: the issuer's clock may be another. */
function lifetimeOf(bearer: string, now: number): number {
  const { iat, exp } = readClaims(bearer);
  if (exp === undefined) return usualLifetimeMs;
  return exp * 1_000 - (iat !== undefined && iat < exp ? iat * 1_000 : now);
}

const seconds = z.number().optional().catch(undefined);
const claims = z.object({
  iat: seconds,
  exp: seconds,
  email: z
    .string()
    .max(320)
    .regex(/^[^\s\p{C}]{1,300}@[^\s\p{C}]{1,300}$/u)
    .optional()
    .catch(undefined),
});

/** What an ID token says of itself. Read for its figures only: nothing depends on its truth, so its signature is not checked. */
function readClaims(token: string): Partial<z.infer<typeof claims>> {
  const part = token.split('.')[1] ?? '';
  return claims.safeParse(parseJson(Buffer.from(part, 'base64url'))).data ?? {};
}
