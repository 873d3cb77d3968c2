import type { LimitReading, UpstreamHeaders } from '../../core/protocol.ts';

/** Headers that OpenAI and those who follow it send with every answer. */
const kinds = ['requests', 'tokens'].map((name) => ({
  name,
  limit: `x-ratelimit-limit-${name}`,
  remaining: `x-ratelimit-remaining-${name}`,
  reset: `x-ratelimit-reset-${name}`,
}));

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function readOpenaiLimits(headers: UpstreamHeaders, now: number): readonly LimitReading[] {
  const readings: LimitReading[] = [];
  for (const kind of kinds) {
    const { name } = kind;
    const remaining = amountIn(headers[kind.remaining]);
    if (remaining === undefined) continue;
    const limit = amountIn(headers[kind.limit]);
    const fullAfterMs = durationIn(headers[kind.reset]);
    readings.push({
      name,
      remaining,
      ...(limit !== undefined && { limit }),
      ...(fullAfterMs !== undefined && { resetAt: now + someAfterMs(name, fullAfterMs, limit, remaining) }),
    });
  }
  return readings;
}

/** The header gives the time until the whole limit is available again. It fills steadily: one more request is let in long before. */
function someAfterMs(
  name: string,
  fullAfterMs: number,
  limit: number | undefined,
  remaining: number,
): number {
  const spent = name === 'requests' && limit !== undefined ? Math.max(1, limit - remaining) : 1;
  return Math.ceil(fullAfterMs / spent);
}

function amountIn(value: string | string[] | undefined): number | undefined {
  if (typeof value !== 'string' || !/^\s*\d{1,15}\s*$/.test(value)) return undefined;
  return Number(value);
}

/** `6m0s`, `8.64s`, `120ms`; a plain number is seconds. */
function durationIn(value: string | string[] | undefined): number | undefined {
  if (typeof value !== 'string' || value.length > 40) return undefined;
  const text = value.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount, , unit = ''] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h|d)/g)) {
    sum += Number(amount) * (unitMs[unit] ?? 0);
  }
  return sum;
}
