import type { LimitReading, UpstreamHeaders } from '../../core/protocol.ts';

/** Headers that OpenAI and those who follow it send with every answer, by limit. */
const openaiLimits = ['requests', 'tokens'].map((name) => ({
  name,
  limit: `x-ratelimit-limit-${name}`,
  remaining: `x-ratelimit-remaining-${name}`,
  reset: `x-ratelimit-reset-${name}`,
}));

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `resetOf`: what the header says of when some of it is left again. */
export function readLimits(
  headers: UpstreamHeaders,
  limits: typeof openaiLimits,
  resetOf: (value: string, reading: LimitReading) => number | undefined,
): LimitReading[] {
  return limits.flatMap(({ name, limit: limitName, remaining: remainingName, reset: resetName }) => {
    const remaining = amountIn(headers[remainingName]);
    if (remaining === undefined) return [];
    const limit = amountIn(headers[limitName]);
    const reading = { name, remaining, ...(limit !== undefined && { limit }) };
    const reset = headers[resetName];
    const resetAt = typeof reset === 'string' ? resetOf(reset, reading) : undefined;
    return [{ ...reading, ...(resetAt !== undefined && { resetAt }) }];
  });
}

export function readOpenaiLimits(headers: UpstreamHeaders, now: number): readonly LimitReading[] {
  return readLimits(headers, openaiLimits, (value, reading) => {
    const fullAfterMs = durationIn(value);
    return fullAfterMs === undefined ? undefined : now + someAfterMs(fullAfterMs, reading);
  });
}

/** The header gives the time until the whole limit is available again. It fills steadily: one more request is let in long before. */
function someAfterMs(fullAfterMs: number, { name, limit, remaining = 0 }: LimitReading): number {
  const spent = name === 'requests' && limit !== undefined ? Math.max(1, limit - remaining) : 1;
  return Math.ceil(fullAfterMs / spent);
}

export function amountIn(value: string | string[] | undefined): number | undefined {
  return typeof value === 'string' && /^\s*\d{1,15}(\.\d{1,15})?\s*$/.test(value) ? Number(value) : undefined;
}

/** `6m0s`, `8.64s`, `120ms`; a plain number is seconds. */
function durationIn(value: string): number | undefined {
  if (value.length > 40) return undefined;
  const text = value.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount, , unit = ''] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h|d)/g)) {
    sum += Number(amount) * (unitMs[unit] ?? 0);
  }
  return sum;
}
