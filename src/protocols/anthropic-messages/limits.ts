import type { LimitReading, UpstreamHeaders } from '../../core/protocol.ts';
import { amountIn, readLimits } from '../shared/openai-limits.ts';

const prefix = 'anthropic-ratelimit-';
/** Of the models of one family. */
const kinds = ['requests', 'tokens', 'input-tokens', 'output-tokens'].map((kind) => ({
  name: kind.replace('-', '_'),
  limit: `${prefix}${kind}-limit`,
  remaining: `${prefix}${kind}-remaining`,
  reset: `${prefix}${kind}-reset`,
}));
/** Of the whole account, where its plan has them. */
const windows = ['5h', '7d'].map((name) => ({
  name,
  utilization: `${prefix}unified-${name}-utilization`,
  status: `${prefix}unified-${name}-status`,
  reset: `${prefix}unified-${name}-reset`,
}));

/** Headers that Anthropic sends with every answer. Source: its documentation, "Rate limits". */
export function readMessagesLimits(headers: UpstreamHeaders): readonly LimitReading[] {
  const readings = readLimits(headers, kinds, timeIn);
  for (const window of windows) {
    const used = amountIn(headers[window.utilization]);
    if (used === undefined) continue;
    const resetAt = timeIn(headers[window.reset]);
    readings.push({
      name: window.name,
      usedPercent: used * 100,
      isOfAccount: true,
      ...(resetAt !== undefined && { resetAt }),
    });
  }
  return readings;
}

/** How long to wait for the last of the windows that are used up, in milliseconds; undefined where none is. */
export function spentUntil(headers: UpstreamHeaders, now: number): number | undefined {
  const resets = windows
    .filter(({ status }) => headers[status] === 'rejected')
    .flatMap(({ reset }) => timeIn(headers[reset]) ?? []);
  return resets.length === 0 ? undefined : Math.max(0, Math.max(...resets) - now);
}

/** Models of one family share their limits: `opus`. */
export function messagesLimitFamily(model: string): string {
  return /claude-(?:\d[\d.-]*)?(opus|sonnet|haiku|fable|mythos)/.exec(model)?.[1] ?? model;
}

/** RFC 3339, or Unix seconds. */
function timeIn(value: string | string[] | undefined): number | undefined {
  if (typeof value !== 'string') return undefined;
  const seconds = amountIn(value);
  const time = seconds === undefined ? Date.parse(value) : seconds * 1_000;
  return Number.isNaN(time) ? undefined : time;
}
