import { expect, test } from 'vitest';
import { kibOf, nanosecondsOf, ticksOf } from './proc.ts';

test('ticks are user and system time, whatever the process is called', () => {
  const rest = 'S 1 2 3 0 -1 4194304 98 0 0 0 17 25 0 0 20 0 1 0 459796';
  expect(ticksOf(`4711 (node) ${rest}`)).toBe(42);
  expect(ticksOf(`4711 (a (b) 1 2) ${rest}`)).toBe(42);
});

test('scheduler statistics begin with the time on a processor', () => {
  expect(nanosecondsOf('144029 12 3\n')).toBe(144_029);
});

test('sizes are found by name', () => {
  const status = 'Name:\tnode\nVmHWM:\t  123456 kB\nVmRSS:\t   65432 kB\n';
  expect(kibOf(status, 'VmRSS')).toBe(65_432);
  expect(kibOf(status, 'VmHWM')).toBe(123_456);
  expect(kibOf('Name:\tnode\n', 'VmRSS')).toBeNaN();
});
