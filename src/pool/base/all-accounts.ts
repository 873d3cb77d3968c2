import type { AccountFilter, StoredAccount } from '../store/store.ts';
import type { Basics } from './basics.ts';

/** All accounts, or those a filter matches, page by page as they are asked for. */
export async function* pagesOfAccounts(
  { store, clock }: Pick<Basics, 'store' | 'clock'>,
  filter: AccountFilter,
): AsyncGenerator<readonly StoredAccount[]> {
  for (let after: number | null = 0; after !== null; ) {
    const page: Awaited<ReturnType<typeof store.accounts>> = await store.accounts(clock.now(), {
      ...filter,
      after,
    });
    yield page.accounts;
    after = page.nextAfter;
  }
}
