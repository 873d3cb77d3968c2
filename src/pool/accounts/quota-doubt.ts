import type { Clock } from '../../lib/clock.ts';
import type { QuotaFinding } from '../standing/account-state.ts';

const withinMs = 10 * 60_000;
const accountsUntilDoubt = 3;

/**
 * Quota signals for which the provider gave no figures. Where several accounts of a provider have them within minutes, it
 * is the provider that is in doubt, and only figures are believed.
 */
export class QuotaDoubt {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** By provider: when each account last had one. */
  readonly #seen = new Map<string, Map<string, number>>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  judged(account: { readonly id: string; readonly provider: string }, finding: QuotaFinding): QuotaFinding {
    const seen = this.#seen.get(account.provider) ?? new Map<string, number>();
    this.#seen.set(account.provider, seen);
    const now = this.#clock.monotonic();
    for (const [id, at] of seen) if (now - at >= withinMs) seen.delete(id);
    if (finding.type === 'answer') {
      seen.delete(account.id);
      return finding;
    }
    seen.set(account.id, now);
    return { ...finding, isWidespread: seen.size >= accountsUntilDoubt };
  }
}
