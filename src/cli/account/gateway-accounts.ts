import { listAnswer } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import type { CliActions } from '../actions.ts';
import { findAccount } from './find-account.ts';

/** For commands that ask a gateway only: it passes calls for accounts on to its pool. */

type AskGateway = Pick<CliActions, 'askGateway'>;

const idsAtOnce = 100;

/** What accounts are called: by e-mail address or label, else by how their id begins, which is added where a name is shared. */
export async function accountNames(
  actions: AskGateway,
  gateway: string | undefined,
  given: readonly (string | null | undefined)[],
): Promise<(id: string) => string> {
  const ids = [...new Set(given)].filter((id) => typeof id === 'string' && id !== '');
  const names = new Map<string, string>();
  try {
    for (let at = 0; at < ids.length; at += idsAtOnce) {
      const query = { ids: ids.slice(at, at + idsAtOnce).join(), limit: idsAtOnce };
      for (const { id, email, label } of (await accountsOf(actions, gateway).listAccounts(query)).accounts)
        names.set(id, email || label || shortId(id));
    }
  } catch {
    // Ids still say which accounts they are.
  }
  const all = [...names.values()];
  return (id) => {
    const name = names.get(id) ?? shortId(id);
    return all.indexOf(name) === all.lastIndexOf(name) ? name : `${name} (${shortId(id)})`;
  };
}

/** The id of the account that `name` means. What the ledger alone may know stays as it is: removed accounts, and the rest of many. */
export async function accountIdOf(
  actions: AskGateway,
  gateway: string | undefined,
  name: string,
): Promise<string> {
  if (name.startsWith('acc_') || name === '(other)') return name;
  return (await findAccount(accountsOf(actions, gateway), name)).id;
}

export const shortId = (id: string): string => id.slice(0, 12);

function accountsOf(actions: AskGateway, gateway: string | undefined) {
  const listAccounts: PoolAdmin['listAccounts'] = async (query) => {
    const words = Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]);
    return listAnswer.parse(await actions.askGateway(`/api/accounts?${new URLSearchParams(words)}`, gateway));
  };
  const getAccount = async (ids: string) => {
    const [account] = (await listAccounts({ ids })).accounts;
    if (account) return account;
    throw new PoolError('account_not_found', 'No account has that id.');
  };
  return { listAccounts, getAccount };
}
