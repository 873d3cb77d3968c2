import { PoolError } from '../../pool-api/errors.ts';
import { type RefreshTokensAnswer, refreshTokensRequest } from '../../pool-api/schema.ts';
import { pagesOfAccounts } from '../base/all-accounts.ts';
import type { Basics, Caller } from '../base/basics.ts';
import { parse } from '../base/parse.ts';
import { isoTimeOrNull } from '../base/present.ts';
import type { StoredAccount } from '../store/store.ts';
import type { Refresher } from './refresh.ts';

const pageSize = 500;

/** Refreshes all accounts, those of an e-mail address, or one. Throws PoolError. */
export async function refreshTokens(
  basics: Basics,
  refresher: Refresher,
  caller: Caller,
  request: unknown,
): Promise<RefreshTokensAnswer> {
  const { store, clock } = basics;
  const { email, id, force } = parse(refreshTokensRequest, request === undefined ? {} : request);
  if (force && caller.role !== 'admin') {
    throw new PoolError('forbidden', '"force" needs the admin key.', { param: 'force' });
  }
  const accounts: StoredAccount[] = [];
  if (id === undefined) {
    const filter = { limit: pageSize, ...(email === undefined ? {} : { email }) };
    for await (const page of pagesOfAccounts(basics, filter)) accounts.push(...page);
  } else accounts.push(...[await store.account(clock.now(), id)].filter((one) => one !== null));
  const chosen = accounts.filter(
    (one) => email === undefined || one.email?.toLowerCase() === email.toLowerCase(),
  );
  if (chosen.length === 0 && (id !== undefined || email !== undefined)) {
    const param = id === undefined ? 'email' : 'id';
    throw new PoolError('account_not_found', `There is no account with this ${param}.`, { param });
  }
  if (force) {
    await store.note(clock.now(), {
      actor: caller.keyId,
      action: 'refresh-forced',
      accountId: id ?? null,
      detail: { email: email ?? null, accounts: chosen.length },
    });
  }
  const refreshOne = async (account: StoredAccount): Promise<RefreshTokensAnswer['results'][number]> => {
    const done = await refresher.refreshNow(account.id, { force, actor: caller.keyId });
    const isDone = done.result === 'refreshed';
    return {
      id: account.id,
      email: account.email,
      result: done.result,
      reason: isDone ? null : done.reason,
      next_at: isoTimeOrNull(isDone ? done.account.nextRefreshAt : done.nextAt),
    };
  };
  const results: RefreshTokensAnswer['results'] = [];
  for (let from = 0; from < chosen.length; from += pageSize) {
    results.push(...(await Promise.all(chosen.slice(from, from + pageSize).map(refreshOne))));
  }
  const count = (result: string): number => results.filter((one) => one.result === result).length;
  const counts = { refreshed: count('refreshed'), skipped: count('skipped'), failed: count('failed') };
  return { success: true, ...counts, results };
}
