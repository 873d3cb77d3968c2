import { z } from 'zod';
import { backoffMs, withJitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { beginningOf } from '../lib/shown-text.ts';
import type { Store } from './store/store.ts';
import { changeFact } from './swap-fact.ts';

/** How a source is doing: a fact, so that a restart does not hammer one that fails, and all instances know. */
const sourceState = z.object({
  state: z.enum(['ok', 'backing_off', 'empty']),
  /** Accounts it has brought since it was first configured. */
  added: z.int(),
  /** Draws in a row that failed, or had nothing. */
  inARow: z.int(),
  lastError: z.string().nullable(),
  /** Milliseconds since 1970: not asked before. */
  retryAt: z.number().nullable(),
});
export type SourceState = z.infer<typeof sourceState>;

export interface SourceStates {
  of(source: string): Promise<SourceState>;
  /** `fault` is what was wrong with some of what it gave, or null. */
  succeeded(source: string, added: number, fault: string | null): Promise<void>;
  /** It had nothing; `rests` when it should be left alone for a while. */
  wasEmpty(source: string, fault: string | null, rests: boolean): Promise<void>;
  failed(source: string, added: number, error: string): Promise<void>;
}

const firstDelayMs = 60_000;
const longestDelayMs = 3_600_000;
const longestError = 1000;

const unknown: SourceState = { state: 'ok', added: 0, inARow: 0, lastError: null, retryAt: null };

export function createSourceStates(store: Store, clock: Clock, random: () => number): SourceStates {
  const nameOf = (source: string): string => `source:${source}`;
  const change = (source: string, next: (before: SourceState) => SourceState): Promise<void> =>
    changeFact(store, nameOf(source), async (text) => ({
      value: JSON.stringify(next(stateIn(text))),
      answer: undefined,
    }));
  /** Doubles from a minute to an hour, and lies a little later each time, so that instances do not meet. */
  const later = (times: number): number => {
    const delayMs = withJitter(backoffMs(times - 1, firstDelayMs, longestDelayMs), 1, 1.25, random);
    return Math.round(clock.now() + Math.min(longestDelayMs, delayMs));
  };

  return {
    of: async (source) => stateIn(await store.remembered(nameOf(source))),
    succeeded: (source, added, fault) =>
      change(source, (before) => ({
        state: 'ok',
        added: before.added + added,
        inARow: 0,
        lastError: shortened(fault),
        retryAt: null,
      })),
    wasEmpty: (source, fault, rests) =>
      change(source, (before) => {
        const inARow = before.state === 'empty' && rests ? before.inARow + 1 : 1;
        return {
          state: 'empty',
          added: before.added,
          inARow,
          // What was wrong with some of what it gave stays to be seen; that it had failed is over.
          lastError: shortened(fault ?? (before.state === 'backing_off' ? null : before.lastError)),
          retryAt: rests ? later(inARow) : null,
        };
      }),
    failed: (source, added, error) =>
      change(source, (before) => {
        const inARow = before.state === 'backing_off' ? before.inARow + 1 : 1;
        return {
          state: 'backing_off',
          added: before.added + added,
          inARow,
          lastError: shortened(error),
          retryAt: later(inARow),
        };
      }),
  };
}

function stateIn(text: string | null): SourceState {
  return text === null ? unknown : sourceState.parse(JSON.parse(text));
}

function shortened(text: string | null): string | null {
  return text && beginningOf(text, longestError);
}
