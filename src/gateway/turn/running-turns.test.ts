import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { beforeEach, expect, it } from 'vitest';
import type { AppError } from '../../core/errors.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { type Carrier, HttpCarrier, RunningTurns } from './running-turns.ts';

let clock: ManualClock;
let running: RunningTurns;
let heard: string[];
const carrier: Carrier = {
  clientId: 'me',
  turnCount: 1,
  isStream: false,
  tick: () => {},
  abort: (error: AppError) => heard.push(error.code),
  cut: () => heard.push('cut'),
};
beforeEach(() => {
  clock = createManualClock();
  running = new RunningTurns(clock);
  heard = [];
});

it('ends what runs at the deadline, cuts what is left soon after, and waits for the last one', async () => {
  running.add(carrier);
  const drained = running.drain(20_000).then(() => heard.push('drained'));
  await clock.advance(19_999);
  expect(heard).toEqual([]);
  await clock.advance(1);
  expect(heard).toEqual(['shutting_down']);
  await clock.advance(1_000);
  expect(heard).toEqual(['shutting_down', 'cut']);
  running.delete(carrier);
  await drained;
  expect(heard).toEqual(['shutting_down', 'cut', 'drained']);
});

it('ends nothing once none is left, and waits for none where none runs', async () => {
  await running.drain(20_000);
  running.add(carrier);
  const drained = running.drain(20_000);
  await clock.advance(100);
  running.delete(carrier);
  await drained;
  await clock.advance(60_000);
  expect(heard).toEqual([]);
});

it('counts turns, not what waits for one', () => {
  running.add(carrier);
  running.add({ ...carrier, isStream: true });
  running.add({ ...carrier, isStream: true, turnCount: 0 });
  expect([running.count, running.streamCount]).toEqual([2, 1]);
});

it('keeps no answer whose client had left before it began', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];
  socket.destroy();
  await once(response, 'close');
  const late = new HttpCarrier({ running, clientId: 'me', response }, true, 0);
  expect(late.signal.reason).toMatchObject({ code: 'cancelled' });
  expect(running.count).toBe(1);
  late.end();
  expect(running.count).toBe(0);
  server.close();
});
