import { createHash, timingSafeEqual } from 'node:crypto';
import { PoolError } from '../pool-api/errors.ts';
import type { Caller } from './pool-context.ts';

export interface PoolKeys {
  /** Opens everything. Unset: every caller is admin, for then only this machine can call. */
  readonly adminKey?: string;
  /** May only borrow, return and report. */
  readonly poolApiKey?: string;
}

/** Who a request's `Authorization` header says is calling. Throws PoolError `invalid_key`. */
export function identify(keys: PoolKeys, authorization: string | undefined): Omit<Caller, 'isGateway'> {
  if (keys.adminKey === undefined) return { role: 'admin', keyId: 'local' };
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  if (given === undefined) {
    throw new PoolError('invalid_key', 'This pool needs a key: send "Authorization: Bearer <key>".');
  }
  const digest = digestOf(given);
  // Both comparisons always run, and both on digests, so that time tells nothing.
  const isAdmin = timingSafeEqual(digest, digestOf(keys.adminKey));
  const isBorrower = keys.poolApiKey !== undefined && timingSafeEqual(digest, digestOf(keys.poolApiKey));
  const keyId = `key_${digest.toString('hex').slice(0, 16)}`;
  if (isAdmin) return { role: 'admin', keyId };
  if (isBorrower) return { role: 'borrower', keyId };
  throw new PoolError('invalid_key', 'This key is not one of the pool.');
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(`warp2api pool key ${key}`).digest();
}
