import { randomUUID } from 'node:crypto';
import type { Adding } from '../accounts/adding.ts';
import { type Admission, admissionOf } from '../accounts/transfer.ts';
import { type Basics, pagesOfAccounts } from '../base/basics.ts';
import { compareAndSet } from '../base/facts.ts';
import { nextProof } from '../standing/account-state.ts';
import type { StandingChange, StoredAccount } from '../store/store.ts';
import { hasBearer } from '../vault/vault.ts';
import type { Source } from './source.ts';

const pageSize = 100;
/** Longer than a probe and a refresh take. */
const claimMs = 60_000;

/** The accounts that the owner put into reserve: tried, and taken into service when they work. */
export function createStandbySource({ store, clock }: Basics, adding: Adding): Source {
  /** Keeps other instances from taking the same account into service at the same time. Null when one is at it. */
  const claim = (id: string): Promise<string | null> =>
    compareAndSet(store, `activating:${id}`, async (text) => {
      const present = text === null ? null : (JSON.parse(text) as { readonly until: number });
      if (present !== null && present.until > clock.now()) return { answer: null };
      const value = JSON.stringify({ by: randomUUID(), until: clock.now() + claimMs });
      return { value, answer: value };
    });

  /** A refresh token needs a bearer before its provider can be asked about it. */
  const prove = async (account: StoredAccount, actor: string): Promise<StoredAccount> => {
    if (account.credentialKind === 'refresh_token') return adding.bringUp(account, actor);
    const proof = await adding.freshStart(account, null);
    return change(account, proof, actor);
  };

  const change = async (
    account: StoredAccount,
    standing: StandingChange,
    actor: string,
  ): Promise<StoredAccount> => {
    const { state, reason } = standing.standing;
    const audit = { actor, action: 'account-activated', detail: { status: state, reason } };
    const result = await store.changeAccount(clock.now(), account.id, { standing }, audit);
    return result === null ? account : result.account;
  };

  const activate = async (id: string, actor: string): Promise<Admission> => {
    const claimed = await claim(id);
    if (claimed === null) return { result: 'duplicate', id };
    try {
      const account = await store.account(clock.now(), id);
      if (account?.standing.state !== 'standby') return { result: 'duplicate', id };
      const proved = await prove(account, actor);
      if (proved.standing.state !== 'standby') return admissionOf(proved);
      if (!hasBearer(proved, clock.now())) {
        const failure = proved.refreshFailure?.message;
        const why = failure === undefined ? '' : `: ${failure}`;
        return { result: 'failed', reason: `its token could not be refreshed yet${why}` };
      }
      const { standing, probe, quota } = proved;
      const nextCheckAt = probe === 'proved' ? null : nextProof(0, clock.now());
      const active = { standing: { ...standing, state: 'active' as const }, probe, quota, nextCheckAt };
      return admissionOf(await change(proved, active, actor));
    } finally {
      await store.swapRemembered(`activating:${id}`, claimed, null);
    }
  };

  return {
    name: 'standby',
    type: 'standby',
    restsWhenEmpty: false,
    async fetch(batch) {
      for await (const page of pagesOfAccounts({ store, clock }, { state: 'standby', limit: pageSize })) {
        if (batch.wanted === 0 || batch.signal.aborted) return;
        const now = clock.now();
        // A refresh has its own time: before it, an account without a bearer could only fail.
        const ready = page.filter((one) => hasBearer(one, now) || (one.nextRefreshAt ?? now) <= now);
        await Promise.all(
          ready.map((account) =>
            batch.admit(`standby account ${account.id}`, () => activate(account.id, batch.actor)),
          ),
        );
      }
    },
  };
}
