import type { Basics } from '../base/basics.ts';
import { observedStore } from '../base/observed-store.ts';
import { defaultSettings } from '../base/present.ts';
import { freshStanding } from '../standing/account-state.ts';
import { openMemoryStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';

const accountCount = 5;
const capacity = 64;
const longestRestMs = 5000;

/** The store that lends: in a pool that began without accounts the built-in ones', until there is a real account. */
export class LendingStore {
  readonly #basics: Basics;
  #sandbox: Store | undefined;

  constructor(basics: Basics) {
    this.#basics = basics;
  }

  get current(): Store {
    return this.#sandbox ?? this.#basics.store;
  }

  get isSandbox(): boolean {
    return this.#sandbox !== undefined;
  }

  async start(): Promise<void> {
    const { store, settings, clock, logger, events, providers } = this.#basics;
    const trial = [...providers.values()].find(({ isTrial }) => isTrial);
    const { total } = await store.stats(clock.now());
    if (!settings.sandbox || !trial || total > 0) return;
    this.#sandbox = observedStore(await openSandboxStore(this.#basics, trial.name), { events });
    logger.debug('the pool holds no account: built-in sandbox accounts are lent');
  }

  /** A real account is there. */
  async endSandbox(): Promise<void> {
    const ended = this.#sandbox;
    if (ended === undefined) return;
    this.#sandbox = undefined;
    const { clock, events, logger } = this.#basics;
    const { accounts } = await ended.accounts(clock.now(), { limit: 1000 });
    for (const { id, provider } of accounts) {
      events.publish({ type: 'account-removed', account_id: id, provider });
    }
    events.freed();
    logger.info(
      'a real account is there: the built-in sandbox accounts are gone until the pool starts empty again',
    );
  }

  async close(): Promise<void> {
    await this.#sandbox?.close();
  }
}

async function openSandboxStore({ credentials, clock }: Basics, provider: string): Promise<Store> {
  const store = openMemoryStore(clock.now(), { clock, longestRestMs, auditsLeases: false });
  for (let number = 1; number <= accountCount; number += 1) {
    const id = `acc_sandbox_${number}`;
    const account = {
      id,
      provider,
      ...defaultSettings,
      email: `sandbox-${number}@example.invalid`,
      label: 'built-in sandbox',
      capacity,
      source: 'sandbox',
      credentialKind: 'api_key' as const,
      credential: credentials.seal(id, provider, `wk-sandbox-${number}`),
      standing: freshStanding,
      probe: 'proved' as const,
      quota: null,
      nextCheckAt: null,
    };
    await store.addAccount(clock.now(), account, 'sandbox');
  }
  return store;
}
