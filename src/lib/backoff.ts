/** The wait before another try: `firstMs`, then doubled with each further failure, at most `longestMs`. */
export function backoffMs(furtherFailures: number, firstMs: number, longestMs: number): number {
  return Math.min(longestMs, firstMs * 2 ** Math.min(30, Math.max(0, furtherFailures)));
}

/** Between `least` and `most` times as long, so that many callers do not come at the same moment. */
export function withJitter(ms: number, least: number, most: number, random = Math.random): number {
  return ms * (least + (most - least) * random());
}
