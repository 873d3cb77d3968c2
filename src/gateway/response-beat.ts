import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import type { StoredResponses } from './stored-responses.ts';

export interface ResponseBeatOptions {
  readonly responses: StoredResponses;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often a response that is made here looks at the store, where other instances leave their word. */
export const beatMs = 2_000;
/** How long one counts as alive of which nothing was heard. */
export const aliveMs = 30_000;

/** Says in the store that a response is being made, and hears there when it is to be cancelled. The answer stops that. */
export function startBeating(
  { responses, clock, logger }: ResponseBeatOptions,
  clientId: string,
  id: string,
  onCancel: () => void,
): () => void {
  let isOver = false;
  let beatsToMark = 0;
  let cancelNext = clock.after(beatMs, next);
  function next(): void {
    void look();
    if (!isOver) cancelNext = clock.after(beatMs, next);
  }
  async function look(): Promise<void> {
    try {
      beatsToMark -= 1;
      if (beatsToMark <= 0) {
        beatsToMark = aliveMs / beatMs / 3;
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
