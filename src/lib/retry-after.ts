/** No server means a longer wait than this. Callers apply their own limits. */
const longestMs = 24 * 60 * 60_000;

/**
 * The wait a Retry-After header asks for, in milliseconds and at most a day: a number of seconds, or a date where `now`
 * is given (milliseconds since 1970). Undefined when it says neither.
 */
export function readRetryAfter(header: string | string[] | undefined, now?: number): number | undefined {
  const text = (Array.isArray(header) ? header[0] : header)?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return Math.min(longestMs, Math.ceil(Number(text) * 1_000));
  // All forms of an HTTP date begin with the day of the week; the parser would take other texts for dates as well.
  if (now === undefined || !/^[a-z]{3,9},? /i.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.min(longestMs, Math.max(0, date - now));
}
