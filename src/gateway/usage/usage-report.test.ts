import { expect, it } from 'vitest';
import { windowAt } from '../limits/windows.ts';
import { dayMs, hourMs } from './ledger-turn.ts';
import {
  mostRows,
  type OldestUsage,
  type UsageQuestion,
  type UsageRange,
  type UsageSum,
} from './read-usage.ts';
import { reportUsage, TooManyRows } from './usage-report.ts';
import type { UsageVerbs } from './usage-verbs.ts';

const now = Date.UTC(2026, 10, 26, 12);

/** A ledger with sums since two days ago, that answers so many rows to each question. */
function ledger(rows: number, oldest: Partial<OldestUsage> = {}) {
  const questions: UsageQuestion[] = [];
  const verbs = {
    oldestUsage: async () => ({ turn: now - dayMs, sums: now - 2 * dayMs, heads: now, ...oldest }),
    sumUsage: async (question: UsageQuestion) => {
      questions.push(question);
      return Array.from({ length: rows }, (_, at): UsageSum => ({ n: 0, model: `model-${at}`, turns: 1 }));
    },
  } as unknown as UsageVerbs;
  const ask = <Answer>(question: (asked: UsageVerbs) => Promise<Answer>) => question(verbs);
  return { database: { ask }, questions };
}

const asked = { to: now, filter: {}, groups: ['model' as const], timeZone: 'Asia/Kolkata' };

it.each(['day', 'hour'] as const)('asks by the %s only for days of which there are sums', async (step) => {
  const { database, questions } = ledger(1);
  const { rows } = await reportUsage(database, { ...asked, from: 0, step }, now);
  expect(rows.length).toBeGreaterThan(0);
  const ranges = questions.flatMap((question) => question.ranges);
  expect(ranges.length).toBeLessThan(20);
  expect(Math.min(...ranges.map(({ from }) => from))).toBe(now - 2 * dayMs);
});

it('lists rows that are alike by name, in whatever order the database has them', async () => {
  const verbs = {
    oldestUsage: async () => ({ turn: now - dayMs, sums: now - dayMs, heads: now }),
    sumUsage: async (): Promise<UsageSum[]> =>
      ['b', 'd', 'a', 'c'].map((model) => ({ n: 0, model, turns: model === 'c' ? 2 : 1 })),
  } as unknown as UsageVerbs;
  const database = { ask: <Answer>(question: (asked: UsageVerbs) => Promise<Answer>) => question(verbs) };
  const { rows } = await reportUsage(database, { ...asked, from: now - hourMs, step: undefined }, now);
  expect(rows.map(({ names }) => names.model)).toEqual(['c', 'a', 'b', 'd']);
});

it('leaves the event loop to others while it adds up many rows, and refuses too many', async () => {
  const lastHour = { ...asked, from: now - hourMs / 4, step: undefined };
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns += 1;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  const { rows } = await reportUsage(ledger(mostRows).database, lastHour, now);
  isDone = true;
  expect(rows).toHaveLength(mostRows);
  expect(turns).toBeGreaterThan(20);
  await expect(reportUsage(ledger(mostRows + 1).database, lastHour, now)).rejects.toThrow(TooManyRows);
});

/** Of all times, also of turns that are gone. */
const sumsAlone = { turn: Number.POSITIVE_INFINITY, sums: 0, heads: 0 };
const minuteMs = 60_000;

/** Which minutes these ranges count, and how often. */
function minutesIn(ranges: readonly UsageRange[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { span, sign, from, to } of ranges)
    for (let at = from; at < (span < 0 ? from - span * minuteMs : to); at += minuteMs) {
      const count = (counts.get(at) ?? 0) + sign;
      if (count === 0) counts.delete(at);
      else counts.set(at, count);
    }
  return counts;
}

it.each([
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'America/St_Johns',
  'Pacific/Chatham',
  'Australia/Lord_Howe',
])('counts each minute of each day in %s once, out of few sums', async (timeZone) => {
  // Over both changes of clocks.
  for (const month of [2, 9]) {
    const from = windowAt('day', Date.UTC(2026, month, 3, 12), timeZone).startsAt;
    const to = windowAt('day', Date.UTC(2026, month + 1, 12, 12), timeZone).startsAt;
    const { database, questions } = ledger(0, sumsAlone);
    await reportUsage(database, { ...asked, from, to, step: 'day', timeZone }, to + dayMs);
    const byDay = Map.groupBy(
      questions.flatMap((question) => question.ranges),
      ({ n }) => n,
    );
    let at = from;
    for (const [, ranges] of [...byDay].toSorted(([one], [other]) => one - other)) {
      const { endsAt } = windowAt('day', at, timeZone);
      const minutes = minutesIn(ranges);
      expect(minutes.size).toBe((endsAt - at) / minuteMs);
      expect(Math.min(...minutes.keys())).toBe(at);
      expect(new Set(minutes.values())).toEqual(new Set([1]));
      const sums = ranges.map(({ span, from: a, to: b }) => (span < 0 ? 1 : (b - a) / (span * hourMs)));
      expect(sums.reduce((sum, count) => sum + count, 0)).toBeLessThan(13);
      at = endsAt;
    }
    expect(at).toBe(to);
    for (const { ranges } of questions)
      for (const { n } of ranges) expect(ranges.filter((one) => one.n === n)).toEqual(byDay.get(n));
  }
});

it('knows where the days of every time zone begin, so that none is read from turns', async () => {
  for (const timeZone of Intl.supportedValuesOf('timeZone'))
    for (const month of [0, 6]) {
      const from = windowAt('day', Date.UTC(2026, month, 3, 12), timeZone).startsAt;
      const { database, questions } = ledger(0, { ...sumsAlone, turn: 0 });
      await reportUsage(database, { ...asked, from, to: from + 2 * dayMs, step: 'day', timeZone }, now);
      for (const { ranges } of questions)
        for (const { span } of ranges) expect([timeZone, span]).not.toEqual([timeZone, 0]);
    }
});

it('reads the days of which an earlier release noted no heads from turns', async () => {
  const from = windowAt('day', now - 5 * dayMs, 'Asia/Kolkata').startsAt;
  const { database, questions } = ledger(0, { turn: 0, sums: 0, heads: from + 2 * dayMs });
  await reportUsage(database, { ...asked, from, to: from + 4 * dayMs, step: 'day' }, now);
  const ranges = questions.flatMap((question) => question.ranges);
  const daysWith = (isOf: (span: number) => boolean) => [
    ...new Set(ranges.filter(({ span }) => isOf(span)).map(({ n }) => n)),
  ];
  expect(daysWith((span) => span === 0)).toEqual([0, 1]);
  expect(daysWith((span) => span < 0)).toEqual([1, 2, 3]);
});
