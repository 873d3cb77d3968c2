import { expect, it } from 'vitest';
import { dayMs, hourMs } from './ledger-turn.ts';
import { mostRows, type UsageQuestion, type UsageSum } from './read-usage.ts';
import { reportUsage, TooManyRows } from './usage-report.ts';
import type { UsageVerbs } from './usage-verbs.ts';

const now = Date.UTC(2026, 10, 26, 12, 30);

/** A ledger with sums since two days ago, that answers so many rows to each question. */
function ledger(rows: number) {
  const questions: UsageQuestion[] = [];
  const verbs = {
    oldestUsage: async () => ({ turn: now - dayMs, sums: now - 2 * dayMs }),
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
