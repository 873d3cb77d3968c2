import type { QuotaAnswer } from '../../core/provider.ts';
import type { StoredQuota } from './store.ts';

/** A provider's answer as the store keeps it. */
export function quotaFrom(answer: QuotaAnswer, now: number): StoredQuota {
  return {
    isUnlimited: answer.isUnlimited,
    limit: answer.limit ?? null,
    used: answer.used ?? null,
    remaining: answer.remaining ?? null,
    resetAt: answer.resetAt?.getTime() ?? null,
    denialReason: answer.denialReason ?? null,
    checkedAt: now,
  };
}
