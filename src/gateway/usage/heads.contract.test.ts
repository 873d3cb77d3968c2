import { describe, expect, it } from 'vitest';
import type { Queries } from '../../db/database.ts';
import { dayMs, hourMs, type LedgerTurn } from './ledger-turn.ts';
import { sumUsage } from './read-usage.ts';
import { bothDatabases, opened } from './testing/ledger-databases.ts';
import { ledgerTurn } from './testing/ledger-turns.ts';
import { reportUsage } from './usage-report.ts';

const start = Date.UTC(2026, 2, 27);
const now = start + 5 * dayMs;
/** Every five minutes, each with other figures than those around it. */
const turns: LedgerTurn[] = Array.from({ length: (5 * dayMs) / (hourMs / 12) }, (_, at) =>
  ledgerTurn({
    at: start + at * (hourMs / 12),
    requestId: `req-${at}`,
    keyId: `key_${at % 2}`,
    inputTokens: (at * 7_919) % 10_007,
  }),
);
const zones = [
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'America/St_Johns',
  'Pacific/Chatham',
  'Australia/Lord_Howe',
];

function byDay(timeZone: string) {
  const format = new Intl.DateTimeFormat('sv', { timeZone });
  const sums = new Map<string, [turns: number, tokens: number]>();
  for (const { at, keyId, inputTokens } of turns) {
    const place = `${format.format(at)} ${keyId}`;
    const [count, tokens] = sums.get(place) ?? [0, 0];
    sums.set(place, [count + 1, tokens + (inputTokens ?? 0)]);
  }
  return sums;
}

describe.each(bothDatabases)('days that begin within an hour, in %s', (_name, open) => {
  async function noted() {
    const { db, verbs, database } = await opened(open);
    for (let at = 0; at < turns.length; at += 480)
      await verbs.noteTurns({ id: `${at}`, turns: turns.slice(at, at + 480) });
    const report = async (timeZone: string) => {
      const asked = { from: start, to: now, filter: {}, groups: ['key'] as const, timeZone };
      const { rows } = await reportUsage(database, { ...asked, step: 'day' }, now);
      return new Map(
        rows.map(({ start: day, names, sums }) => [
          `${day} ${names.key}`,
          [sums.get('turns'), sums.get('input_tokens')],
        ]),
      );
    };
    return { db, report };
  }

  it('are right without the turns', async () => {
    const { db, report } = await noted();
    await db.writing.run('DELETE FROM usage_turns');
    for (const zone of zones) {
      const found = await report(zone);
      // The first two end before heads of hours can be relied on.
      const [first, second, ...later] = Map.groupBy(byDay(zone), ([place]) => place.slice(0, 10)).values();
      expect([first, second].every(Boolean)).toBe(true);
      expect(later.length).toBeGreaterThan(2);
      for (const day of later.slice(1))
        for (const [place, sums] of day) expect(found.get(place)).toEqual(sums);
    }
  });

  it('are read by the key of their sums, and other parts of hours by the time of their turns', async () => {
    const { db } = await opened(open);
    const explain = open === bothDatabases[0][1] ? 'EXPLAIN QUERY PLAN' : 'EXPLAIN';
    const plans: string[] = [];
    const explained: Queries = {
      ...db.reading,
      all: async (sql, ...values) => {
        plans.push(JSON.stringify(await db.reading.all(`${explain} ${sql}`, ...values)));
        return [];
      },
    };
    const range = { n: 0, from: start, to: start + hourMs };
    const question = {
      filter: { key: 'key_1' },
      groups: ['account' as const],
      byHour: false,
      hasTimes: false,
    };
    await sumUsage(explained, { ...question, ranges: [{ ...range, span: -30, sign: -1 }] });
    await sumUsage(explained, { ...question, ranges: [{ ...range, span: 0, sign: 1 }] });
    expect(plans[0]).toMatch(/series_id\W.*\bspan\W.*\bstart\W.*\bstart\W/);
    expect(plans[1]).toMatch(/usage_turns_by_time.*\bat\W.*\bat\W/);
    for (const plan of plans) expect(plan).not.toMatch(/SCAN [st]\b|Seq Scan|\bSort/);
  });

  it('are right while a gateway of the release before notes turns, too', async () => {
    const { db, report } = await noted();
    const heads = await db.reading.get<{ first: number }>(
      'SELECT MIN(start) AS first FROM usage_sums WHERE span < 0',
    );
    const first = heads?.first ?? 0;
    await db.writing.run(
      'DELETE FROM usage_sums WHERE span < 0 AND start > $1 AND start < $2',
      first,
      first + 23,
    );
    for (const zone of zones) expect(await report(zone)).toEqual(byDay(zone));
  });
});
