import { defaultSettings } from './account-settings.ts';
import { freshStanding } from './account-state.ts';
import type { PoolContext } from './pool-context.ts';
import { credentialField } from './pool-context.ts';
import { openMemoryStore } from './store/open-store.ts';
import type { Store } from './store/store.ts';

const provider = 'sandbox';
const accountCount = 5;
const capacity = 64;
const longestRestMs = 5000;

/** A store with the built-in accounts, which let a newcomer try the services before owning an account. */
export async function openSandboxStore(context: Pick<PoolContext, 'vault' | 'clock'>): Promise<Store> {
  const { vault, clock } = context;
  const store = openMemoryStore(clock.now(), { clock, longestRestMs, auditsLeases: false });
  for (let number = 1; number <= accountCount; number += 1) {
    const id = `acc_sandbox_${number}`;
    const key = `wk-sandbox-${number}`;
    await store.addAccount(
      clock.now(),
      {
        id,
        provider,
        ...defaultSettings,
        email: `sandbox-${number}@example.invalid`,
        label: 'built-in sandbox',
        capacity,
        source: 'sandbox',
        credentialKind: 'api_key',
        credential: {
          sealed: vault.seal(id, credentialField, key),
          fingerprint: vault.fingerprint(provider, key),
          hint: `****`,
        },
        standing: freshStanding,
        probe: 'proved',
        quota: null,
        nextCheckAt: null,
      },
      'sandbox',
    );
  }
  return store;
}

/** The ids of the accounts a store holds. */
export async function accountIds(store: Store, now: number): Promise<readonly string[]> {
  const page = await store.accounts(now, { limit: 1000 });
  return page.accounts.map((account) => account.id);
}
