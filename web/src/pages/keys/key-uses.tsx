import type { ShownKey } from '../../../../src/core/shown-key.ts';
import { Bar } from '../../components/bar.tsx';
import { now, relativeTime, shownCents, shownCompact, shownNumber } from '../../format.ts';
import { keysText } from '../../texts/keys.ts';

type KeyUse = ShownKey['uses'][number];

const nearShare = 0.8;

function shareOf({ used, limit }: KeyUse): number {
  return limit > 0 ? used / limit : 1;
}

/** How full the fullest of its budgets is; rates that pass within a minute do not count. */
export function fullest(key: ShownKey): number {
  const budgets = key.uses.filter(({ window }) => window !== 'minute' && window !== 'now');
  return Math.max(0, ...budgets.map(shareOf));
}

export function isNear(key: ShownKey): boolean {
  return key.state === 'active' && fullest(key) >= nearShare;
}

export function KeyUses({ uses }: { readonly uses: readonly KeyUse[] }) {
  const text = keysText();
  if (uses.length === 0) return <span class="quiet">{text.noLimits}</span>;
  return (
    <div class="key-uses">
      {uses.map((use) => (
        <Bar
          key={`${use.meter}/${use.window}`}
          label={useName(use)}
          share={shareOf(use)}
          note={<UseNote use={use} />}
        />
      ))}
    </div>
  );
}

function UseNote({ use }: { readonly use: KeyUse }) {
  const text = keysText();
  const resets = use.resets_at === null ? Number.NaN : Date.parse(use.resets_at);
  const isSoon = use.window === 'minute' || !(resets > now.value);
  return (
    <>
      {text.ofLimit(amount(use.meter, use.used), amount(use.meter, use.limit))}
      {!isSoon && `, ${text.resets(relativeTime(resets))}`}
      {use.unpriced_turns ? `, ${text.unpriced(shownNumber(use.unpriced_turns))}` : ''}
    </>
  );
}

function amount(meter: KeyUse['meter'], value: number): string {
  if (meter === 'cost_cents') return shownCents(value);
  return value >= 100_000 ? shownCompact(value) : shownNumber(value, 2);
}

function useName({ meter, window }: Pick<KeyUse, 'meter' | 'window'>): string {
  const text = keysText();
  const names = {
    requests: text.meterRequests,
    tokens: text.meterTokens,
    cost_cents: text.meterCost,
    credits: text.meterCredits,
    turns: text.meterTurns,
  };
  const windows = {
    minute: text.perMinute,
    day: text.perDay,
    week: text.perWeek,
    month: text.perMonth,
    total: text.inTotal,
    now: '',
  };
  return text.useName(names[meter], windows[window]).trim();
}
