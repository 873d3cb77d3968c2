import type { Store } from '../store/store.ts';

const mostTries = 1000;

/**
 * Changes a small fact that others change too: reads it, lets `change` decide, and writes only if it still is what was
 * read; otherwise once more from the start. `change` may ask the store; null forgets the fact, undefined leaves it.
 */
export async function compareAndSet<Answer>(
  store: Pick<Store, 'remembered' | 'swapRemembered'>,
  name: string,
  change: (present: string | null) => Promise<{ readonly value?: string | null; readonly answer: Answer }>,
): Promise<Answer> {
  for (let tries = 0; tries < mostTries; tries += 1) {
    const present = await store.remembered(name);
    const { value, answer } = await change(present);
    if (value === undefined || value === present) return answer;
    if (await store.swapRemembered(name, present, value)) return answer;
  }
  throw new Error(`the fact ${name} changes faster than it can be written`);
}
