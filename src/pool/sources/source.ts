import type { Login } from '../../pool-api/schema.ts';

/** What became of one account that a source offered. */
export type Admission =
  | { readonly result: 'added'; readonly id: string }
  /** The pool has this credential already. */
  | { readonly result: 'duplicate'; readonly id: string }
  /** The provider does not take the credential; the account is kept, out of service. */
  | { readonly result: 'rejected'; readonly id: string; readonly reason: string }
  /** It cannot be an account at all, or could not be tried now; nothing was kept. */
  | { readonly result: 'failed'; readonly reason: string }
  /** No more accounts are wanted: nothing was done. */
  | { readonly result: 'no_room' };

/** One call on a source for accounts. */
export interface Draw {
  /** Who asked: a key id, or `housekeeper`. */
  readonly actor: string;
  /** Aborts when the pool closes. */
  readonly signal: AbortSignal;
  /** How many accounts are still wanted, beside those being brought in. */
  wanted(): number;
  /**
   * Runs `bring`, which may bring one account in, when it is its turn and as long as there is room. Counts the result
   * and keeps the reason of a failure, with `label` before it.
   */
  admit(label: string, bring: () => Promise<Admission>): Promise<Admission>;
  /** Runs `bring`, which brings an account into standby, when it is its turn: that takes no room. */
  shelve(label: string, bring: () => Promise<Admission>): Promise<Admission>;
  /** Counts a fault in something that never came to be tried. */
  fault(reason: string): void;
}

/** Where replenishing draws accounts from. No source signs anybody up anywhere. */
export interface Source {
  /** Unique among the sources. Stands in an account's `source`. */
  readonly name: string;
  readonly type: string;
  /** Asking costs something, so that one that had nothing is left alone for a while. */
  readonly restsWhenEmpty: boolean;
  /** Brings in up to as many accounts as are wanted. Throws SourceError when the source as a whole failed. */
  draw(draw: Draw): Promise<void>;
  /** Finishes what an earlier process, or an earlier attempt, left undone. Called at the start and every minute. */
  recover?(): Promise<void>;
  /** A login that waits for a person on this source's behalf. */
  pendingLogin?(): Promise<Login | null>;
  /** Calls back when there may be something new to draw. The answer stops that. */
  watch?(onNews: () => void): () => void;
}

/** Why a source could not be drawn from. The message is shown to owners; it holds no secret. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}
