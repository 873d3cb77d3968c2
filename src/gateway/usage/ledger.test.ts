import { Writable } from 'node:stream';
import { beforeEach, expect, it } from 'vitest';
import { DatabaseError } from '../../db/database.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { UsageLedger } from './ledger.ts';
import { turnOf } from './ledger-turn.ts';
import type { Batch } from './note-turns.ts';
import { ledgerTurn } from './testing/ledger-turns.ts';
import type { UsageVerbs } from './usage-verbs.ts';

let clock: ManualClock;
let log: string;
let sent: Batch[];
let ledger: UsageLedger;
let answer: (batch: Batch) => Promise<void>;
let hoursLeft: number;

beforeEach(() => {
  clock = createManualClock();
  log = '';
  sent = [];
  hoursLeft = 0;
  answer = async () => {};
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const verbs = {
    async noteTurns(batch: Batch) {
      sent.push(batch);
      await answer(batch);
    },
    async moveHours() {
      hoursLeft = Math.max(0, hoursLeft - 500);
      return hoursLeft > 0;
    },
    pruneUsage: async () => false,
  } as unknown as UsageVerbs;
  ledger = new UsageLedger({
    database: { ask: (question) => question(verbs) },
    clock,
    logger: createLogger('INFO', destination),
    keepDays: 90,
    maxBytes: 1e9,
  });
});

const noted = () => sent.flatMap(({ turns }) => turns.map((row) => turnOf(row).requestId));
const note = (...ids: string[]) => {
  for (const requestId of ids) ledger.note(() => ledgerTurn({ requestId }));
};
const away = async () => {
  throw new DatabaseError('database_unreachable', 'it does not answer');
};

it('writes the turns of 800 ms together', async () => {
  note('a', 'b');
  await clock.advance(700);
  note('c');
  expect(sent).toEqual([]);
  await clock.advance(200);
  expect(sent).toHaveLength(1);
  expect(noted()).toEqual(['a', 'b', 'c']);
  expect(ledger.figures).toEqual({ waiting: 0, written: 3, dropped: 0 });
});

it('is asked with every turn that has ended, those of a running write as well', async () => {
  const begun = Promise.withResolvers<void>();
  const taken = Promise.withResolvers<void>();
  let isTaken = false;
  const written = () => ledger.ask(async () => [...noted(), isTaken]);
  note('a');
  expect(await written()).toEqual(['a', false]);
  answer = async () => {
    begun.resolve();
    await taken.promise;
    isTaken = true;
  };
  note('b');
  const asked = written();
  await begun.promise;
  const askedMeanwhile = written();
  note('c');
  const askedLater = written();
  taken.resolve();
  expect((await asked).at(-1)).toBe(true);
  expect((await askedMeanwhile).at(-1)).toBe(true);
  expect(await askedLater).toEqual(['a', 'b', 'c', true]);
  expect(sent).toHaveLength(3);
  await clock.advance(2_000);
  expect(sent).toHaveLength(3);
});

it('waits, when asked, for no turns that end meanwhile', async () => {
  answer = async () => note('another');
  note('a');
  expect(await ledger.ask(async () => noted())).toEqual(['a']);
  answer = async () => {};
  await clock.advance(900);
  expect(noted()).toEqual(['a', 'another']);
});

it('counts tries of a batch only while its database can be reached', async () => {
  answer = away;
  note('a');
  await clock.advance(20_000);
  answer = async () => {
    throw new Error('it is in the middle of something');
  };
  await clock.advance(1_100);
  answer = async () => {};
  await clock.advance(1_100);
  expect(ledger.figures).toEqual({ waiting: 0, written: 1, dropped: 0 });
});

it('is asked without what its database does not take, and loses nothing of that', async () => {
  answer = away;
  note('a');
  expect(await ledger.ask(async () => 'an answer')).toBe('an answer');
  // The next try comes in its time, however often the ledger is asked.
  await ledger.ask(async () => {});
  await ledger.ask(async () => {});
  expect(sent).toHaveLength(1);
  answer = async () => {};
  await clock.advance(1_100);
  expect(ledger.figures).toEqual({ waiting: 0, written: 1, dropped: 0 });
});

it('asks for records when their batch is made, and for none of turns that have none', async () => {
  let state = 'running';
  ledger.note(
    () => ledgerTurn({ requestId: 'a' }),
    () => ['a', state],
  );
  note('refused');
  state = 'ended';
  await clock.advance(900);
  note('refused too');
  await clock.advance(900);
  expect(sent.map(({ records }) => records)).toEqual([
    { requestIds: ['a'], json: '[["a","ended"]]' },
    undefined,
  ]);
  expect(noted()).toEqual(['a', 'refused', 'refused too']);
});

it('sends a batch again under its id until the database has it, and what came meanwhile after it', async () => {
  answer = away;
  note('a');
  await clock.advance(900);
  note('b');
  await clock.advance(2_500);
  expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
  expect(sent.length).toBeGreaterThan(2);
  expect(ledger.figures).toEqual({ waiting: 2, written: 0, dropped: 0 });
  sent = [];
  answer = async () => {};
  await clock.advance(1_500);
  expect(noted()).toEqual(['a', 'b']);
  expect(ledger.figures).toEqual({ waiting: 0, written: 2, dropped: 0 });
});

it('drops and counts what is beyond its bound, and says so once a minute', async () => {
  answer = away;
  note('first');
  await clock.advance(900);
  const ids = Array.from({ length: 20_050 }, (_, at) => `${at}`);
  note(...ids);
  expect(ledger.figures).toEqual({ waiting: 20_001, written: 0, dropped: 50 });
  expect(log.match(/turns are missing in the usage ledger/g)).toHaveLength(1);
  answer = async () => {};
  await clock.advance(2_000);
  expect(ledger.figures).toEqual({ waiting: 0, written: 20_001, dropped: 50 });
  const last = new Map(sent.map((batch) => [batch.id, batch]));
  sent = [...last.values()];
  expect(noted()).toEqual(['first', ...ids.slice(0, 20_000)]);
});

it('drops what is beyond its bound of bytes', async () => {
  answer = away;
  note('first');
  await clock.advance(900);
  const long = 'x'.repeat(4_000);
  for (let at = 0; at < 20_000; at += 1) ledger.note(ledgerTurn, () => [long]);
  // Half of 32 MiB in characters, and the batch that went beyond.
  expect(ledger.figures).toEqual({ waiting: 4_501, written: 0, dropped: 15_500 });
});

it('gives up a batch that the database refuses again and again, and goes on', async () => {
  answer = async ({ turns }) => {
    if (turns[0] && turnOf(turns[0]).requestId === 'bad') throw new Error('value out of range');
  };
  note('bad');
  await clock.advance(900);
  note('good');
  await clock.advance(10_000);
  expect(ledger.figures).toEqual({ waiting: 0, written: 1, dropped: 1 });
  expect(log).toContain('value out of range');
});

it('writes what waits when it is closed', async () => {
  note('a');
  await ledger.close();
  expect(noted()).toEqual(['a']);
});

it('says how many are lost when it is closed without its database', async () => {
  answer = away;
  note('a', 'b');
  await ledger.close();
  expect(ledger.figures).toEqual({ waiting: 2, written: 0, dropped: 2 });
  expect(log).toContain('could not be reached before the gateway stopped');
});

it('moves all sums of an earlier release soon after its start', async () => {
  hoursLeft = 200_000;
  await clock.advance(1_100);
  await expect.poll(() => hoursLeft).toBe(0);
});
