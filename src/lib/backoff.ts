/** The wait before another try: `firstMs`, then doubled with each further failure, at most `longestMs`. */
export function backoffMs(furtherFailures: number, firstMs: number, longestMs: number): number {
  return Math.min(longestMs, firstMs * 2 ** Math.min(30, Math.max(0, furtherFailures)));
}

/** Between `least` and `most` times as long, so that many callers do not come at the same moment. */
export function withJitter(ms: number, least: number, most: number, random = Math.random): number {
  return ms * (least + (most - least) * random());
}

/** No server means a longer wait than this. Callers apply their own limits. */
const longestMs = 24 * 60 * 60_000;

/**
 * The wait a Retry-After header asks for, in milliseconds and at most a day: a number of seconds, or a date where `now`
 * is given (milliseconds since 1970), measured from the answer's own `date` if it has one. Undefined when it says neither.
 */
export function readRetryAfter(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  now?: number,
): number | undefined {
  const text = textOf(headers['retry-after']);
  if (/^\d+(\.\d+)?$/.test(text)) return Math.min(longestMs, Math.ceil(Number(text) * 1_000));
  // All forms of an HTTP date begin with the day of the week; the parser would take other texts for dates as well.
  if (now === undefined || !/^[a-z]{3,9},? /i.test(text)) return undefined;
  const date = Date.parse(text);
  const answeredAt = Date.parse(textOf(headers['date']));
  const waitMs = date - (Number.isNaN(answeredAt) ? now : answeredAt);
  return Number.isNaN(date) ? undefined : Math.min(longestMs, Math.max(0, waitMs));
}

function textOf(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header[0] : header)?.trim() ?? '';
}
