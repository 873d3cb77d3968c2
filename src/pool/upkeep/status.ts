import { answering } from '../../core/provider.ts';
import { judge, judgePool, type Readiness } from '../../pool-api/readiness.ts';
import type { StatusAnswer } from '../../pool-api/schema.ts';
import type { Basics } from '../base/basics.ts';
import { isoTime, presentUsage } from '../base/present.ts';
import type { LendingStore } from '../lending/lending-store.ts';
import type { Replenisher } from '../replenish/replenish.ts';
import { usableIn } from '../replenish/reservation.ts';
import type { Stats } from '../store/store.ts';
import { readinessOf } from './readiness.ts';

const hourMs = 3_600_000;

/** How the pool stands, for its owner. */
export async function poolStatus(
  { store, clock, settings, providers }: Basics,
  lending: LendingStore,
  replenisher: Replenisher,
): Promise<StatusAnswer> {
  const now = clock.now();
  const { isSandbox } = lending;
  const stats = await store.stats(now);
  const accounts = readinessOf(stats, true);
  const served = answering(providers.values()).map(({ name }) => name);
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
    reason: isSandbox ? null : reasonOf(accounts, served),
    accounts,
    sandbox: isSandbox,
    forecast: forecastFrom(stats, now),
    sources: await replenisher.sources(),
    timestamp: isoTime(now),
  };
}

function reasonOf(accounts: Readiness, served: readonly string[]): string | null {
  const verdicts = [judgePool(accounts), judge(accounts, served)];
  return verdicts.find((verdict) => !verdict.isReady)?.reason ?? null;
}

/** How long what is left lasts at the rate of the last hour. */
function forecastFrom(stats: Stats, now: number): StatusAnswer['forecast'] {
  const { credits } = stats.lastHour;
  const isKnown = credits > 0 && usableIn(stats) > stats.unmetered;
  const hours = isKnown ? Math.max(0, stats.remaining) / credits : null;
  return {
    remaining: stats.remaining,
    unmetered_accounts: stats.unmetered,
    spent_last_hour: presentUsage(stats.lastHour),
    lasts_hours: hours === null ? null : Math.round(hours * 100) / 100,
    empty_at: hours === null ? null : timeOrNull(now + hours * hourMs),
  };
}

/** Null beyond what a calendar date can hold. */
function timeOrNull(time: number): string | null {
  return Number.isNaN(new Date(time).getTime()) ? null : isoTime(time);
}
