import { createHash, timingSafeEqual } from 'node:crypto';
import { PoolError } from '../../pool-api/errors.ts';
import type { PoolHealth } from '../../pool-api/pool.ts';
import { type Caller, localKeyId } from '../base/basics.ts';

export interface PoolKeys {
  /** Opens everything. Unset: every caller is admin, for then only this machine can call. */
  readonly adminKey?: string | undefined;
  /** May only borrow, return and report. */
  readonly poolApiKey?: string | undefined;
  /** The same, for gateways: with it go the accounts that are lent to gateways only. */
  readonly gatewayKey?: string | undefined;
  /** No one but the owner can connect. */
  readonly isForOwner?: boolean;
  /** Called for every request with keys that are none of these. */
  readonly onWrongKey?: () => void;
}

/** Answers who shows these keys. Throws PoolError `invalid_key`. */
export type Identify = (shown: readonly string[]) => Caller;

export function createIdentify(keys: PoolKeys): Identify {
  const known = (['gateway', 'admin', 'borrower'] as const).flatMap((who) => {
    const key = { gateway: keys.gatewayKey, admin: keys.adminKey, borrower: keys.poolApiKey }[who];
    return key === undefined ? [] : [{ digest: digestOf(key), caller: callerOf(who, digestOf(key)) }];
  });
  const needsKey = keys.adminKey !== undefined;
  return (shown) => {
    // All comparisons always run, and on digests, so that time tells nothing.
    const digests = shown.map(digestOf);
    const matches = known.filter(
      ({ digest }) => digests.filter((one) => timingSafeEqual(one, digest)).length > 0,
    );
    const found = matches[0]?.caller;
    if (found !== undefined && (needsKey || found.isGateway)) return found;
    if (!needsKey) return keys.isForOwner === true ? { ...anyLocal, isOwner: true } : anyLocal;
    if (shown.length > 0) keys.onWrongKey?.();
    throw new PoolError(
      'invalid_key',
      shown.length === 0
        ? 'This pool needs a key: send "Authorization: Bearer <key>".'
        : 'This key is not one of the pool: show ADMIN_KEY, POOL_API_KEY to borrow, or GATEWAY_KEY as a gateway.',
    );
  };
}

export function callerNamed(identify: Identify, shown: readonly string[]): NonNullable<PoolHealth['caller']> {
  try {
    const { role, isGateway } = identify(shown);
    return isGateway ? 'gateway' : role;
  } catch {
    return 'unknown';
  }
}

const anyLocal: Caller = { role: 'admin', keyId: localKeyId, isGateway: false };

function callerOf(who: 'admin' | 'borrower' | 'gateway', digest: Buffer): Caller {
  const keyId = `key_${digest.toString('hex').slice(0, 16)}`;
  if (who === 'admin') return { role: 'admin', keyId, isGateway: false, isOwner: true };
  return { role: 'borrower', keyId, isGateway: who === 'gateway' };
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(`warp2api pool key ${key}`).digest();
}
