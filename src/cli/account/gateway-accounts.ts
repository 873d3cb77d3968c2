import { listAnswer } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import type { CliActions } from '../actions.ts';
import { findAccount } from './find-account.ts';

/** For commands that ask a gateway only: it passes calls for accounts on to its pool. */

type AskGateway = Pick<CliActions, 'askGateway'>;

/** The id of the account that `name` means. What the ledger alone may know stays as it is: removed accounts, and the rest of many. */
export async function accountIdOf(
  actions: AskGateway,
  gateway: string | undefined,
  name: string,
): Promise<string> {
  if (name.startsWith('acc_') || name === '(other)') return name;
  return (await findAccount(accountsOf(actions, gateway), name)).id;
}

export function accountsOf(actions: AskGateway, gateway: string | undefined) {
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
