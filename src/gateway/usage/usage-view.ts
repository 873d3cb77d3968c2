import type { UsageFigures, UsageRow, UsageTurn } from '../../core/shown-usage.ts';
import { microsOfCredit, nanosOfDollar } from './ledger-turn.ts';
import type { ListedTurn, TurnPlace } from './read-usage.ts';
import { quantileOf, type ReportRow } from './usage-report.ts';

const nanosOfCent = nanosOfDollar / 100;

/** A row of a report as it is shown. */
export function shownRow({ start, names, keyName, sums }: ReportRow): UsageRow {
  return {
    ...(start === null ? {} : { start }),
    ...names,
    ...(names.key === undefined ? {} : { key_name: keyName }),
    ...shownFigures(sums),
  };
}

export function shownFigures(sums: ReportRow['sums']): UsageFigures {
  const sum = (name: string): number => sums.get(name) ?? 0;
  const turns = sum('turns');
  // What used nothing cost nothing; what used something of which no cost is known cost something unknown.
  const isCostKnown = sum('priced') > 0 || sum('unpriced') + sum('credited') === 0;
  return {
    turns,
    errors: sum('errors'),
    cancelled: sum('cancelled'),
    input_tokens: sum('input_tokens'),
    output_tokens: sum('output_tokens'),
    cached_input_tokens: sum('cached_tokens'),
    cache_write_tokens: sum('cache_write_tokens'),
    reasoning_tokens: sum('reasoning_tokens'),
    cost_cents: isCostKnown ? sum('cost_nanos') / nanosOfCent : null,
    credits: sum('credited') > 0 ? sum('credit_micros') / microsOfCredit : null,
    unpriced_turns: sum('unpriced'),
    estimated_turns: sum('estimated'),
    mean_duration_ms: turns === 0 ? null : Math.round(sum('duration_ms') / turns),
    first_content_p50_ms: quantileOf(sums, 0.5) ?? null,
    first_content_p95_ms: quantileOf(sums, 0.95) ?? null,
  };
}

export function shownTurnOf(turn: ListedTurn): UsageTurn {
  return {
    at: new Date(turn.at).toISOString(),
    request_id: turn.requestId,
    key: turn.keyId,
    key_name: turn.keyName,
    model: turn.model,
    answered_model: turn.answeredModel || null,
    provider: turn.provider || null,
    account: turn.accountId || null,
    dialect: turn.dialect,
    stream: turn.isStream === 1,
    outcome: turn.outcome,
    status: turn.status,
    attempts: turn.attempts,
    input_tokens: turn.inputTokens,
    output_tokens: turn.outputTokens,
    cached_input_tokens: turn.cachedTokens,
    cache_write_tokens: turn.cacheWriteTokens,
    reasoning_tokens: turn.reasoningTokens,
    cost_cents: turn.costNanos === null ? null : turn.costNanos / nanosOfCent,
    credits: turn.creditMicros === null ? null : turn.creditMicros / microsOfCredit,
    is_estimated: turn.isEstimated === 1,
    first_content_ms: turn.firstContentMs,
    duration_ms: turn.durationMs,
    cursor: cursorOf(turn),
  };
}

export function cursorOf({ at, id }: TurnPlace): string {
  return `${at}.${id}`;
}

export function placeOf(cursor: string): TurnPlace {
  const [at = 0, id = 0] = cursor.split('.').map(Number);
  return { at, id };
}
