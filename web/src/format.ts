import { signal } from '@preact/signals';
import { language } from './preferences.ts';
import { locale } from './text.ts';

/** Numbers, times and money as a person reads them in the chosen language. */

/** The present time, a step every second while the page is looked at. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1_000);
document.addEventListener('visibilitychange', () => {
  now.value = Date.now();
});

const formats = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

function numbers(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `n ${locale()} ${JSON.stringify(options)}`;
  const known = formats.get(key) ?? new Intl.NumberFormat(locale(), options);
  formats.set(key, known);
  return known as Intl.NumberFormat;
}

function dates(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `d ${locale()} ${JSON.stringify(options)}`;
  const known = formats.get(key) ?? new Intl.DateTimeFormat(locale(), options);
  formats.set(key, known);
  return known as Intl.DateTimeFormat;
}

export function shownNumber(value: number, digits = 0): string {
  return numbers({ maximumFractionDigits: digits }).format(value);
}

/** 12,345 as 12.3k, millions with a large M; for figures that are looked at, not counted. */
export function shownCompact(value: number): string {
  return numbers({ notation: 'compact', maximumFractionDigits: 1 }).format(value).replace('m', 'M');
}

export function shownPercent(share: number, digits = 0): string {
  return numbers({ style: 'percent', maximumFractionDigits: digits }).format(share);
}

/** Cents of a US dollar; small sums show what they are. */
export function shownCents(cents: number): string {
  const digits = cents !== 0 && Math.abs(cents) < 10 ? 4 : 2;
  return numbers({
    style: 'currency',
    currency: 'USD',
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: 2,
    maximumFractionDigits: digits,
  }).format(cents / 100);
}

/** Of `Intl` the short ones of English are words: 3 mins 20 secs. */
const units = {
  en: ['\u00a0ms', '\u00a0s', '\u00a0min', '\u00a0h', '\u00a0d'],
  zh: ['毫秒', '秒', '分钟', '小时', '天'],
};

/** 950 ms, 1.2 s, 3 min 20 s, 2 h 5 min, 4 d 3 h. */
export function shownDuration(ms: number): string {
  const unit = (value: number, place: number, digits = 0) =>
    shownNumber(value, digits) + units[language.value][place];
  if (ms < 1_000) return unit(Math.round(ms), 0);
  const seconds = ms / 1_000;
  if (seconds < 60) return unit(seconds, 1, seconds < 10 ? 1 : 0);
  /** With what is left of it in the next smaller unit. */
  const parts = (value: number, size: number, place: number) => {
    const rest = Math.floor(value % size);
    const whole = unit(Math.floor(value / size), place);
    return rest === 0 ? whole : `${whole} ${unit(rest, place - 1)}`;
  };
  if (seconds < 3_600) return parts(seconds, 60, 2);
  if (seconds < 86_400) return parts(seconds / 60, 60, 3);
  if (seconds < 30 * 86_400) return parts(seconds / 3_600, 24, 4);
  return unit(seconds / 86_400, 4);
}

/** To the second, in the viewer's zone, which is named. */
export function exactTime(at: number): string {
  return dates({ dateStyle: 'medium', timeStyle: 'long' }).format(at);
}

/** Today as 14:05, else as 3 Mar, 14:05, or with its year. */
export function shortTime(at: number): string {
  const date = new Date(at);
  const today = new Date(now.value);
  const time = { hour: '2-digit', minute: '2-digit' } as const;
  if (date.toDateString() === today.toDateString()) return dates(time).format(at);
  const isThisYear = date.getFullYear() === today.getFullYear();
  return dates({
    ...time,
    day: 'numeric',
    month: 'short',
    ...(isThisYear ? {} : { year: 'numeric' }),
  }).format(at);
}

/** 3 minutes ago, in 2 hours. */
export function relativeTime(at: number): string {
  const key = `r ${locale()}`;
  const format = (formats.get(key) ??
    new Intl.RelativeTimeFormat(locale(), { numeric: 'auto', style: 'short' })) as Intl.RelativeTimeFormat;
  formats.set(key, format);
  const seconds = Math.round((at - now.value) / 1_000);
  const size = Math.abs(seconds);
  if (size < 60) return format.format(seconds, 'second');
  if (size < 3_600) return format.format(Math.round(seconds / 60), 'minute');
  if (size < 86_400) return format.format(Math.round(seconds / 3_600), 'hour');
  return format.format(Math.round(seconds / 86_400), 'day');
}
