import type { Clock } from '../lib/clock.ts';
import type { Queries } from './database.ts';

/** A clock that shows a database server's time, so that all who use the database agree on what has expired. */
export interface DatabaseClock extends Clock {
  close(): void;
}

const measuredEveryMs = 30_000;
const samples = 3;
/** Clocks so close count as equal: the way to the database takes as long. */
const closeEnoughMs = 20;

/** Measures how far the database's clock is ahead of this machine's, now and every half minute. */
export async function openDatabaseClock(reading: Queries, machine: Clock): Promise<DatabaseClock> {
  let aheadMs = 0;
  const follow = async (): Promise<void> => {
    const measured = await measureAhead(reading, machine);
    if (Math.abs(measured - aheadMs) >= closeEnoughMs) aheadMs = measured;
  };
  await follow();
  // While the database is unreachable its clock will not have moved.
  const timer = setInterval(() => void follow().catch(() => {}), measuredEveryMs);
  timer.unref();
  return { ...machine, now: () => machine.now() + aheadMs, close: () => clearInterval(timer) };
}

/** Milliseconds, by the sample that took the least time. */
async function measureAhead(reading: Queries, machine: Clock): Promise<number> {
  let best = { tookMs: Number.POSITIVE_INFINITY, aheadMs: 0 };
  for (let sample = 0; sample < samples; sample += 1) {
    const sentAt = machine.now();
    const answer = await reading.get<{ now: number }>(
      'SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8 * 1000 AS now',
    );
    const tookMs = machine.now() - sentAt;
    const aheadMs = Math.round((answer?.now ?? sentAt) - (sentAt + tookMs / 2));
    if (tookMs < best.tookMs) best = { tookMs, aheadMs };
  }
  return best.aheadMs;
}
