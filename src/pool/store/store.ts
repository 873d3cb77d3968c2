import type { Clock } from '../../lib/clock.ts';
import type { Changes } from './stored-account.ts';
import type { stats } from './verbs/counts.ts';
import type { storeVerbs } from './verbs/store-verbs.ts';

/** Times are milliseconds since 1970 by `Store.clock`. `now` comes from the caller, who reads that clock. */

export type * from './leases.ts';
export type * from './refresh-journal.ts';
export type * from './stored-account.ts';

export type Stats = Awaited<ReturnType<typeof stats>>;

/** What the instances on one database notify each other of. */
export type News =
  | { readonly type: 'changes'; readonly changes: Changes }
  | { readonly type: 'removed'; readonly id: string; readonly provider: string }
  | { readonly type: 'wanted'; readonly accountIds: readonly string[] };

export interface AuditEntry {
  /** A key id, `housekeeper`, `environment`, … */
  readonly actor: string;
  readonly action: string;
  readonly accountId: string | null;
  /** Never a secret. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/**
 * Where accounts, sessions and leases live. Every verb is one transaction. Before it answers, a verb that reads or
 * claims ends the sessions, cooldowns and exhaustions whose time has come. What each does is said where it is written.
 */
export type StoreVerbs = ReturnType<typeof storeVerbs>;

export interface Store extends StoreVerbs {
  /** The time of everything in it: the database server's where several processes may share it, else the machine's. */
  readonly clock: Clock;
  /** Several processes may work on it at once. */
  readonly isShared: boolean;
  /** False while its server does not answer. */
  readonly isReachable: boolean;
  /** The processes that have the database open now, this one too; empty where only one can. */
  holders(): Promise<readonly string[]>;
  /** News of other instances on the same database; a database of one process has none. */
  listen(listener: (news: News) => void): void;
  /** Notifies the other instances. The store itself sends the changes that a verb answered. */
  tell(news: News): Promise<void>;
}
