import type { ProviderModel, UpstreamProvider } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { LeaseCache } from './lease-cache.ts';

export interface ModelList {
  readonly models: readonly ProviderModel[];
  /** False while no account could be asked: then the list is a guess and unknown names may still be right. */
  readonly isProven: boolean;
}

const freshForMs = 10 * 60_000;
const retryAfterMs = 30_000;
/** A turn does not wait longer than this for a list; it goes on with what is known. */
const patienceMs = 3_000;

interface Entry {
  list: ModelList;
  checkAt: number;
  asking: Promise<void> | undefined;
}

/** The providers' model lists, asked through an account of the pool and kept for ten minutes. */
export function createModelLists(leases: LeaseCache, clock: Clock, logger: Logger) {
  const entries = new Map<string, Entry>();

  async function ask(provider: UpstreamProvider, entry: Entry): Promise<void> {
    try {
      const lease = await leases.acquire({
        provider: provider.name,
        model: undefined,
        exclude: new Set(),
        deadline: clock.now(),
        signal: AbortSignal.timeout(10_000),
      });
      try {
        const models = await provider.listModels(lease.account.id_token);
        entry.list = { models, isProven: true };
        entry.checkAt = clock.now() + freshForMs;
      } finally {
        lease.release();
      }
    } catch (error) {
      logger.info(
        { err: error, provider: provider.name },
        'the model list could not be had; the last one stays',
      );
      entry.checkAt = clock.now() + retryAfterMs;
    }
  }

  return {
    /** The list as far as it is known within a few seconds. Never fails. */
    async get(provider: UpstreamProvider): Promise<ModelList> {
      let entry = entries.get(provider.name);
      if (!entry) {
        entry = { list: { models: provider.fallbackModels, isProven: false }, checkAt: 0, asking: undefined };
        entries.set(provider.name, entry);
      }
      if (entry.checkAt > clock.now()) return entry.list;
      const current = entry;
      current.asking ??= ask(provider, current).finally(() => {
        current.asking = undefined;
      });
      // A list that was good ten minutes ago serves while the new one is on its way.
      if (!current.list.isProven) await settledWithin(current.asking, clock, patienceMs);
      return current.list;
    },
  };
}

export type ModelLists = ReturnType<typeof createModelLists>;

async function settledWithin(promise: Promise<void>, clock: Clock, timeoutMs: number): Promise<void> {
  let cancel = () => {};
  const timeout = new Promise<void>((resolve) => {
    cancel = clock.after(timeoutMs, resolve);
  });
  await Promise.race([promise, timeout]);
  cancel();
}
