import { EventEmitter } from 'node:events';
import { beforeEach, expect, it } from 'vitest';
import { ListeningTime } from '../../lib/clock.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { BufferedStore } from '../state/buffered-store.ts';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import { clientTurnsFor, silentLogger } from '../testing/turn-fixture.ts';
import type { ClientTurn } from '../turn/client-turns.ts';
import { RunningTurns } from '../turn/running-turns.ts';
import { ResponsesSockets } from './responses-socket.ts';
import { StoredResponses } from './stored-responses.ts';

/** As much of a WebSocket as a session needs, to look at from outside. */
class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly frames: { type: string; error?: { code: string } }[] = [];
  pings = 0;
  isTerminated = false;
  isPaused = false;
  closeCode: number | undefined;

  send(text: string): void {
    this.frames.push(JSON.parse(text));
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  ping(): void {
    this.pings += 1;
  }
  close(code: number): void {
    if (this.readyState !== 1) return;
    this.readyState = 3;
    this.closeCode = code;
    this.emit('close');
  }
  terminate(): void {
    this.isTerminated = true;
    this.close(1006);
  }
}

/** What carries the frames, as slow as a test wants it. */
class FakeWire extends EventEmitter {
  writableNeedDrain = false;
  drain(): void {
    this.writableNeedDrain = false;
    this.emit('drain');
  }
}

let clock: ManualClock;
let running: RunningTurns;
let sockets: ResponsesSockets;
let socket: FakeSocket;
let wire: FakeWire;
let listening: ListeningTime;
let turns: { turn: ClientTurn; end(): void }[];

beforeEach(() => {
  clock = createManualClock();
  listening = new ListeningTime(clock);
  turns = [];
  const clientTurns = clientTurnsFor(
    clock,
    (turn) => new Promise((resolve) => turns.push({ turn, end: () => resolve(undefined) })),
  );
  running = new RunningTurns(clock);
  const responses = new StoredResponses(new BufferedStore({ clock, maxBytes: 1_000_000 }), 1_000, () => {});
  const bodies = new BodyBudget(1_800_000);
  sockets = new ResponsesSockets({
    clientTurns,
    running,
    routes: { check: async () => undefined },
    keys: { renewed: (client) => client, faultOf: () => undefined },
    responses,
    bodies,
    clock,
    listening,
    logger: silentLogger,
  });
  socket = connect('me');
});

function connect(clientId: string): FakeSocket {
  const made = new FakeSocket();
  wire = new FakeWire();
  const connection = {
    client: { id: clientId },
    affinityKey: undefined,
    requestId: 'r',
    wire: wire as never,
  };
  sockets.accept(made as never, connection);
  return made;
}

async function ask(): Promise<void> {
  const message = { type: 'response.create', model: 'auto', input: 'x' };
  socket.emit('message', Buffer.from(JSON.stringify(message)), false);
  await settled();
}

it('a connection lasts 60 minutes, and its client is told why it ends', async () => {
  await clock.advance(60 * 60_000 - 1);
  expect(socket.closeCode).toBeUndefined();
  await clock.advance(1);
  expect(socket.frames).toMatchObject([
    { type: 'error', error: { code: 'websocket_connection_limit_reached' } },
  ]);
  expect(socket.closeCode).toBe(1000);
});

it('a turn that runs when the time is over is completed, and no other begins', async () => {
  await ask();
  await ask();
  await clock.advance(60 * 60_000);
  expect(socket.closeCode).toBeUndefined();
  expect(turns).toHaveLength(1);
  turns[0]?.end();
  await settled();
  expect(turns).toHaveLength(1);
  expect(socket.closeCode).toBe(1000);
});

async function listen(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    await clock.advance(1_000);
    running.tick(listening.tick());
  }
}

it('a silent client is asked whether it lives, and let go when it says nothing', async () => {
  for (let round = 0; round < 4; round += 1) {
    await listen(29);
    socket.emit('pong', Buffer.alloc(0));
  }
  expect(socket.isTerminated).toBe(false);
  expect(socket.pings).toBeGreaterThan(0);
  // A pause of this process is no silence of the client.
  await clock.advance(600_000);
  await listen(1);
  expect(socket.isTerminated).toBe(false);
  await listen(125);
  expect(socket.isTerminated).toBe(true);
});

it('a client that leaves ends its turn', async () => {
  await ask();
  socket.terminate();
  expect(turns[0]?.turn.signal.reason).toMatchObject({ code: 'cancelled' });
});

it('one client cannot take all connections', () => {
  for (let count = 1; count < 200; count += 1) connect('me');
  expect(() => sockets.checkRoom('me')).toThrowError(expect.objectContaining({ code: 'key_rate_limited' }));
  expect(() => sockets.checkRoom('you')).not.toThrow();
});

it('a client that does not take its errors is not listened to until it does', async () => {
  wire.writableNeedDrain = true;
  socket.emit('message', Buffer.from('{'), false);
  socket.emit('message', Buffer.from('{'), false);
  expect(socket.isPaused).toBe(true);
  expect(wire.listenerCount('drain')).toBe(1);
  wire.drain();
  await settled();
  expect(socket.isPaused).toBe(false);
  expect(wire.listenerCount('close')).toBe(0);
});

it('no turn begins before the client has taken the one before', async () => {
  await ask();
  await ask();
  wire.writableNeedDrain = true;
  turns[0]?.end();
  await settled();
  expect(turns).toHaveLength(1);
  wire.drain();
  await settled();
  expect(turns).toHaveLength(2);
});

it('a connection that comes while the gateway stops is turned away', async () => {
  socket.terminate();
  sockets.close();
  await running.drain(1_000);
  expect(() => sockets.checkRoom('me')).toThrowError(expect.objectContaining({ code: 'shutting_down' }));
  expect(connect('me').closeCode).toBe(1001);
  expect(running.count).toBe(0);
});
