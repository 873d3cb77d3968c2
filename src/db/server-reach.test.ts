import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { ServerReach } from './server-reach.ts';

const refused = new Error('connect ECONNREFUSED');
const told = { onAway: vi.fn(), onBack: vi.fn() };
let server: 'well' | 'stopped' | 'frozen';
let looks: number;
beforeEach(() => {
  vi.useFakeTimers();
  for (const tell of Object.values(told)) tell.mockClear();
  server = 'well';
  looks = 0;
});
afterEach(() => void vi.useRealTimers());

function open(): ServerReach {
  const reach = new ServerReach({
    async look() {
      looks += 1;
      if (server === 'stopped') throw refused;
      if (server === 'frozen') await new Promise(() => {});
    },
    ...told,
  });
  onTestFinished(() => reach.close());
  return reach;
}

it('asks a server that no call asks, and no other', async () => {
  const reach = open();
  for (let second = 0; second < 30; second += 1) {
    await vi.advanceTimersByTimeAsync(1000);
    reach.answered();
  }
  expect(looks).toBe(0);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(looks).toBeGreaterThan(7);
  expect(looks).toBeLessThan(12);
  expect(reach.isReachable).toBe(true);
});

it.each(['stopped', 'frozen'] as const)('finds out within seconds that an idle server is %s', async (how) => {
  const reach = open();
  server = how;
  // A look that is at its limit gives what has arrived its turn.
  await vi.advanceTimersByTimeAsync(5_001);
  expect([reach.isReachable, reach.isAway]).toEqual([false, false]);
  await vi.advanceTimersByTimeAsync(2_100);
  expect(reach.isAway).toBe(true);
  expect(told.onAway).toHaveBeenCalledOnce();
});

it('lets a server restart', async () => {
  const reach = open();
  server = 'stopped';
  reach.failed(refused);
  expect(reach.isReachable).toBe(false);
  await vi.advanceTimersByTimeAsync(4_000);
  server = 'well';
  await vi.advanceTimersByTimeAsync(1_000);
  expect([reach.isReachable, reach.isAway]).toEqual([true, false]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(told.onAway).not.toHaveBeenCalled();
});

it('asks one question at a time while the server is away, and says when it is back', async () => {
  const reach = open();
  server = 'frozen';
  await vi.advanceTimersByTimeAsync(8_000);
  const before = looks;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(looks - before).toBeLessThan(20);
  const back = reach.whenBack();
  server = 'well';
  await vi.advanceTimersByTimeAsync(6_000);
  await back;
  expect([reach.isReachable, reach.isAway]).toEqual([true, false]);
  expect(told.onBack).toHaveBeenCalledOnce();
  expect(told.onAway).toHaveBeenCalledOnce();
});

it('takes a call that was answered as proof, whatever its own question meets', async () => {
  const reach = open();
  server = 'frozen';
  for (let second = 0; second < 30; second += 1) {
    await vi.advanceTimersByTimeAsync(3_000);
    reach.answered();
  }
  expect(told.onAway).not.toHaveBeenCalled();
});
