import type { ChangedAccount, Changes } from '../store.ts';

/** Gathers the changes to publish once a transaction has ended. */
export class ChangeLog {
  readonly #accounts = new Map<string, ChangedAccount>();
  #hasFreed = false;

  /** `earlier` are changes that a verb made before and had no way to answer. */
  constructor(earlier?: Changes) {
    if (earlier !== undefined) this.add(earlier);
  }

  changed(account: ChangedAccount): void {
    this.#accounts.set(account.id, account);
    this.#hasFreed = true;
  }

  freed(): void {
    this.#hasFreed = true;
  }

  add({ accounts, hasFreed }: Changes): void {
    for (const account of accounts) this.#accounts.set(account.id, account);
    this.#hasFreed ||= hasFreed;
  }

  changes(): Changes {
    return { accounts: [...this.#accounts.values()], hasFreed: this.#hasFreed };
  }
}
