import type { Limit } from '../../lib/tasks.ts';
import { PoolError } from '../../pool-api/errors.ts';
import {
  type BulkAnswer,
  bulkRequest,
  type RefreshTokensAnswer,
  refreshTokensRequest,
} from '../../pool-api/owner-schema.ts';
import { refusalOf } from '../../pool-api/readiness.ts';
import { type Basics, type Caller, pagesOfAccounts } from '../base/basics.ts';
import { accountNotFound } from '../base/failures.ts';
import { isoTimeOrNull, parse } from '../base/present.ts';
import { isOutOfService } from '../standing/standing.ts';
import type { StoredAccount } from '../store/store.ts';
import type { Refresher } from '../tokens/refresh.ts';
import { hasBearer } from '../vault/vault.ts';
import type { Accounts } from './accounts.ts';
import type { Quota } from './quota.ts';

interface Tools {
  readonly basics: Basics;
  readonly accounts: Accounts;
  readonly quota: Quota;
  readonly refresher: Refresher;
  /** How many accounts are worked on at a time. */
  readonly limit: Limit;
}

type Done = Pick<BulkAnswer['results'][number], 'result' | 'reason'>;
type Demand = ReturnType<typeof bulkRequest.parse>;

const queryLimitMs = 5_000;
/** Who asks a provider more often than this about one account gets the figures that are there. */
const leastCheckIntervalMs = 10_000;

const done: Done = { result: 'done', reason: null };
const skipped = (reason: string): Done => ({ result: 'skipped', reason });
const failed = (reason: string): Done => ({ result: 'failed', reason });

/** Does the same to many accounts, each on its own: one that fails keeps no other from it. Throws PoolError. */
export async function changeMany(tools: Tools, caller: Caller, request: unknown): Promise<BulkAnswer> {
  const demand = parse(bulkRequest, request);
  const ids = [...new Set(demand.ids)];
  const results = await Promise.all(
    ids.map((id) => tools.limit(async () => ({ id, ...(await changeOne(tools, caller, id, demand)) }))),
  );
  const count = (kind: Done['result']): number => results.filter(({ result }) => result === kind).length;
  const counts = { done: count('done'), skipped: count('skipped'), failed: count('failed') };
  return { success: true, ...counts, results };
}

async function changeOne(
  tools: Tools,
  caller: Caller,
  id: string,
  { action, settings }: Demand,
): Promise<Done> {
  const { basics, accounts, refresher } = tools;
  try {
    const account = await basics.store.account(basics.clock.now(), id);
    if (account === null) throw accountNotFound(id);
    const { state } = account.standing;
    switch (action) {
      case 'enable':
        if (state !== 'standby' && !isOutOfService(account.standing)) return skipped(`is ${state} already`);
        return await enable(accounts, caller, id);
      case 'disable':
        if (state === 'disabled') return skipped('is disabled already');
        await accounts.change(caller, id, { enabled: false });
        return done;
      case 'remove':
        await accounts.remove(caller, id);
        return done;
      case 'set':
        await accounts.change(caller, id, settings);
        return done;
      case 'check':
        return await check(tools, account);
      case 'refresh': {
        const answer = await refresher.refreshNow(id, { force: false, actor: caller.keyId });
        return answer.result === 'refreshed' ? done : { result: answer.result, reason: answer.reason };
      }
    }
  } catch (error) {
    if (error instanceof PoolError) return failed(error.message);
    throw error;
  }
}

async function enable(accounts: Accounts, caller: Caller, id: string): Promise<Done> {
  const { account } = await accounts.change(caller, id, { enabled: true });
  const refusal = refusalOf(account);
  return refusal === undefined ? done : failed(refusal);
}

async function check({ basics, quota }: Tools, account: StoredAccount): Promise<Done> {
  const { clock } = basics;
  const { id, standing, probe } = account;
  const now = clock.now();
  if (isOutOfService(standing)) return skipped(`is ${standing.state}: enabling it asks its provider`);
  if (standing.state === 'standby') return skipped('is in standby: enabling it asks its provider');
  if (!hasBearer(account, now)) return skipped('has no access token at the moment');
  if (account.quota !== null && account.quota.checkedAt > now - leastCheckIntervalMs) {
    return skipped('was asked about a moment ago');
  }
  const after = await quota.check(account, probe === 'proved' ? 'recheck' : 'proof', queryLimitMs);
  if (after === null) throw accountNotFound(id);
  const refusal = isOutOfService(after.standing) ? after.standing.reason : null;
  if (refusal !== null) return failed(`its provider refuses it: ${refusal}`);
  const isAnswered = after.quota !== null && after.quota.checkedAt >= now;
  return isAnswered ? done : failed('its provider did not say what is left; the log has the details');
}

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
