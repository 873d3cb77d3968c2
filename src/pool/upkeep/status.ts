import { givenFields } from '../../core/null-fields.ts';
import { answering } from '../../core/provider.ts';
import { type AuditAnswer, auditQuery, type StatusAnswer } from '../../pool-api/owner-schema.ts';
import type { PoolHealth } from '../../pool-api/pool.ts';
import { judge, judgePool, type Readiness } from '../../pool-api/readiness.ts';
import type { Basics } from '../base/basics.ts';
import { logFailure } from '../base/failures.ts';
import type { StoreHealth } from '../base/observed-store.ts';
import { isoTime, isoTimeOrNull, parse, presentUsage } from '../base/present.ts';
import type { LendingStore } from '../lending/lending-store.ts';
import { usableIn } from '../replenish/batch.ts';
import type { Replenisher } from '../replenish/replenish.ts';
import { candidateOf, reasonFor, sharer } from '../store/rules/leasing.ts';
import type { Stats, Store } from '../store/store.ts';

/** How all accounts stand to one who would share one of them for a turn. */
function readinessOf(
  { kinds, freeQuotaSpent }: Pick<Stats, 'kinds' | 'freeQuotaSpent'>,
  isGateway: boolean,
): Readiness {
  const asked = sharer(isGateway, freeQuotaSpent);
  const providers: Record<string, Record<string, number>> = {};
  for (const { provider, number, kind, accounts } of kinds) {
    const reason = reasonFor(candidateOf(provider, number), asked);
    // One that is busy with turns of others serves as well.
    const isBusy = (reason === 'leased' || reason === 'half_open') && !kind.exclusivelyHeld;
    const isOpen = isBusy || reason === 'open';
    const word = isOpen ? (kind.modelsLimited ? 'open_for_models' : 'open') : reason;
    const counts = providers[provider] ?? {};
    providers[provider] = { ...counts, [word]: (counts[word] ?? 0) + accounts };
  }
  return providers;
}

export async function poolHealth(
  { store, logger }: Basics,
  storeHealth: StoreHealth,
  isSandbox: boolean,
  isGateway: boolean,
): Promise<PoolHealth> {
  const withoutStore = {
    isReachable: false,
    lacksStore: true,
    isSandbox,
    providers: undefined,
    gatewayOnly: 0,
    isReadOnly: true,
  };
  try {
    const found = await storeHealth.look(store);
    if (found === undefined) return withoutStore;
    const { stats } = found;
    return {
      isReachable: true,
      isSandbox,
      providers: stats?.byProvider
        .filter(
          ({ states: { active, cooldown, exhausted, standby } }) =>
            active + cooldown + exhausted + standby > 0,
        )
        .map((one) => one.provider),
      accounts: stats && readinessOf(stats, isGateway),
      gatewayOnly: stats?.gatewayOnly ?? 0,
      isReadOnly: storeHealth.isFailing,
    };
  } catch (error) {
    logFailure(logger, error, 'the store does not answer');
    return withoutStore;
  }
}

const hourMs = 3_600_000;

export async function poolStatus(
  { store, clock, settings, providers }: Basics,
  lending: LendingStore,
  replenisher: Replenisher,
): Promise<StatusAnswer> {
  const now = clock.now();
  const { isSandbox } = lending;
  const stats = await store.stats(now);
  const isSomeOut = stats.cooldown + stats.exhausted > 0;
  const backAt = isSomeOut ? await store.nextBack(now) : null;
  const resetsAt = await store.nextReset(now);
  const accounts = readinessOf(stats, true);
  const served = answering(providers.values()).map(({ name }) => name);
  const notReady = [judgePool(accounts), judge(accounts, served)].find((verdict) => !verdict.isReady);
  const sessions = isSandbox ? (await lending.current.stats(now)).sessions : stats.sessions;
  // `low` says that filling is called for and may help: without a source nothing can be done about it.
  const isLow = usableIn(stats) < settings.minPoolSize && replenisher.hasSource(stats);
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
    health: stats.available === 0 ? 'critical' : isLow ? 'low' : 'healthy',
    reason: isSandbox ? null : (notReady?.reason ?? null),
    accounts,
    sandbox: isSandbox,
    forecast: {
      ...forecastFrom(stats, now),
      next_back_at: isoTimeOrNull(backAt),
      next_reset_at: isoTimeOrNull(resetsAt),
    },
    sources: await replenisher.sources(),
    timestamp: isoTime(now),
  };
}

function forecastFrom(stats: Stats, now: number): StatusAnswer['forecast'] {
  const { credits } = stats.lastHour;
  const isKnown = credits > 0 && usableIn(stats) > stats.unmetered;
  const hours = isKnown ? Math.max(0, stats.remaining) / credits : null;
  const emptyAt = new Date(now + (hours ?? 0) * hourMs);
  return {
    remaining: stats.remaining,
    unmetered_accounts: stats.unmetered,
    spent_last_hour: presentUsage(stats.lastHour),
    lasts_hours: hours === null ? null : Math.round(hours * 100) / 100,
    // Null beyond what a calendar date can hold.
    empty_at: hours === null || Number.isNaN(emptyAt.getTime()) ? null : emptyAt.toISOString(),
  };
}

/** The trail of changes and forced actions, for the pool's owner: the newest first, page by page. Throws PoolError. */
export async function auditTrail(store: Store, query: unknown): Promise<AuditAnswer> {
  const { limit, before, account_id: accountId } = parse(auditQuery, givenFields(query));
  const entries = await store.auditTrail({ limit, before, accountId });
  const last = entries.at(-1);
  return {
    success: true,
    entries: entries.map((entry) => ({
      seq: entry.seq,
      at: isoTime(entry.at),
      actor: entry.actor,
      action: entry.action,
      account_id: entry.accountId,
      detail: { ...entry.detail },
    })),
    next_before: entries.length < limit || last === undefined ? null : last.seq,
  };
}
