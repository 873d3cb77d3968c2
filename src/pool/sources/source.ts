import type { Login } from '../../pool-api/schema.ts';
import type { StoredAccount } from '../store/store.ts';
import type { Batch } from './batch.ts';

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

/** Where replenishing fetches accounts from. No source signs anybody up anywhere. */
export interface Source {
  /** Unique among the sources. Stands in an account's `source`. */
  readonly name: string;
  readonly type: string;
  /** Asking costs something, so that one that had nothing is left alone for a while. */
  readonly restsWhenEmpty: boolean;
  /** Brings in up to as many accounts as are wanted. Throws SourceError when the source as a whole failed. */
  fetch(batch: Batch): Promise<void>;
  /** Finishes what an earlier process, or an earlier attempt, left undone. Called at the start and every minute. */
  recover?(): Promise<void>;
  /** A login that waits for a person on this source's behalf. */
  pendingLogin?(): Promise<Login | null>;
  /** Calls back when there may be something new to fetch. The answer stops that. */
  watch?(onNews: () => void): () => void;
  /** An account of this source was removed: a source that made its credential deletes it at the provider. */
  removed?(account: StoredAccount): Promise<void>;
}

/** Why a source could not be fetched from. The message is shown to owners; it holds no secret. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}
