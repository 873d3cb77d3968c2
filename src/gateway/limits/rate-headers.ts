import type { Dialect } from '../../core/protocol.ts';
import { amountOf, type Slice } from './slices.ts';

/** What vendors say of the rates of a key, in the words of the client's dialect. Google says nothing beside its errors. */
export function rateHeaders(
  slices: readonly Slice[],
  dialect: Dialect,
  now: number,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  if (dialect === 'gemini') return headers;
  for (const slice of slices) {
    const { meter, windowName, window } = slice.counted;
    if (windowName !== 'minute') continue;
    const limit = String(amountOf(meter, slice.limit));
    const left = String(amountOf(meter, Math.max(0, slice.limit - slice.spent - slice.reserved)));
    if (dialect === 'messages') {
      const name = `anthropic-ratelimit-${meter}`;
      headers[`${name}-limit`] = limit;
      headers[`${name}-remaining`] = left;
      headers[`${name}-reset`] = new Date(window.endsAt).toISOString();
    } else {
      headers[`x-ratelimit-limit-${meter}`] = limit;
      headers[`x-ratelimit-remaining-${meter}`] = left;
      headers[`x-ratelimit-reset-${meter}`] = `${Math.max(0, Math.ceil((window.endsAt - now) / 1000))}s`;
    }
  }
  return headers;
}

/** All of their names: what a web page may read. */
export const rateHeaderNames: readonly string[] = ['requests', 'tokens'].flatMap((meter) => [
  ...['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${meter}`),
  ...['limit', 'remaining', 'reset'].map((what) => `anthropic-ratelimit-${meter}-${what}`),
]);
