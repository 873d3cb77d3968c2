import type { KeyBudget } from '../keys/client-key.ts';

/** What a limit counts in: `minute` for rates, `now` for what runs at the same time. */
export type WindowName = KeyBudget['window'] | 'minute' | 'now';

/** One window of a limit, between two moments in milliseconds since 1970. */
export interface LimitWindow {
  /** When it begins as the zone's calendar writes it: the same in every process, whatever its clock says. */
  readonly period: string;
  readonly startsAt: number;
  /** Infinity: it never ends. */
  readonly endsAt: number;
}

const minuteMs = 60_000;
const dayMs = 86_400_000;
const endless: LimitWindow = {
  period: 'total',
  startsAt: Number.NEGATIVE_INFINITY,
  endsAt: Number.POSITIVE_INFINITY,
};

/** The window that holds `at`: fixed ones of the calendar, weeks from Monday, in an IANA time zone. */
export function windowAt(name: WindowName, at: number, timeZone: string): LimitWindow {
  if (name === 'total' || name === 'now') return endless;
  if (name === 'minute') {
    const startsAt = Math.floor(at / minuteMs) * minuteMs;
    return { period: new Date(startsAt).toISOString().slice(0, 16), startsAt, endsAt: startsAt + minuteMs };
  }
  const [first, next] = daysOf(name, dayIn(timeZone, at));
  return {
    period: new Date(first).toISOString().slice(0, 10),
    startsAt: startOf(timeZone, first),
    endsAt: startOf(timeZone, next),
  };
}

/** The first day of the window with this day, and the first of the next one. Days are midnights in UTC of the same date. */
function daysOf(name: 'day' | 'week' | 'month', day: number): readonly [first: number, next: number] {
  if (name === 'day') return [day, day + dayMs];
  const date = new Date(day);
  if (name === 'week') {
    const monday = day - ((date.getUTCDay() + 6) % 7) * dayMs;
    return [monday, monday + 7 * dayMs];
  }
  const first = (months: number) => Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1);
  return [first(0), first(1)];
}

function dayIn(timeZone: string, at: number): number {
  return Math.floor((at + offsetIn(timeZone, at)) / dayMs) * dayMs;
}

/** The first moment of a day. Where clocks are changed at midnight, that is not midnight, or the first of two. */
function startOf(timeZone: string, day: number): number {
  const candidates = [day - offsetIn(timeZone, day - dayMs), day - offsetIn(timeZone, day + dayMs)];
  const isFirst = (at: number) => dayIn(timeZone, at) >= day && dayIn(timeZone, at - 1) < day;
  return Math.min(...candidates.filter(isFirst));
}

// Making one takes some 30 microseconds and ten kilobytes. Reading the offset out of a text is ten times as quick as the parts of
// a date.
const formats = new Map<string, Intl.DateTimeFormat>();

function offsetIn(timeZone: string, at: number): number {
  let format = formats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset', year: 'numeric' });
    formats.set(timeZone, format);
  }
  // `2026, GMT+05:30`; some are whole only to the second, and of UTC there may be no figures.
  const [, sign, hours, minutes, seconds = 0] =
    /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(format.format(at)) ?? [];
  const offset = ((Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60 + Number(seconds)) * 1_000;
  return sign === '-' ? -offset : offset;
}
