import { randomUUID } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { migratePostgres } from '../../db/migrate.ts';
import { openPostgres, type Postgres } from '../../db/postgres.ts';
import { newDatabase } from '../../db/testing/shared-postgres.ts';
import { gatewayMigrations } from '../database/gateway-verbs.ts';
import { keyVerbs } from '../keys/key-verbs.ts';
import { type Dimension, dayMs, figures, hourMs, type LedgerTurn, latestFace } from './ledger-turn.ts';
import type { UsageFilter, UsageName } from './read-usage.ts';
import { bothDatabases, opened } from './testing/ledger-databases.ts';
import { ledgerTurn, openUsage } from './testing/ledger-turns.ts';
import { reportUsage } from './usage-report.ts';
import { type UsageVerbs, usageVerbs } from './usage-verbs.ts';

const start = Date.UTC(2026, 2, 27);
const now = start + 4 * dayMs;

let seed = 1;
function random(below: number): number {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed % below;
}

/** Of all kinds, over four days with a change of clocks in Europe. */
function someTurns(count: number): LedgerTurn[] {
  return Array.from({ length: count }, (_, index) => {
    const outcome = ['success', 'success', 'success', 'cancelled', 'key_rate_limited'][random(5)] ?? '';
    const isUsed = outcome !== 'key_rate_limited';
    return ledgerTurn({
      at: start + random(4 * dayMs),
      requestId: `req-${index}`,
      keyId: `key_${random(3)}`,
      model: `model-${random(3)}`,
      provider: isUsed ? `provider-${random(2)}` : null,
      accountId: isUsed ? `acc_${random(4)}` : null,
      dialect: random(2) === 0 ? 'chat' : 'messages',
      outcome,
      inputTokens: isUsed ? random(10_000) : null,
      outputTokens: isUsed ? random(1_000) : null,
      costNanos: isUsed && random(4) > 0 ? random(1_000_000) : null,
      creditMicros: random(9) === 0 ? random(5_000_000) : null,
      isEstimated: random(7) === 0,
      firstContentMs: isUsed ? random(40_000) : null,
      durationMs: random(60_000),
    });
  });
}

/** What a report should say, by the turns alone. */
function sumsOf(turns: readonly LedgerTurn[]): Record<string, number> {
  return Object.fromEntries(
    figures.map(({ name, of }) => [name, turns.reduce((sum, turn) => sum + of(turn), 0)]),
  );
}

