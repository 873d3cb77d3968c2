import type { KeyUse } from '../../core/shown-key.ts';
import type { UsedLimit } from './limit-verbs.ts';
import { type KeyWithLimits, LimitedKey } from './limited-key.ts';
import { amountOf } from './slices.ts';

/** `known` is what this gateway counts for the key, beside what the database has. */
export function usesOf(
  managed: KeyWithLimits,
  known: LimitedKey | undefined,
  rows: readonly UsedLimit[],
  now: number,
): readonly KeyUse[] {
  const key = known ?? new LimitedKey(managed);
  key.configure(managed, now);
  return key.current.map((slice) => {
    const { name, meter, windowName, window } = slice.counted;
    const row = rows.find((one) => one.keyId === managed.keyId && one.name === name);
    const spent = row ? row.spent + slice.unsaid.spent : slice.spent;
    const unknown = row ? row.unknown + slice.unsaid.unknown : slice.unknown;
    const running = slice.reserved + (row?.held ?? 0);
    return {
      meter,
      window: windowName,
      limit: amountOf(meter, slice.limit),
      used: amountOf(meter, meter === 'turns' ? running : spent),
      ...(meter === 'cost_cents' && { unpriced_turns: unknown }),
      resets_at: Number.isFinite(window.endsAt) ? new Date(window.endsAt).toISOString() : null,
    };
  });
}
