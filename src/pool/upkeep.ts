import { answering } from '../core/provider.ts';
import { PoolError } from '../pool-api/errors.ts';
import { judge, judgePool, type Readiness } from '../pool-api/readiness.ts';
import {
  type RefreshTokensAnswer,
  type ReplenishAnswer,
  refreshTokensRequest,
  replenishRequest,
  type StatusAnswer,
} from '../pool-api/schema.ts';
import { forecastFrom } from './forecast.ts';
import { parse } from './parse.ts';
import type { Caller, PoolContext } from './pool-context.ts';
import { isoTime } from './present.ts';
import { readinessOf } from './readiness.ts';
import type { Replenisher } from './replenish.ts';
import { usableIn } from './room.ts';
import type { Stats, StoredAccount } from './store/store.ts';

/** What keeps the pool filled and fresh, and how it stands. */
export interface Upkeep {
  status(): Promise<StatusAnswer>;
  replenish(caller: Caller, request: unknown): Promise<ReplenishAnswer>;
  refreshTokens(caller: Caller, request: unknown): Promise<RefreshTokensAnswer>;
}

const pageSize = 500;

export function createUpkeep(context: PoolContext, replenisher: Replenisher): Upkeep {
  const { store, clock, settings } = context;
  const served = answering(context.providers.values()).map(({ name }) => name);

  const allAccounts = async (email: string | undefined): Promise<StoredAccount[]> => {
    const found: StoredAccount[] = [];
    let after: number | null = 0;
    while (after !== null) {
      const page = await store.accounts(clock.now(), {
        limit: pageSize,
        after,
        ...(email === undefined ? {} : { email }),
      });
      found.push(...page.accounts);
      after = page.nextAfter;
    }
    return found;
  };

  const refreshOne = async (
    caller: Caller,
    { id, email }: StoredAccount,
    force: boolean,
  ): Promise<RefreshTokensAnswer['results'][number]> => {
    const done = await context.refreshNow(id, { force, actor: caller.keyId });
    const nextAt = done.result === 'refreshed' ? done.account.nextRefreshAt : done.nextAt;
    return {
      id,
      email,
      result: done.result,
      reason: done.result === 'refreshed' ? null : done.reason,
      next_at: nextAt === null ? null : isoTime(nextAt),
    };
  };

  /** `low` says that filling is called for and may help: without a source nothing can be done about it. */
  const healthOf = (stats: Stats): StatusAnswer['health'] => {
    if (stats.available === 0) return 'critical';
    return usableIn(stats) < settings.minPoolSize && replenisher.hasSource(stats) ? 'low' : 'healthy';
  };

  return {
    async status() {
      const now = clock.now();
      const lending = context.lending();
      const stats = await store.stats(now);
      const isSandbox = lending !== store;
      const accounts = readinessOf(stats, true);
      const sessions = isSandbox ? (await lending.stats(now)).sessions : stats.sessions;
      return {
        pool_stats: {
          total: stats.total,
          available: stats.available,
          in_use: stats.inUse,
          standby: stats.standby,
          cooldown: stats.cooldown,
          exhausted: stats.exhausted,
          reauth_required: stats.reauthRequired,
          disabled: stats.disabled,
        },
        active_sessions: sessions,
        running: true,
        min_pool_size: settings.minPoolSize,
        max_pool_size: settings.maxPoolSize,
        health: healthOf(stats),
        reason: isSandbox ? null : reasonOf(accounts, served),
        accounts,
        sandbox: isSandbox,
        forecast: forecastFrom(stats, now),
        sources: await replenisher.sources(),
        timestamp: isoTime(now),
      };
    },

    async replenish(caller, request) {
      const { count } = parse(replenishRequest, request === undefined ? {} : request);
      return replenisher.replenish(count, caller.keyId);
    },

    async refreshTokens(caller, request) {
      const { email, id, force } = parse(refreshTokensRequest, request === undefined ? {} : request);
      if (force && caller.role !== 'admin') {
        throw new PoolError('forbidden', '"force" needs the admin key.', { param: 'force' });
      }
      const accounts =
        id === undefined
          ? await allAccounts(email)
          : [await store.account(clock.now(), id)].filter((one) => one !== null);
      const chosen = email === undefined ? accounts : accounts.filter((one) => sameEmail(one.email, email));
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
      const results: RefreshTokensAnswer['results'] = [];
      for (let from = 0; from < chosen.length; from += pageSize) {
        const page = chosen.slice(from, from + pageSize);
        results.push(...(await Promise.all(page.map((account) => refreshOne(caller, account, force)))));
      }
      const count = (result: string): number => results.filter((one) => one.result === result).length;
      return {
        success: true,
        refreshed: count('refreshed'),
        skipped: count('skipped'),
        failed: count('failed'),
        results,
      };
    },
  };
}

function reasonOf(accounts: Readiness, served: readonly string[]): string | null {
  const verdicts = [judgePool(accounts), judge(accounts, served)];
  return verdicts.find((verdict) => !verdict.isReady)?.reason ?? null;
}

function sameEmail(one: string | null, other: string): boolean {
  return one?.toLowerCase() === other.toLowerCase();
}
