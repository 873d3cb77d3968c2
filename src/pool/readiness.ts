import type { Readiness } from '../pool-api/readiness.ts';
import { reasonFor } from './store/lease-rules.ts';
import type { Stats } from './store/store.ts';

/** How all accounts stand to one who would share one of them for a turn. */
export function readinessOf(
  { kinds, freeQuotaSpent }: Pick<Stats, 'kinds' | 'freeQuotaSpent'>,
  isGateway: boolean,
): Readiness {
  const asked = {
    demand: { owner: { isGateway }, model: null, exclusive: false, slots: 1 },
    excluded: new Set<string>(),
    counted: new Set<string>(),
    spent: new Set(freeQuotaSpent),
  };
  const providers: Record<string, Record<string, number>> = {};
  for (const { provider, number, kind, accounts } of kinds) {
    const row = { id: '', provider, models: null, capacity: 1, shared_slots: 0, kind: number };
    const reason = reasonFor(row, asked);
    // One that is busy with turns of others serves as well.
    const isBusy = (reason === 'leased' || reason === 'half_open') && !kind.exclusivelyHeld;
    const isOpen = isBusy || reason === 'open';
    const word = isOpen ? (kind.modelsLimited ? 'open_for_models' : 'open') : reason;
    const counts = providers[provider] ?? {};
    providers[provider] = { ...counts, [word]: (counts[word] ?? 0) + accounts };
  }
  return providers;
}
