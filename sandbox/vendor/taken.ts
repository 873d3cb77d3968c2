import { setTimeout as delay, setImmediate as nextRound } from 'node:timers/promises';

/**
 * Some time, in which the reader has what was written. Where it runs in this process, as in tests, a busy machine may give the
 * time to others: each round of the event loop lets it read what has arrived.
 */
export async function taken(afterMs = 50): Promise<void> {
  await delay(afterMs);
  for (let round = 0; round < 20; round += 1) await nextRound();
}
