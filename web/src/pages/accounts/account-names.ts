import type { Account, ListAnswer } from '../../../../src/pool-api/account-schema.ts';
import { api, useLoaded } from '../../api.ts';
import { nameOf } from './account-list.ts';

const idsAtOnce = 100;

/** What other pages know by their ids, in the names of the page of accounts: an id's beginning where the pool says no name. */
export function useAccountNames(given: readonly (string | null | undefined)[]): (id: string) => string {
  const ids = [...new Set(given)].filter((id) => typeof id === 'string').sort();
  const loaded = useLoaded(
    async (abort) => {
      const accounts: Account[] = [];
      for (let at = 0; at < ids.length; at += idsAtOnce) {
        const query = { ids: ids.slice(at, at + idsAtOnce).join(), limit: idsAtOnce };
        accounts.push(...(await api.get<ListAnswer>('/api/accounts', query, abort)).accounts);
      }
      return accounts;
    },
    [ids.join()],
  );
  const accounts = loaded.value.value ?? [];
  const names = new Map(accounts.map((account) => [account.id, nameOf(account)]));
  return (id) => {
    const short = id.slice(0, 12);
    const name = names.get(id) ?? short;
    const isShared = accounts.some((other) => other.id !== id && names.get(other.id) === name);
    return isShared ? `${name} (${short})` : name;
  };
}