describe.each(bothDatabases)('the ledger in %s', (_name, open) => {
  it('sums up the same from days, hours and turns, for every zone, group and filter', async () => {
    const { verbs, database } = await opened(open);
    const turns = someTurns(1_500);
    for (let at = 0; at < turns.length; at += 300)
      await verbs.noteTurns({ id: randomUUID(), turns: turns.slice(at, at + 300) });
    const dayIn = (at: number, timeZone: string) => new Intl.DateTimeFormat('sv', { timeZone }).format(at);
    const periods = [
      [start, now],
      [start + 5 * hourMs + 17 * 60_000, now - 7 * hourMs - 1],
      [start + dayMs + 60_000, start + dayMs + 120_000],
    ] as const;
    const groupings: Dimension[][] = [['key'], ['model', 'outcome']];
    for (const [from, to] of periods)
      for (const timeZone of ['Europe/Berlin', 'Asia/Kolkata'])
        for (const groups of groupings)
          for (const filter of [{}, { provider: 'provider-1' }, { outcome: 'error', key: 'key_2' }]) {
            const asked = { from, to, filter, groups, step: 'day' as const, timeZone };
            const { rows, total } = await reportUsage(database, asked, now);
            const fitting = turns.filter(
              (turn) =>
                turn.at >= from &&
                turn.at < to &&
                (!('provider' in filter) || turn.provider === filter.provider) &&
                (!('key' in filter) || (turn.keyId === filter.key && turn.outcome === 'key_rate_limited')),
            );
            const expected = Map.groupBy(fitting, (turn) =>
              JSON.stringify([dayIn(turn.at, timeZone), ...groups.map((name) => dimensionOf(turn, name))]),
            );
            const found = new Map(
              rows.map(({ start: day, names, sums }) => [
                JSON.stringify([day, ...groups.map((name) => names[name])]),
                Object.fromEntries(sums),
              ]),
            );
            expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
            for (const [place, some] of expected) expect(sumsOf(some)).toMatchObject(found.get(place) ?? {});
            expect(total.get('turns') ?? 0).toBe(fitting.length);
          }
  });

  it('sums up by hour, over an hour boundary, with a histogram of first contents', async () => {
    const { verbs, database } = await opened(open);
    const times = [0, hourMs - 1, hourMs, hourMs + 1, 2 * hourMs];
    await verbs.noteTurns({ id: 'a', turns: times.map((ms) => ledgerTurn({ at: start + ms })) });
    const asked = {
      from: start,
      to: start + 3 * hourMs,
      filter: {},
      groups: [],
      step: 'hour' as const,
      timeZone: 'UTC',
    };
    const { rows } = await reportUsage(database, asked, now);
    expect(rows.map((row) => [row.start, row.sums.get('turns'), row.sums.get('first_4')])).toEqual([
      ['2026-03-27T00:00:00.000Z', 2, 2],
      ['2026-03-27T01:00:00.000Z', 2, 2],
      ['2026-03-27T02:00:00.000Z', 1, 1],
    ]);
  });

  it('counts a batch once however often it is sent, and loses no cent over many small turns', async () => {
    const { verbs, database } = await opened(open);
    const turns = Array.from({ length: 500 }, () => ledgerTurn({ at: start, costNanos: 333_333 }));
    await Promise.all(Array.from({ length: 4 }, () => verbs.noteTurns({ id: 'same', turns })));
    await verbs.noteTurns({ id: 'same', turns });
    const { total } = await reportUsage(
      database,
      { from: start, to: now, filter: {}, groups: [], step: undefined, timeZone: 'UTC' },
      now,
    );
    expect([total.get('turns'), total.get('cost_nanos')]).toEqual([500, 500 * 333_333]);
    const { turns: listed } = await verbs.listTurns({
      filter: {},
      from: 0,
      before: { at: now, id: 0 },
      limit: 1_000,
    });
    expect(listed).toHaveLength(500);
  });

  it('rolls a batch back as a whole', async () => {
    const { db, verbs } = await opened(open);
    const broken = { ...ledgerTurn(), durationMs: null as unknown as number };
    await expect(verbs.noteTurns({ id: 'a', turns: [ledgerTurn(), broken] })).rejects.toThrow();
    for (const table of ['batches', 'series', 'sums', 'turns', 'sizes'])
      expect(await db.reading.get(`SELECT 1 FROM usage_${table} LIMIT 1`)).toBeUndefined();
    await verbs.noteTurns({ id: 'a', turns: [ledgerTurn()] });
    expect(await db.reading.all('SELECT 1 FROM usage_turns')).toHaveLength(1);
  });

  it('lists turns by time with a cursor that misses and repeats none, also while old ones are removed', async () => {
    const { verbs } = await opened(open);
    const turns = someTurns(700);
    await verbs.noteTurns({ id: 'a', turns });
    const keptMs = 2 * dayMs;
    const seen: string[] = [];
    let before: { at: number; id: number } | null = { at: now, id: 0 };
    while (before) {
      const page: Awaited<ReturnType<typeof verbs.listTurns>> = await verbs.listTurns({
        filter: { key: 'key_1' },
        from: start,
        before,
        limit: 20,
      });
      seen.push(...page.turns.map(({ requestId }) => requestId));
      before = page.next;
      await verbs.pruneUsage(now, { keptMs, maxBytes: 1e12 });
    }
    const fitting = turns.filter(({ keyId, at }) => keyId === 'key_1' && at >= now - keptMs);
    expect(seen).toEqual(
      fitting.toSorted((one, other) => other.at - one.at).map(({ requestId }) => requestId),
    );
    expect(new Set(seen).size).toBe(seen.length);
  });

  it('knows a key by the name that it has now, whatever it was called when its turns ran', async () => {
    const { db, verbs, database } = await opened(open);
    const key = {
      keyId: 'key_1',
      name: 'old',
      owner: null,
      prefix: '',
      digest: 'd',
      clientId: 'c',
      createdAt: 0,
    };
    const may = { models: null, providers: null, labels: null, limits: { budgets: [] }, expiresAt: null };
    await keyVerbs(db).createKey({ ...key, ...may, isEnabled: true });
    await verbs.noteTurns({ id: 'a', turns: [ledgerTurn({ at: start, keyName: 'old', model: 'a' })] });
    await keyVerbs(db).changeKey('key_1', { name: 'new' });
    await openUsage(db).noteTurns({
      id: 'b',
      turns: [ledgerTurn({ at: start, keyName: 'new', model: 'b' })],
    });
    const report = (name: string, groups: Dimension[]) =>
      reportUsage(
        database,
        { from: start, to: now, filter: { key: name }, groups, step: undefined, timeZone: 'UTC' },
        now,
      );
    for (const groups of [[], ['key'], ['model'], ['key', 'model'], ['key', 'outcome']] as Dimension[][]) {
      const { rows, total } = await report('new', groups);
      expect(total.get('turns')).toBe(2);
      if (groups.includes('key')) for (const { keyName } of rows) expect(keyName).toBe('new');
      expect((await report('old', groups)).rows).toEqual([]);
    }
    const before = { at: now, id: 0 };
    const { turns } = await verbs.listTurns({ filter: { key: 'new' }, from: 0, before, limit: 9 });
    expect(turns.map(({ keyName }) => keyName)).toEqual(['new', 'new']);
  });

  it('counts for an owner what all its keys have used, by the labels that they have now', async () => {
    const { db, verbs, database } = await opened(open);
    const keys = keyVerbs(db);
    const may = { models: null, providers: null, labels: null, limits: { budgets: [] }, expiresAt: null };
    for (const [n, owner] of ['web', 'web', 'data', null].entries())
      await keys.createKey({
        ...{ keyId: `key_${n}`, name: `key ${n}`, owner, prefix: '', digest: `d${n}`, clientId: `c${n}` },
        ...{ createdAt: 0, ...may, isEnabled: true },
      });
    const ids = ['key_0', 'key_1', 'key_2', 'key_3', 'none', '(other)'];
    const turns = ids.map((keyId, n) => ledgerTurn({ at: start + n, keyId, model: `model-${n % 2}` }));
    await verbs.noteTurns({ id: 'a', turns });
    const asked = { from: start, to: now, step: undefined, timeZone: 'UTC' };
    // From the turns themselves, too.
    const periods = [asked, { ...asked, from: start - 1_000, to: start + 1_000 }];
    const counted = async (groups: UsageName[], filter: UsageFilter = {}) => {
      const reports = [];
      for (const period of periods) {
        const { rows } = await reportUsage(database, { ...period, groups, filter }, now);
        const counts = rows.map(({ names, sums }) => [
          ...groups.map((name) => names[name]),
          sums.get('turns'),
        ]);
        reports.push(counts.sort());
      }
      expect(reports[1]).toEqual(reports[0]);
      return reports[0];
    };
    expect(await counted(['owner'])).toEqual([
      ['(other)', 1],
      ['', 2],
      ['data', 1],
      ['web', 2],
    ]);
    await keys.changeKey('key_1', { owner: 'data' });
    await keys.changeKey('key_2', { revokedAt: now });
    expect(await counted(['owner', 'model'], { owner: 'data' })).toEqual([
      ['data', 'model-0', 1],
      ['data', 'model-1', 1],
    ]);
    expect(await counted(['key', 'outcome'], { owner: 'web' })).toEqual([['key_0', 'success', 1]]);
    const listed = (filter: UsageFilter) =>
      verbs.listTurns({ filter, from: 0, before: { at: now, id: 0 }, limit: 9 });
    const found = async (filter: UsageFilter) =>
      (await listed(filter)).turns.map(({ keyId, keyName, owner }) => [keyId, keyName, owner]);
    expect(await found({ owner: 'data' })).toEqual([
      ['key_2', 'key 2', 'data'],
      ['key_1', 'key 1', 'data'],
    ]);
    expect((await found({})).at(-1)).toEqual(['key_0', 'key 0', 'web']);
    expect(await found({ key: '(other)' })).toEqual([['(other)', null, null]]);
  });

  it('finds the newest decision record of a request', async () => {
    const { db, verbs } = await opened(open);
    const noted = async (id: string, ids: string[], records: unknown[], refused: string[] = []) =>
      verbs.noteTurns({
        id,
        turns: [...ids, ...refused].map((requestId) => ledgerTurn({ requestId })),
        records: { requestIds: ids, json: JSON.stringify(records) },
      });
    // As releases before this one wrote them.
    const named = [
      { request_id: 'one', n: 1 },
      { request_id: 'two', n: 1 },
    ];
    await noted('a', ['one', 'two'], named);
    await db.writing.run('UPDATE usage_requests SET requests = rtrim(requests)');
    await noted(
      'b',
      ['one', 'one'],
      [
        ['one', 2],
        ['one', 3],
      ],
      ['refused'],
    );
    // A client that goes on with the same request id after that, and is refused.
    for (let at = 0; at < 5; at += 1) await noted(`later ${at}`, ['other'], [['other', at]], ['one']);
    expect(JSON.parse((await verbs.recordOf('one')) ?? '')).toEqual(['one', 3]);
    expect(JSON.parse((await verbs.recordOf('two')) ?? '')).toEqual({ request_id: 'two', n: 1 });
    expect(await verbs.recordOf('refused')).toBeUndefined();
    expect(await verbs.recordOf('three')).toBeUndefined();
  });

  it('removes what is too old or too much, the records before the turns, and keeps the sums', async () => {
    const { db, verbs, database } = await opened(open);
    const records = { requestIds: ['x'], json: JSON.stringify([['x', 'a'.repeat(10_000)]]) };
    for (let hour = 0; hour < 10; hour += 1) {
      const turns = Array.from({ length: 10 }, () => ledgerTurn({ at: start + hour * hourMs }));
      await verbs.noteTurns({ id: `batch ${hour}`, turns, records });
    }
    const later = start + 10 * hourMs;
    const count = async (table: string) =>
      (await db.reading.get<{ n: number }>(`SELECT COUNT(*) AS n FROM usage_${table}`))?.n;
    // Half of it is for three hours of records, the other for all turns.
    await verbs.pruneUsage(later, { keptMs: dayMs, maxBytes: 2 * 3.5 * records.json.length });
    expect([await count('records'), await count('turns')]).toEqual([3, 100]);
    expect(await count('requests')).toBe(3);
    await verbs.pruneUsage(later, { keptMs: 4.5 * hourMs, maxBytes: 1e12 });
    expect([await count('records'), await count('turns')]).toEqual([3, 40]);
    const asked = { from: start, to: later, filter: {}, groups: [], step: undefined, timeZone: 'UTC' };
    expect((await reportUsage(database, asked, later)).total.get('turns')).toBe(100);
    // Where the turns are gone whole hours count, each once.
    const middle = start + 30 * 60_000;
    const parts = [
      { ...asked, to: middle },
      { ...asked, from: middle },
    ];
    const counts = [];
    for (const part of parts) counts.push((await reportUsage(database, part, later)).total.get('turns'));
    expect(counts).toEqual([10, 90]);

    // A series that is no longer noted goes with its last sums, not before them.
    while (await verbs.pruneUsage(start + 2 * dayMs, { keptMs: dayMs, maxBytes: 1e12 }));
    const muchLater = start + 900 * dayMs;
    while (await verbs.pruneUsage(muchLater, { keptMs: dayMs, maxBytes: 1e12 }));
    for (const table of ['turns', 'records', 'requests', 'series', 'sums', 'batches'])
      expect(await count(table)).toBe(0);
  });

  it('moves the sums of hours that an earlier release made, also while turns are noted, and those that it goes on to make', async () => {
    const { db, verbs, database } = await opened(open);
    const [before, after, late] = [someTurns(600), someTurns(300), someTurns(90)];
    const ofLatest = `SELECT id FROM usage_series WHERE face = ${latestFace}`;
    const columns = ['series_id', ...figures.map(({ name }) => name)].join(', ');
    const notedEarlier = async (table: string, turns: readonly LedgerTurn[]): Promise<void> => {
      await openUsage(db).noteTurns({ id: table, turns });
      await db.writing.run(
        `CREATE TABLE ${table} AS SELECT * FROM usage_sums WHERE series_id NOT IN (${ofLatest})`,
      );
      await db.writing.run('DELETE FROM usage_sums');
      await db.writing.run(`DELETE FROM usage_series WHERE face = ${latestFace}`);
    };
    const writeEarlier = async (table: string): Promise<void> => {
      for (const [times, span] of [
        ['hour', 1],
        ['day', 24],
      ] as const)
        await db.writing.run(
          `INSERT INTO usage_${times}s (${times}, ${columns}) SELECT start / ${span}, ${columns} FROM ${table} WHERE span = ${span}`,
        );
    };
    await notedEarlier('late', late);
    await notedEarlier('before', before);
    await writeEarlier('before');
    const move = async (): Promise<void> => {
      while (await verbs.moveHours());
    };
    await Promise.all([move(), move(), verbs.noteTurns({ id: 'after', turns: after })]);
    expect(await db.reading.all('SELECT 1 FROM usage_hours')).toEqual([]);
    await db.writing.run('DELETE FROM usage_days');
    await writeEarlier('late');
    await move();
    expect(await db.reading.all('SELECT 1 FROM usage_hours')).toEqual([]);
    const all = sumsOf([...before, ...after, ...late]);
    for (const step of [undefined, 'hour', 'day'] as const)
      for (const groups of [[], ['account'], ['key', 'model'], ['key', 'outcome']] as Dimension[][]) {
        const asked = { from: start, to: now, filter: {}, groups, step, timeZone: 'Asia/Tokyo' };
        const { total } = await reportUsage(database, asked, now);
        expect(all).toMatchObject(Object.fromEntries(total));
        expect(total.get('turns')).toBe(990);
      }
  });

  it('takes figures of any size beside those of others, and counts outcomes by themselves however many keys there are', async () => {
    const { verbs, database } = await opened(open);
    const turns = Array.from({ length: 499 }, (_, n) =>
      ledgerTurn({ keyId: `key_${n}`, model: `model-${n}`, at: start }),
    );
    const odd = ledgerTurn({
      inputTokens: Number.MAX_SAFE_INTEGER,
      outputTokens: 1.5,
      costNanos: 1e308,
      creditMicros: 1e30,
      outcome: 'upstream_failed',
      at: start,
    });
    await verbs.noteTurns({ id: 'with an odd one', turns: [...turns, odd] });
    for (let batch = 0; batch < 3; batch += 1)
      await verbs.noteTurns({ id: `odd ${batch}`, turns: Array.from({ length: 500 }, () => odd) });
    const asked = { from: start, to: now, filter: {}, step: undefined, timeZone: 'UTC' };
    const { rows } = await reportUsage(database, { ...asked, groups: ['outcome'] }, now);
    expect(rows.map(({ names, sums }) => [names.outcome, sums.get('turns')])).toEqual([
      ['upstream_failed', 1_501],
      ['success', 499],
    ]);
    expect(rows.map(({ sums }) => sums.get('output_tokens'))).toEqual([1_501 * 2, 499 * 10]);
  });

  it('takes odd names as they are and holds no more combinations than it may', async () => {
    const { verbs, database, db } = await opened(open);
    const odd = 'a"b\'c,%_\\u{0}\u{1F600}é';
    await verbs.noteTurns({ id: 'odd', turns: [ledgerTurn({ model: odd, keyName: odd, at: start })] });
    const asked = {
      from: start,
      to: now,
      filter: { model: odd },
      groups: ['model' as const],
      step: undefined,
      timeZone: 'UTC',
    };
    const { rows } = await reportUsage(database, asked, now);
    expect(rows.map(({ names }) => names)).toEqual([{ model: odd }]);

    for (let batch = 0; batch < 5; batch += 1) {
      const turns = Array.from({ length: 600 }, (_, n) =>
        ledgerTurn({ keyId: `key_${batch}_${n}`, at: start }),
      );
      await verbs.noteTurns({ id: `many ${batch}`, turns });
    }
    const series = await db.reading.all('SELECT 1 FROM usage_series WHERE face = 1');
    expect(series.length).toBeLessThanOrEqual(2_001);
    const byKey = await reportUsage(database, { ...asked, filter: {}, groups: ['key'] }, now);
    expect(byKey.total.get('turns')).toBe(3_001);
    expect(byKey.rows.find(({ names }) => names.key === '(other)')?.sums.get('turns')).toBeGreaterThan(900);
  });
});

