import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import type { StoredResponses } from './stored-responses.ts';

export interface HeartbeatOptions {
  readonly responses: StoredResponses;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often the store is asked whether another instance has cancelled a response that is made here. */
export const heartbeatMs = 2_000;
/** How long a response counts as alive after its last heartbeat. */
export const aliveMs = 30_000;

/** Marks a response as alive in the store, and reads there whether it is to be cancelled, until the returned function is called. */
export function startHeartbeat(
  { responses, clock, logger }: HeartbeatOptions,
  clientId: string,
  id: string,
  onCancel: () => void,
): () => void {
  let isOver = false;
  let beatsLeft = 0;
  let cancelNext = clock.after(heartbeatMs, next);
  function next(): void {
    void look();
    if (!isOver) cancelNext = clock.after(heartbeatMs, next);
  }
  async function look(): Promise<void> {
    try {
      beatsLeft -= 1;
      if (beatsLeft <= 0) {
        beatsLeft = aliveMs / heartbeatMs / 3;
        await responses.mark(clientId, id, 'alive', aliveMs);
      }
      if (await responses.isMarked(clientId, id, 'cancel')) onCancel();
    } catch (error) {
      logger.debug({ err: error }, 'the store did not say whether a response is to be cancelled');
    }
  }
  return () => {
    isOver = true;
    cancelNext();
  };
}
