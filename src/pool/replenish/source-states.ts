import { z } from 'zod';
import { backoffMs, withJitter } from '../../lib/backoff.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import type { Basics } from '../base/basics.ts';
import { compareAndSet } from '../base/facts.ts';

/** How a source is doing: a fact, so that a restart does not hammer one that fails, and all instances know. */
const sourceState = z.object({
  state: z.enum(['ok', 'backing_off', 'empty']),
  /** Accounts it has brought since it was first configured. */
  added: z.int(),
  /** Calls in a row that failed, or had nothing. */
  inARow: z.int(),
  lastError: z.string().nullable(),
  /** Milliseconds since 1970: not asked before. */
  retryAt: z.number().nullable(),
});
type SourceState = z.infer<typeof sourceState>;

const firstDelayMs = 60_000;
const longestDelayMs = 3_600_000;
const longestError = 1000;

const unknown: SourceState = { state: 'ok', added: 0, inARow: 0, lastError: null, retryAt: null };

export class SourceStates {
  readonly #basics: Pick<Basics, 'store' | 'clock' | 'random'>;

  constructor(basics: Pick<Basics, 'store' | 'clock' | 'random'>) {
    this.#basics = basics;
  }

  async of(source: string): Promise<SourceState> {
    return stateIn(await this.#basics.store.remembered(factOf(source)));
  }

  /** `fault` is what was wrong with some of what it gave, or null. */
  succeeded(source: string, added: number, fault: string | null): Promise<void> {
    return this.#change(source, (before) => ({
      state: 'ok',
      added: before.added + added,
      inARow: 0,
      lastError: fault,
      retryAt: null,
    }));
  }

  /** It had nothing; `rests` when it should be left alone for a while. */
  wasEmpty(source: string, fault: string | null, rests: boolean): Promise<void> {
    return this.#change(source, (before) => {
      const inARow = before.state === 'empty' && rests ? before.inARow + 1 : 1;
      return {
        state: 'empty',
        added: before.added,
        inARow,
        // What was wrong with some of what it gave stays to be seen; that it had failed is over.
        lastError: fault ?? (before.state === 'backing_off' ? null : before.lastError),
        retryAt: rests ? this.#later(inARow) : null,
      };
    });
  }

  failed(source: string, added: number, error: string): Promise<void> {
    return this.#change(source, (before) => {
      const inARow = before.state === 'backing_off' ? before.inARow + 1 : 1;
      return {
        state: 'backing_off',
        added: before.added + added,
        inARow,
        lastError: error,
        retryAt: this.#later(inARow),
      };
    });
  }

  #change(source: string, next: (before: SourceState) => SourceState): Promise<void> {
    return compareAndSet(this.#basics.store, factOf(source), async (text) => {
      const { lastError, ...rest } = next(stateIn(text));
      const state = { ...rest, lastError: lastError && beginningOf(lastError, longestError) };
      return { value: JSON.stringify(state), answer: undefined };
    });
  }

  /** Doubles from a minute to an hour, and lies a little later each time, so that instances do not meet. */
  #later(times: number): number {
    const { clock, random } = this.#basics;
    const delayMs = withJitter(backoffMs(times - 1, firstDelayMs, longestDelayMs), 1, 1.25, random);
    return Math.round(clock.now() + Math.min(longestDelayMs, delayMs));
  }
}

const factOf = (source: string): string => `source:${source}`;

function stateIn(text: string | null): SourceState {
  return text === null ? unknown : sourceState.parse(JSON.parse(text));
}
