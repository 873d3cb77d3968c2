import { PoolError } from './errors.ts';

export interface BlockOptions {
  /** Most accounts held at a time. */
  readonly count: number;
  readonly provider?: string;
  /** Only accounts that may use this upstream model. */
  readonly model?: string;
  /** Turns at a time on each account; default 1. More than 1 needs shared accounts. */
  readonly slots?: number;
  /** Whether nobody else may use the accounts meanwhile; default true for 1 slot, false for more. */
  readonly exclusive?: boolean;
  /** Accounts kept although nothing runs on them; default 0. */
  readonly minimum?: number;
  /** How long an account may lie idle before it goes back, in milliseconds; default 60,000. */
  readonly idleMs?: number;
  /** How long `take` waits for a turn, in milliseconds; default 10,000. */
  readonly waitMs?: number;
  /** Idle seconds after which the pool takes the accounts back from a program that died; default 120. */
  readonly ttl_seconds?: number;
  /** Default: one of its own, which begins with `block:`. */
  readonly session_id?: string;
}

/** Throws PoolError `invalid_request` for options that cannot work. */
export function checkBlockOptions({ count, slots = 1, minimum = 0 }: BlockOptions, exclusive: boolean): void {
  const fault =
    !Number.isInteger(count) || count < 1
      ? (['count', '"count" is the most accounts to hold: 1 or more.'] as const)
      : exclusive && slots > 1
        ? (['slots', '"slots" above 1 needs exclusive: false.'] as const)
        : !Number.isInteger(minimum) || minimum < 0 || minimum > count
          ? (['minimum', '"minimum" is how many accounts to keep: 0 to "count".'] as const)
          : undefined;
  if (fault) throw new PoolError('invalid_request', fault[1], { param: fault[0] });
}
