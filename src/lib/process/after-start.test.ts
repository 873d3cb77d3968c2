import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { systemClock } from '../clock.ts';
import { shrinkAfterStart } from './own-turn.ts';

const used = vi.spyOn(process, 'threadCpuUsage');
const shrink = vi.fn();

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.clearAllMocks();
});

it('what only the start has needed goes back once', () => {
  used.mockReturnValue({ user: 40_000, system: 10_000 });
  shrinkAfterStart(systemClock, shrink);
  vi.advanceTimersByTime(60_000);
  expect(shrink).toHaveBeenCalledTimes(1);
});

it('a service that works already keeps its memory', () => {
  used.mockReturnValue({ user: 900_000, system: 100_000 });
  shrinkAfterStart(systemClock, shrink);
  vi.advanceTimersByTime(60_000);
  expect(shrink).not.toHaveBeenCalled();
});

it('one that has ended by then does not look', () => {
  used.mockReturnValue({ user: 0, system: 0 });
  shrinkAfterStart(systemClock, shrink)();
  vi.advanceTimersByTime(60_000);
  expect(shrink).not.toHaveBeenCalled();
});
