import { createHash, timingSafeEqual } from 'node:crypto';
import { PoolError } from '../pool-api/errors.ts';
import type { Caller } from './pool-context.ts';

export interface PoolKeys {
  /** Opens everything. Unset: every caller is admin, for then only this machine can call. */
  readonly adminKey?: string;
  /** May only borrow, return and report. */
  readonly poolApiKey?: string;
}

/** Who shows these keys. Throws PoolError `invalid_key`. */
export function identify(keys: PoolKeys, shown: readonly string[]): Omit<Caller, 'isGateway'> {
  if (keys.adminKey === undefined) return { role: 'admin', keyId: 'local' };
  const admin = digestOf(keys.adminKey);
  const borrower = keys.poolApiKey === undefined ? undefined : digestOf(keys.poolApiKey);
  // All comparisons always run, and on digests, so that time tells nothing.
  const digests = shown.map(digestOf);
  const admins = digests.filter((digest) => timingSafeEqual(digest, admin));
  const borrowers = digests.filter((digest) => borrower !== undefined && timingSafeEqual(digest, borrower));
  if (admins[0]) return { role: 'admin', keyId: keyIdOf(admins[0]) };
  if (borrowers[0]) return { role: 'borrower', keyId: keyIdOf(borrowers[0]) };
  throw new PoolError(
    'invalid_key',
    shown.length === 0
      ? 'This pool needs a key: send "Authorization: Bearer <key>".'
      : 'This key is not one of the pool: show ADMIN_KEY, or POOL_API_KEY to borrow.',
  );
}

function keyIdOf(digest: Buffer): string {
  return `key_${digest.toString('hex').slice(0, 16)}`;
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(`warp2api pool key ${key}`).digest();
}
