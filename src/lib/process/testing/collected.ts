import { expect, vi } from 'vitest';
import { collectGarbage } from '../own-turn.ts';

const registry = new FinalizationRegistry<() => void>((collected) => collected());

/** Tells when nothing holds objects any more. A WeakRef would: the job that makes it or looks at it keeps what it leads to. */
export function watchObjects() {
  let watched = 0;
  let collected = 0;
  return {
    add(object: object): void {
      watched += 1;
      registry.register(object, () => {
        collected += 1;
      });
    },
    /** Once so many have been watched and collected. */
    async gone(count: number): Promise<void> {
      expect(watched).toBe(count);
      await vi.waitFor(() => {
        // What V8's own caches keep is to go, too.
        collectGarbage({ flavor: 'last-resort' });
        expect(collected).toBe(count);
      });
    },
  };
}
