import { z } from 'zod';
import { refused } from '../../core/errors.ts';
import { isTimeZone } from '../../lib/clock.ts';
import { windowAt } from '../limits/windows.ts';
import { dayMs } from './ledger-turn.ts';

export const periodNames = ['today', 'yesterday', '24h', '7d', '30d', '90d', 'month'] as const;

/** What Node and browsers call the time zone of a machine that names none, and then do not take. */
const unknownZone = 'Etc/Unknown';

export const timeZoneName = z
  .string()
  .max(100)
  .overwrite((name) => (name === unknownZone ? 'UTC' : name))
  .refine(isTimeZone, 'must be the name of a time zone, such as Europe/Berlin');

export interface Period {
  readonly from: number;
  readonly to: number;
}

export interface AskedPeriod {
  readonly period?: (typeof periodNames)[number] | undefined;
  /** A time, or a day in the zone; `to` is not in it. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly tz: string;
}

/** Throws AppError. Without anything given it is today. */
export function periodOf({ period, from, to, tz }: AskedPeriod, now: number): Period {
  if (period !== undefined && (from !== undefined || to !== undefined))
    throw refused('period', 'stands alone: leave it out, or from and to');
  const day = (daysAgo: number) => windowAt('day', startOfDay(now, tz) - daysAgo * dayMs + dayMs / 2, tz);
  if (period !== undefined || from === undefined) {
    const end = to === undefined ? now : timeOf('to', to, tz);
    switch (period) {
      case 'yesterday':
        return { from: day(1).startsAt, to: day(0).startsAt };
      case '24h':
        return { from: now - dayMs, to: now };
      case '7d':
      case '30d':
      case '90d':
        return { from: day(Number.parseInt(period, 10) - 1).startsAt, to: now };
      case 'month':
        return { from: windowAt('month', now, tz).startsAt, to: now };
      default:
        return { from: Math.min(day(0).startsAt, end), to: end };
    }
  }
  const asked = { from: timeOf('from', from, tz), to: to === undefined ? now : timeOf('to', to, tz) };
  if (asked.from >= asked.to) throw refused('from', 'must be before to, and before now');
  return asked;
}

/** As long, and just before it; of a period that begins with a day as many days, the last one as whole as that of the period. */
export function periodBefore({ from, to }: Period, tz: string): Period {
  const length = to - from;
  if (startOfDay(from, tz) !== from) return { from: from - length, to: from };
  const lastDay = startOfDay(Math.max(from, to - 1), tz);
  // Where clocks are changed a day is not as long as others.
  const days = Math.round((lastDay - from) / dayMs) + 1;
  const before = startOfDay(from - days * dayMs + dayMs / 2, tz);
  const isWhole = length > 0 && startOfDay(to, tz) === to;
  return { from: before, to: isWhole ? from : Math.min(from, before + length) };
}

function startOfDay(at: number, tz: string): number {
  return windowAt('day', at, tz).startsAt;
}

function timeOf(name: string, text: string, tz: string): number {
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const at = Date.parse(isDay ? `${text}T12:00:00Z` : text);
  if (Number.isNaN(at) || at < 0 || !(isDay || /(Z|[+-]\d\d:?\d\d)$/i.test(text)))
    throw refused(
      name,
      'must be a day, such as 2026-11-26, or a time with its offset, such as 2026-11-26T10:00:00Z',
    );
  if (!isDay) return at;
  // Noon in UTC is on that day in all zones but those next to the date line.
  const offsets = [0, -dayMs, dayMs];
  const found = offsets
    .map((offset) => windowAt('day', at + offset, tz))
    .find(({ period }) => period === text);
  return (found ?? windowAt('day', at, tz)).startsAt;
}
