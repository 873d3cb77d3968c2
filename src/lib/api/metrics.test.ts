import { Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { LightHistogram, metricsText, Sums } from './metrics.ts';

test('a histogram reads as one of the library', async () => {
  const bounds = [0.1, 1, 5];
  const light = new LightHistogram('seconds', 'Time.', bounds);
  const registry = new Registry();
  const labelNames = ['protocol', 'stream'] as const;
  const full = new Histogram({
    name: 'seconds',
    help: 'Time.',
    labelNames,
    buckets: bounds,
    registers: [registry],
  });
  const values = [0, 0.1, 0.11, 1, 3, 5, 5.5, 1e6];
  for (const [at, value] of values.entries()) {
    const stream = at % 3 === 0 ? 'yes' : 'no';
    light.observe(`protocol="chat",stream="${stream}"`, value);
    full.observe({ protocol: 'chat', stream }, value);
  }
  expect(light.text()).toBe((await registry.metrics()).trim());
  expect(await metricsText(new Registry(), light)).toContain(
    '\nseconds_count{protocol="chat",stream="no"} 5\n',
  );
});

test('sums keep the values of their labels apart, and take no figure that is no amount', () => {
  const sums = new Sums();
  sums.add(1, 'a\nb c');
  sums.add(2, 'a b\nc');
  sums.add(3, 'a\nb c');
  sums.add(Number.NaN, 'a\nb c');
  sums.add(-1, 'new');
  expect([...sums.all()]).toEqual([
    [['a', 'b c'], 4],
    [['a b', 'c'], 2],
    [['new'], 0],
  ]);
});
