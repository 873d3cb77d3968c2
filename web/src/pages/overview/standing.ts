import type { z } from 'zod';
import type { UsageFigures, UsageMinutes, UsageReport } from '../../../../src/core/shown-usage.ts';
import type { healthAnswer } from '../../../../src/gateway/http/api-answers.ts';
import type { Account, ListAnswer } from '../../../../src/pool-api/account-schema.ts';
import type { StatusAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { ApiError, api, type Loaded, useLoaded } from '../../api.ts';
import { accountChanges, turnChanges } from '../../live.ts';
import { session } from '../../session.ts';

type Health = z.infer<typeof healthAnswer>;

/** How the pool and the gateway are doing. */
export interface Standing {
  readonly health: Health | undefined;
  readonly status: StatusAnswer | undefined;
  /** Why the pool said nothing. */
  readonly poolFault: string | undefined;
  /** Those that only their owner can bring back. */
  readonly broken: readonly Account[];
}

const everyMs = 15_000;

export function useStanding(): Loaded<Standing> {
  const isGateway = session.value?.service === 'gateway';
  return useLoaded(
    async (abort) => {
      const [health, pool] = await Promise.all([
        isGateway ? api.get<Health>('/health', {}, abort) : undefined,
        poolStanding(abort).catch((error: unknown) => {
          if (error instanceof ApiError && error.code !== 'unreachable') return error.message;
          throw error;
        }),
      ]);
      if (typeof pool !== 'string') return { health, ...pool, poolFault: undefined };
      return { health, status: undefined, poolFault: pool, broken: [] };
    },
    [isGateway],
    everyMs,
    () => accountChanges.value,
  );
}

async function poolStanding(abort: AbortSignal) {
  const status = await api.get<StatusAnswer>('/api/accounts/status', {}, abort);
  const query = { status: 'reauth_required', limit: 5 };
  const isSomeBroken = status.pool_stats.reauth_required > 0;
  const broken = isSomeBroken ? (await api.get<ListAnswer>('/api/accounts', query, abort)).accounts : [];
  return { status, broken };
}

/** Of the viewer's day. */
export function useToday(): Loaded<UsageFigures> {
  return useLoaded(
    async (abort) => {
      const tz = Intl.DateTimeFormat().resolvedOptions().timeZone;
      const { total } = await api.get<UsageReport>('/api/usage', { period: 'today', tz }, abort);
      return total;
    },
    [],
    60_000,
  );
}

/** The turns of the last half hour. */
export function useMinutes(): Loaded<UsageMinutes['minutes']> {
  return useLoaded(
    async (abort) => (await api.get<UsageMinutes>('/api/usage/minutes', {}, abort)).minutes,
    [],
    everyMs,
    () => turnChanges.value,
  );
}
