import type { Basics } from '../base/basics.ts';
import type { StoredAccount } from '../store/store.ts';

export interface Origin {
  /** What an account's `source` says; unique. */
  readonly name: string;
  /** An account of this source was removed: a source that made its credential deletes it at the provider. */
  removed?(account: StoredAccount): Promise<void>;
}

const mostAtOnce = 20;

/** Removes an account and notifies its holders. Null when there is no such account. */
export async function removeAccount(
  { store, clock, events }: Basics,
  id: string,
  actor: string,
): Promise<StoredAccount | null> {
  const result = await store.removeAccount(clock.now(), id, actor);
  if (result === null) return null;
  const { provider } = result.account;
  events.publish({ type: 'account-removed', account_id: id, provider });
  await store.tell({ type: 'removed', id, provider });
  return result.account;
}

/** The same, and lets the account's source clean up. */
export async function removeFromPool(
  basics: Basics,
  sources: readonly Origin[],
  id: string,
  actor: string,
): Promise<StoredAccount | null> {
  const account = await removeAccount(basics, id, actor);
  if (account === null) return null;
  try {
    await sources.find(({ name }) => name === account.source)?.removed?.(account);
  } catch (error) {
    // The account is gone whatever its source can do about it.
    basics.logger.error({ err: error, account_id: id }, 'an account was removed, but not at its source');
  }
  return account;
}

/** Removes accounts that have been beyond use for too long, a few at a time. */
export async function retireDead(basics: Basics, sources: readonly Origin[]): Promise<void> {
  const { store, clock, logger } = basics;
  const { retireAfterMs } = basics.settings;
  if (retireAfterMs === null) return;
  const now = clock.now();
  for (const { id, standing, provider } of await store.deadAccounts(now, now - retireAfterMs, mostAtOnce)) {
    await removeFromPool(basics, sources, id, 'housekeeper');
    logger.info(
      { account_id: id, provider, status: standing.state },
      'an account was beyond use for too long and is removed',
    );
  }
}
