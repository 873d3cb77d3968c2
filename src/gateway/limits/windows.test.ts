import fc from 'fast-check';
import { expect, it } from 'vitest';
import { windowAt } from './windows.ts';

// The types of the library do not have it yet, and Node 24 has it behind a flag.
const { Temporal } = globalThis as unknown as {
  readonly Temporal: { readonly Instant: { fromEpochMilliseconds(at: number): Instant } };
};
interface Instant {
  toZonedDateTimeISO(timeZone: string): ZonedDateTime;
}
interface ZonedDateTime {
  readonly epochMilliseconds: number;
  startOfDay(): ZonedDateTime;
  toPlainDate(): PlainDate;
}
interface PlainDate {
  toString(): string;
  add(span: { readonly days: number }): PlainDate;
  toZonedDateTime(timeZone: string): ZonedDateTime;
}

const at = (text: string) => Date.parse(text);

it.each([
  // The clocks of Berlin go forward on 2026-03-29 and back on 2026-10-25.
  ['day', 'Europe/Berlin', '2026-03-29T12:00Z', '2026-03-29', '2026-03-28T23:00Z', '2026-03-29T22:00Z'],
  ['day', 'Europe/Berlin', '2026-10-25T12:00Z', '2026-10-25', '2026-10-24T22:00Z', '2026-10-25T23:00Z'],
  ['week', 'Europe/Berlin', '2026-03-29T21:59Z', '2026-03-23', '2026-03-22T23:00Z', '2026-03-29T22:00Z'],
  ['month', 'Europe/Berlin', '2026-10-31T22:59Z', '2026-10-01', '2026-09-30T22:00Z', '2026-10-31T23:00Z'],
  ['month', 'UTC', '2026-12-31T23:59Z', '2026-12-01', '2026-12-01T00:00Z', '2027-01-01T00:00Z'],
  ['month', 'UTC', '2028-02-29T23:59Z', '2028-02-01', '2028-02-01T00:00Z', '2028-03-01T00:00Z'],
  ['week', 'UTC', '2026-11-29T23:59Z', '2026-11-23', '2026-11-23T00:00Z', '2026-11-30T00:00Z'],
  ['day', 'Asia/Kathmandu', '2026-01-01T18:15Z', '2026-01-02', '2026-01-01T18:15Z', '2026-01-02T18:15Z'],
  ['day', 'Pacific/Chatham', '2026-07-01T11:14Z', '2026-07-01', '2026-06-30T11:15Z', '2026-07-01T11:15Z'],
  // A day without midnight, one with two, and one that the zone left out.
  ['day', 'Africa/Cairo', '2026-04-24T12:00Z', '2026-04-24', '2026-04-23T22:00Z', '2026-04-24T21:00Z'],
  ['day', 'America/Havana', '2026-11-01T12:00Z', '2026-11-01', '2026-11-01T04:00Z', '2026-11-02T05:00Z'],
  ['day', 'Pacific/Apia', '2011-12-30T09:59Z', '2011-12-29', '2011-12-29T10:00Z', '2011-12-30T10:00Z'],
  [
    'minute',
    'Asia/Kathmandu',
    '2026-01-01T18:15:59.999Z',
    '2026-01-01T18:15',
    '2026-01-01T18:15Z',
    '2026-01-01T18:16Z',
  ],
] as const)('the %s in %s with %s is %s', (name, timeZone, moment, period, startsAt, endsAt) => {
  expect(windowAt(name, at(moment), timeZone)).toEqual({
    period,
    startsAt: at(startsAt),
    endsAt: at(endsAt),
  });
});

it('a total has one window, for ever', () => {
  expect(windowAt('total', 0, 'UTC')).toEqual(windowAt('total', Date.now(), 'Europe/Berlin'));
});

it('a day begins and ends as the calendar of its zone says, in every zone', () => {
  const zones = Intl.supportedValuesOf('timeZone');
  const times = { min: Date.UTC(2015, 0), max: Date.UTC(2040, 0) };
  fc.assert(
    fc.property(fc.constantFrom(...zones), fc.integer(times), (timeZone, now) => {
      const day = Temporal.Instant.fromEpochMilliseconds(now).toZonedDateTimeISO(timeZone).startOfDay();
      expect(windowAt('day', now, timeZone)).toEqual({
        period: day.toPlainDate().toString(),
        startsAt: day.epochMilliseconds,
        endsAt: day.toPlainDate().add({ days: 1 }).toZonedDateTime(timeZone).startOfDay().epochMilliseconds,
      });
    }),
    { numRuns: 2_000 },
  );
});
