import type { StatusAnswer } from '../pool-api/schema.ts';
import { isoTime } from './present.ts';
import type { Stats } from './store/store.ts';

const hourMs = 3_600_000;

/** How long what is left lasts at the rate of the last hour. */
export function forecastFrom(stats: Stats, now: number): StatusAnswer['forecast'] {
  const usable = stats.active + stats.cooldown + stats.exhausted;
  const { credits } = stats.lastHour;
  const isKnown = credits > 0 && usable > stats.unmetered;
  const hours = isKnown ? Math.max(0, stats.remaining) / credits : null;
  return {
    remaining: stats.remaining,
    unmetered_accounts: stats.unmetered,
    spent_last_hour: {
      turns: stats.lastHour.turns,
      input_tokens: stats.lastHour.inputTokens,
      output_tokens: stats.lastHour.outputTokens,
      credits,
      cost_cents: stats.lastHour.costCents,
    },
    lasts_hours: hours === null ? null : Math.round(hours * 100) / 100,
    empty_at: hours === null ? null : timeOrNull(now + hours * hourMs),
  };
}

/** Null beyond what a calendar date can hold. */
function timeOrNull(time: number): string | null {
  return Number.isNaN(new Date(time).getTime()) ? null : isoTime(time);
}
