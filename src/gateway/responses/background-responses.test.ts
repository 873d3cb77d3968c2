import { beforeEach, expect, it, vi } from 'vitest';
import type { ClientKey } from '../keys/client-key.ts';
import type { Allowance } from '../limits/allowance.ts';
import type { Route } from '../models/route.ts';
import { BufferedStore } from '../state/buffered-store.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { clientTurnsFor, silentLogger } from '../testing/turn-fixture.ts';
import type { ClientTurn } from '../turn/client-turns.ts';
import { RunningTurns } from '../turn/running-turns.ts';
import { BackgroundResponses, type BackgroundResponsesOptions } from './background-responses.ts';
import { readResponsesRequest } from './responses-request.ts';
import { StoredResponses } from './stored-responses.ts';

let clock: ManualClock;
let responses: StoredResponses;
let turns: ClientTurn[];
let clientTurns: BackgroundResponsesOptions['clientTurns'];
let running: RunningTurns;
let one: BackgroundResponses;
let other: BackgroundResponses;

const provider = { name: 'warp', outbound: { capabilities: new Set() } };
const options = {
  routes: {
    plan: async () =>
      ({
        candidates: [{ provider, model: 'big' } as unknown as Route],
        delivery: 'stream',
        promptCache: 'auto',
      }) as const,
  },
  logger: silentLogger,
  keys: { renewed: (client: ClientKey) => client, faultOf: () => undefined },
};

beforeEach(() => {
  clock = createManualClock();
  // They go on until they are aborted.
  clientTurns = clientTurnsFor(clock, (turn) => {
    turns.push(turn);
    return new Promise((resolve) => turn.signal.listen(() => resolve(undefined)));
  });
  turns = [];
  responses = new StoredResponses(new BufferedStore({ clock, maxBytes: 1_000_000 }), 3_600_000, () => {});
  running = new RunningTurns(clock);
  const open = () => new BackgroundResponses({ ...options, clientTurns, responses, running, clock });
  one = open();
  other = open();
});

async function start(): Promise<string> {
  const read = await readResponsesRequest(
    responses,
    'me',
    { model: 'auto', input: 'x', background: true },
    null,
  );
  const { response } = await one.start({
    ...read,
    client: { id: 'me' },
    affinityKey: undefined,
    requestId: 'r',
    held: null,
  });
  await vi.waitUntil(() => turns.length > 0);
  return String(response['id']);
}

it('another instance sees that it runs, and has it cancelled', async () => {
  const id = await start();
  expect(await other.look('me', id)).toMatchObject({
    response: { status: 'in_progress' },
    answeredBy: 'warp/big',
  });
  const cancelling = other.cancel('me', id);
  for (let step = 0; step < 40; step += 1) await clock.advance(100);
  expect(await cancelling).toMatchObject({ response: { id, status: 'cancelled' } });
  expect(await one.look('me', id)).toMatchObject({ response: { status: 'cancelled' } });
  expect(running.count).toBe(0);
});

it('one that is deleted at another instance stops, and stays deleted', async () => {
  const id = await start();
  await other.remove('me', id);
  for (let step = 0; step < 40; step += 1) await clock.advance(100);
  expect(running.count).toBe(0);
  await expect(other.look('me', id)).rejects.toMatchObject({ code: 'not_found' });
  await expect(one.look('me', id)).rejects.toMatchObject({ code: 'not_found' });
});

it('stays alive for as long as it runs, and is failed once its instance is gone', async () => {
  const id = await start();
  for (let step = 0; step < 60; step += 1) await clock.advance(2_000);
  expect(await other.look('me', id)).toMatchObject({ response: { status: 'in_progress' } });

  // An instance that was killed says nothing more.
  const dead = new StoredResponses(new BufferedStore({ clock, maxBytes: 1_000_000 }), 3_600_000, () => {});
  await dead.put('me', await responses.get('me', id));
  const later = new BackgroundResponses({
    ...options,
    clientTurns,
    responses: dead,
    running,
    clock,
  });
  const failed = { status: 'failed', error: { code: 'server_error' } };
  expect(await later.look('me', id)).toMatchObject({ response: failed, answeredBy: 'warp/big' });
  expect(await later.cancel('me', id)).toMatchObject({ response: failed });
});

it('is failed at once after its gateway was killed, where no other one can have it', async () => {
  const store = new BufferedStore({ clock, maxBytes: 1_000_000 });
  const alone = () => new StoredResponses(store, 3_600_000, () => {}, { clock, arePossible: () => false });
  responses = alone();
  one = new BackgroundResponses({ ...options, clientTurns, responses, running, clock });
  const id = await start();
  expect(await one.look('me', id)).toMatchObject({ response: { status: 'in_progress' } });
  const restarted = new BackgroundResponses({ ...options, clientTurns, responses: alone(), running, clock });
  expect(await restarted.look('me', id)).toMatchObject({ response: { status: 'failed' } });
});

it('belongs to the key that made it', async () => {
  const id = await start();
  await expect(one.look('you', id)).rejects.toMatchObject({ code: 'not_found' });
  await expect(one.cancel('you', id)).rejects.toMatchObject({ code: 'not_found' });
  await expect(one.remove('you', id)).rejects.toMatchObject({ code: 'not_found' });
  expect(running.count).toBe(1);
});

it('a run that is still going at the deadline of a stop is stored as failed', async () => {
  const id = await start();
  const drained = running.drain(5_000);
  await clock.advance(5_000);
  await drained;
  expect((await responses.get('me', id)).response).toMatchObject({
    status: 'failed',
    error: { code: 'shutting_down' },
  });
});

it('no more begin than may run, also where all of them wait for their limits together', async () => {
  const released: number[] = [];
  const { promise: counted, resolve: count } = Promise.withResolvers<void>();
  const allowance = { headers: () => ({}), release: () => released.push(1) } as unknown as Allowance;
  const admit: BackgroundResponsesOptions['clientTurns']['admit'] = async (asked) => {
    await counted;
    return { ...asked, images: undefined, allowance };
  };
  one = new BackgroundResponses({
    ...options,
    clientTurns: { ...clientTurns, admit },
    responses,
    running,
    clock,
  });
  const starting = Promise.allSettled(Array.from({ length: 30 }, () => start()));
  await new Promise((resolve) => setImmediate(resolve));
  count();
  const outcomes = await starting;
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
  expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
    reason: { code: 'key_rate_limited', param: 'background' },
  });
  expect(released).toHaveLength(10);
});
