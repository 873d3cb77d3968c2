import type { IncomingHttpHeaders } from 'node:http';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log/logger.ts';
import { onceAMinute } from '../log/once-a-minute.ts';

const keyHeaders = ['x-api-key', 'x-goog-api-key', 'api-key'];

/** There are five places for a key, but a header has room for thousands, and each is hashed. */
const mostShown = 16;

/**
 * All keys that a request holds, in any of the usual places. Clients fill some of the places with an empty or invented key,
 * so none of them has precedence.
 */
export function shownKeys(headers: IncomingHttpHeaders, url: string): readonly string[] {
  // Some people write "Bearer" into their client's field for the key.
  const bearer = /^(?:Bearer +)+(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  const given = bearer === undefined ? [] : [bearer];
  for (const name of keyHeaders) {
    const value = headers[name];
    if (value !== undefined) given.push(...String(value).split(','));
  }
  if (url.includes('?')) given.push(...new URLSearchParams(url.slice(url.indexOf('?') + 1)).getAll('key'));
  // Nearly every request.
  if (bearer !== undefined && given.length === 1) return given;
  const shown = given.map((key) => key.trim()).filter((key) => key !== '');
  return shown.length < 2 ? shown : [...new Set(shown)].slice(0, mostShown);
}

/** Logs requests with wrong keys, so that guessing is noticed. */
export function createWrongKeyLog(logger: Logger, clock: Pick<Clock, 'monotonic'>): () => void {
  return onceAMinute(clock, (requests) =>
    logger.warn({ requests }, 'requests with a wrong key were refused'),
  );
}