it('twenty gateways on one PostgreSQL count every turn once', async () => {
  const url = await newDatabase();
  const databases = await Promise.all(
    Array.from({ length: 20 }, () => openPostgres(url, { connections: 2, settings: { jit: 'off' } })),
  );
  await migratePostgres(databases[0] as Postgres, gatewayMigrations('postgres'), 0, 'gateway_migrations');
  onTestFinished(async () => void (await Promise.all(databases.map((db) => db.close()))));
  const gateways = databases.map(openUsage);
  await Promise.all(
    gateways.map(async (verbs, gateway) => {
      for (let batch = 0; batch < 4; batch += 1) {
        const turns = someTurns(20).map((turn) => ({ ...turn, keyId: `key_${(gateway + batch) % 5}` }));
        await Promise.all([
          verbs.noteTurns({ id: `${gateway} ${batch}`, turns }),
          verbs.pruneUsage(now, { keptMs: 100 * dayMs, maxBytes: 1e12 }),
        ]);
      }
    }),
  );
  const database = {
    ask: <Answer>(question: (verbs: UsageVerbs) => Promise<Answer>) =>
      question(usageVerbs(databases[0] as Postgres) as UsageVerbs),
  };
  for (const groups of [[], ['key'], ['account'], ['model', 'key']] as Dimension[][]) {
    const asked = { from: start, to: now, filter: {}, groups, step: undefined, timeZone: 'UTC' };
    expect((await reportUsage(database, asked, now)).total.get('turns')).toBe(1_600);
  }
});

function dimensionOf(turn: LedgerTurn, name: Dimension): string {
  const values = {
    key: turn.keyId,
    model: turn.model,
    answered_model: turn.answeredModel,
    provider: turn.provider,
    account: turn.accountId,
    dialect: turn.dialect,
    outcome: turn.outcome,
  };
  return values[name] ?? '';
}
