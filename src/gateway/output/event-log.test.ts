import { EventEmitter } from 'node:events';
import { beforeEach, expect, it } from 'vitest';
import { createManualClock } from '../testing/manual-clock.ts';
import { RunningTurns } from '../turn/running-turns.ts';
import { EventLog, FollowedEvents } from './event-log.ts';
import { Idempotency, RecordedAnswer } from './idempotency.ts';

it('holds the latest events and says which are gone', () => {
  const log = new EventLog(100);
  for (let index = 0; index < 50; index += 1) log.append(`event ${index}`.padEnd(10));
  expect(log.next).toBe(50);
  expect(log.first).toBeGreaterThan(39);
  expect(log.at(log.first)).toContain(`event ${log.first}`);
  expect(log.at(49)).toContain('event 49');
});

it('keeps the last event however large it is', () => {
  const log = new EventLog(10);
  log.append('a');
  log.append('x'.repeat(1_000));
  expect(log.at(1)).toHaveLength(1_000);
});

it('holds more for somebody who is reading, but not without end', () => {
  const log = new EventLog(100);
  let next = 0;
  const unwatch = log.watch(
    () => {},
    () => next,
  );
  for (let index = 0; index < 30; index += 1) log.append('x'.repeat(10));
  expect(log.first).toBe(0);
  next = 20;
  log.append('x'.repeat(10));
  expect(log.first).toBe(20);
  for (let index = 0; index < 40; index += 1) log.append('x'.repeat(10));
  expect(log.first).toBeGreaterThan(20);
  next = log.first;
  for (let index = 0; index < 20; index += 1) log.append('x'.repeat(10));
  unwatch();
  expect(log.next - log.first).toBeLessThanOrEqual(10);
});

it('tells watchers of every event and of the end, until they look away', () => {
  const log = new EventLog(100);
  let told = 0;
  const unwatch = log.watch(() => {
    told += 1;
  });
  log.append('a');
  log.close();
  unwatch();
  log.append('b');
  expect(told).toBe(2);
  expect(log.isClosed).toBe(true);
});

/** As much of a response as is written to, by a client that reads when it is told to. */
class FakeResponse extends EventEmitter {
  text = '';
  writableEnded = false;
  destroyed = false;
  isReading = true;
  writableLength = 0;
  writableNeedDrain = false;
  writeHead(): void {}
  write(text: string): boolean {
    this.text += text;
    return this.isReading;
  }
  end(text = ''): void {
    this.text += text;
    this.writableEnded = true;
    this.emit('finish');
    this.emit('close');
  }
}

let response: FakeResponse;
let now: number;
let running: RunningTurns;
beforeEach(() => {
  running = new RunningTurns(createManualClock());
  response = new FakeResponse();
  now = 0;
});

const follow = (log: EventLog, from: number) =>
  new FollowedEvents({ running, clientId: 'me', response: response as never, now: () => now }, log, from, {});

it('writes what is there from that event on, then what comes, and ends with the log', () => {
  const log = new EventLog(1_000);
  for (const text of ['a', 'b', 'c']) log.append(text);
  follow(log, 1);
  log.append('d');
  log.close();
  expect(running.count).toBe(0);
  expect(response.text).toBe('bcd');
});

it('follows nothing for a client that had left before', () => {
  const log = new EventLog(1_000);
  Object.assign(response, { closed: true, destroyed: true });
  follow(log, 0);
  log.append('a');
  expect([running.count, response.text]).toEqual([0, '']);
});

it('waits for a client that is behind', () => {
  const log = new EventLog(1_000);
  follow(log, 0);
  response.isReading = false;
  log.append('a');
  log.append('b');
  expect(response.text).toBe('a');
  response.isReading = true;
  response.emit('drain');
  expect(response.text).toBe('ab');
});

it('a client that reads as it should gets the last events, though each repeats the whole answer', () => {
  const log = new EventLog(100);
  follow(log, 0);
  response.isReading = false;
  for (const text of ['a', 'b', 'c', 'd']) log.append(text.repeat(90));
  log.close('the end');
  for (let count = 0; count < 4; count += 1) response.emit('drain');
  expect(running.count).toBe(0);
  expect(response.text.replaceAll(/(.)\1+/g, '$1')).toBe('abcdthe end');
});

it('ends with an error for a client so slow that events were dropped', () => {
  const log = new EventLog(100);
  follow(log, 0);
  response.isReading = false;
  for (let count = 0; count < 50; count += 1) log.append('x'.repeat(10));
  response.emit('drain');
  expect(running.count).toBe(0);
  expect(response.text).toContain('event: error');
  expect(response.text).toContain('events_lost');
});

it('looks away when the client has gone, and keeps a quiet stream alive', () => {
  const log = new EventLog(100);
  follow(log, 0);
  now = 15_000;
  running.tick(now);
  running.tick(now);
  expect(response.text).toBe(': keep-alive\n\n');
  response.destroyed = true;
  response.emit('close');
  expect(running.count).toBe(0);
  log.append('a');
  expect(response.text).toBe(': keep-alive\n\n');
});

it('records what upstreams and the gateway write beside the data of events, and adds no empty lines to it', () => {
  const answer = new RecordedAnswer(true);
  answer.writeHead(200, { 'content-type': 'text/event-stream' });
  answer.write(': keep-alive\n\n:\r\n\r\n: busy\ndata: {}\n\n\ndata: {}\n: end\n\n\n');
  answer.write(': x-warp2api-usage estimated\n\n');
  expect(answer.record.texts).toEqual([
    ': keep-alive\n',
    ':\n',
    'id: 2\n: busy\ndata: {}\n\n',
    'id: 3\ndata: {}\n: end\n\n',
    ': x-warp2api-usage estimated\n',
  ]);
});

it.each([
  [true, ': keep-alive\n'],
  [false, '\n'],
])(
  'keeps a quiet stream alive that follows a recording whose events have ids: %s',
  async (isNumbered, sent) => {
    const idempotency = new Idempotency({
      store: { insert: async () => undefined } as never,
      isShared: () => false,
      running,
      clock: createManualClock(),
      logger: {} as never,
      now: () => now,
    });
    const request = { client: { id: 'one' }, url: '/v1', headers: { 'idempotency-key': 'one' }, body: {} };
    const reply = { raw: response, hijack: () => {}, getHeaders: () => ({}) };
    const run = async (answer: RecordedAnswer): Promise<void> => {
      answer.writeHead(200, { 'content-type': 'text/event-stream' });
      await new Promise(() => {});
    };
    await idempotency.answer(request as never, reply as never, run, isNumbered);
    now = 15_000;
    running.tick(now);
    expect(response.text).toBe(sent);
  },
);
