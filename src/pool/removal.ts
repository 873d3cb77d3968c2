import type { PoolContext } from './pool-context.ts';
import type { StoredAccount } from './store/store.ts';

const mostAtOnce = 20;

/** Removes an account, tells whoever held it, and lets its source clean up. Null when there is no such account. */
export async function removeFromPool(
  context: PoolContext,
  id: string,
  actor: string,
): Promise<StoredAccount | null> {
  const result = await context.store.removeAccount(context.clock.now(), id, actor);
  if (result === null) return null;
  const { account } = result;
  context.events.publish({ type: 'account-removed', account_id: id, provider: account.provider });
  context.tell(result.changes);
  await context.store.tell({ type: 'removed', id, provider: account.provider });
  for (const clean of context.onRemoved) {
    // The account is gone whatever its source can do about it.
    await clean(account).catch((error: unknown) =>
      context.logger.error({ err: error, account_id: id }, 'an account was removed, but not at its source'),
    );
  }
  return account;
}

/** Removes accounts that have been beyond use for too long, a few at a time. */
export async function retireDead(context: PoolContext): Promise<void> {
  const { retireAfterMs } = context.settings;
  if (retireAfterMs === null) return;
  const now = context.clock.now();
  const dead = await context.store.deadAccounts(now, now - retireAfterMs, mostAtOnce);
  for (const { id, standing, provider } of dead) {
    await removeFromPool(context, id, 'housekeeper');
    context.logger.info(
      { account_id: id, provider, status: standing.state },
      'an account was beyond use for too long and is removed',
    );
  }
}
