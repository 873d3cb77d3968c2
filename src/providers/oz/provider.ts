import { AppError } from '../../core/errors.ts';
import type { CallingProvider, ProviderModel, QuotaAnswer, TurnCaller } from '../../core/provider.ts';
import { within } from '../../lib/clock.ts';
import { BackgroundTasks } from '../../lib/tasks.ts';
import type { ProviderContext } from '../definition.ts';
import { standIns, withheldFor } from '../warp/models.ts';
import { normalizeWarpKey } from '../warp/provider.ts';
import { createOzClients, type OzClients, type OzModels, readModels } from './calls.ts';
import { errorFromOz } from './failures.ts';
import { defaultModel, imageLimits, type RunOptions, startRun } from './run.ts';

/** As the environment has them. */
export interface OzSettings {
  /** Warp's server: the documented API lies below it. */
  readonly WARP_SERVER_URL: string;
  /** The cloud environment that runs work in; undefined: the vendor's plain one. */
  readonly OZ_ENVIRONMENT_ID?: string | undefined;
  readonly OZ_RUN_TIMEOUT_SECONDS: number;
}

/** How long a closing process waits for the cancelling of its runs. */
const closeWithinMs = 5_000;

/** Warp's accounts over the API that Warp documents: cloud agent runs, begun and looked at. */
export function createOzProvider(
  { http, userAgent, clock, logger }: ProviderContext,
  settings: OzSettings,
  random = Math.random,
): CallingProvider {
  const { WARP_SERVER_URL: serverUrl } = settings;
  const clients = createOzClients({ serverUrl, http, userAgent });
  return {
    name: 'oz',
    normalizeApiKey: normalizeWarpKey,
    caller: createCaller({
      clients,
      environmentId: settings.OZ_ENVIRONMENT_ID,
      runTimeoutMs: settings.OZ_RUN_TIMEOUT_SECONDS * 1_000,
      runUrlOf: (runId) => runUrl(serverUrl, runId),
      clock,
      random,
      logger,
    }),
    listModels: async ({ bearer }, signal) => modelsFrom(await askModels(clients, bearer, signal)),
    fallbackModels: [{ id: defaultModel, displayName: defaultModel }],
    standIns,
    getQuota: async ({ bearer }, signal) => quotaFrom(await askModels(clients, bearer, signal)),
  };
}

function createCaller(options: RunOptions): TurnCaller {
  const running = new BackgroundTasks();
  return {
    images: imageLimits,
    capabilities: new Set(),
    start(call) {
      const run = startRun(options, call);
      running.add(run.ended);
      return run.call;
    },
    async close() {
      await within(running.ended(), options.clock, closeWithinMs);
    },
  };
}

/** No call says what is left; this one proves the key, and costs nothing. */
async function askModels(clients: OzClients, bearer: string, signal?: AbortSignal): Promise<OzModels> {
  try {
    return await readModels(await clients(bearer), signal);
  } catch (thrown) {
    if (signal?.aborted) throw new AppError('cancelled', 'The request was cancelled.', { cause: thrown });
    throw errorFromOz(thrown);
  }
}

/** The team's default first, under the name that means just that. */
function modelsFrom({ models }: OzModels): ProviderModel[] {
  return [
    { id: defaultModel, displayName: defaultModel, isDefault: true },
    ...models.filter(({ id }) => id !== defaultModel).map(toModel),
  ];
}

function toModel(model: OzModels['models'][number]): ProviderModel {
  const vendor = model.provider?.toLowerCase();
  return {
    id: model.id,
    ...(model.display_name && { displayName: model.display_name }),
    ...(model.description && { description: model.description }),
    ...(typeof model.vision_supported === 'boolean' && { hasVision: model.vision_supported }),
    ...(vendor && vendor !== 'unknown' && { vendor }),
    ...(model.reasoning_level && { effort: model.reasoning_level.toLowerCase() }),
    ...(model.disable_reason && { withheld: withheldFor(model.disable_reason) }),
  };
}

/** The list says of each model why it may not be used: when that is the quota for all of them, there is none left. */
function quotaFrom({ models }: OzModels): QuotaAnswer {
  const allowed = models.filter((model) => model.disable_reason !== 'ADMIN_DISABLED');
  const isSpent = allowed.length > 0 && allowed.every((model) => model.disable_reason === 'OUT_OF_REQUESTS');
  return isSpent
    ? { isUnlimited: false, remaining: 0, isAvailable: false, denialReason: 'OUT_OF_REQUESTS' }
    : { isUnlimited: false };
}

/** The vendor shows the runs of `app.` under `oz.`; of another host that is not known. */
function runUrl(serverUrl: string, runId: string): string | undefined {
  const { protocol, host } = new URL(serverUrl);
  return host.startsWith('app.')
    ? `${protocol}//oz.${host.slice('app.'.length)}/runs/${encodeURIComponent(runId)}`
    : undefined;
}
