import { LRUCache } from 'lru-cache';
import type { Skip } from '../store/store.ts';

interface NotedSkip {
  readonly at: number;
  /** A word of `Skip`. */
  readonly reason: string;
  readonly sessionId: string;
}

const keptOfAccount = 5;
const keptAccounts = 10_000;

/** Remembers why accounts were lately passed over, for owners who wonder. In memory, bounded both ways. */
export class SkipLog {
  readonly #byAccount = new LRUCache<string, readonly NotedSkip[]>({ max: keptAccounts });

  note(at: number, sessionId: string, skips: readonly Skip[]): void {
    for (const { accountId, reason } of skips) {
      const before = this.of(accountId);
      const last = before[0];
      // One who waits is refused many times over: that is one skip.
      const isSame = last !== undefined && last.sessionId === sessionId && last.reason === reason;
      const noted = [{ at, reason, sessionId }, ...(isSame ? before.slice(1) : before)];
      this.#byAccount.set(accountId, noted.slice(0, keptOfAccount));
    }
  }

  /** The newest first. */
  of(accountId: string): readonly NotedSkip[] {
    return this.#byAccount.get(accountId) ?? [];
  }
}
