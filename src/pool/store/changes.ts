import type { ChangedAccount, Changes } from './store.ts';

/** Gathers what others must hear of once a transaction has ended. */
export interface ChangeLog {
  changed(account: ChangedAccount): void;
  freed(): void;
  add(changes: Changes): void;
  changes(): Changes;
}

/** `earlier` are changes that a verb made before and had no way to tell. */
export function createChangeLog(earlier?: Changes): ChangeLog {
  const accounts = new Map(earlier?.accounts.map((account) => [account.id, account]));
  let hasFreed = earlier?.hasFreed ?? false;
  return {
    changed(account) {
      accounts.set(account.id, account);
      hasFreed = true;
    },
    freed() {
      hasFreed = true;
    },
    add(changes) {
      for (const account of changes.accounts) accounts.set(account.id, account);
      hasFreed ||= changes.hasFreed;
    },
    changes: () => ({ accounts: [...accounts.values()], hasFreed }),
  };
}
