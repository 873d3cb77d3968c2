import { expect, it } from 'vitest';
import { LoadMeter } from './admission.ts';

it('the load of a process is how long due work waits, and how full its memory is', async () => {
  const meter = new LoadMeter();
  const until = (at: number) => {
    while (performance.now() < at);
  };
  meter.read();
  for (let task = 0; task < 5; task += 1) {
    until(performance.now() + 200);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const busy = meter.read();
  expect(busy.delayMs).toBeGreaterThan(100);
  expect(busy.heapShare).toBeGreaterThan(0);
  expect(busy.heapShare).toBeLessThan(1);
  expect(meter.read().delayMs).toBe(0);
  meter.close();
});
