/** What an ID token says of itself. Read for its figures only: nobody trusts it here, so nobody checks its signature. */
export function readClaims(token: string): {
  readonly issuedAt?: number;
  readonly expiresAt?: number;
  readonly email?: string;
} {
  const part = token.split('.')[1];
  if (part === undefined) return {};
  try {
    const claims: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    if (typeof claims !== 'object' || claims === null) return {};
    const { iat, exp, email } = claims as Record<string, unknown>;
    return {
      ...(typeof iat === 'number' && Number.isFinite(iat) ? { issuedAt: iat * 1_000 } : {}),
      ...(typeof exp === 'number' && Number.isFinite(exp) ? { expiresAt: exp * 1_000 } : {}),
      ...(typeof email === 'string' &&
      /^[^\s\p{C}]{1,300}@[^\s\p{C}]{1,300}$/u.test(email) &&
      email.length <= 320
        ? { email }
        : {}),
    };
  } catch {
    return {};
  }
}
