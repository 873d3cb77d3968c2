import type { Account } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import { UsageError } from '../option-values.ts';
import { formatTable } from '../table.ts';

/** What an argument that names an account may be. */
export const accountWords = 'its e-mail address, label or id, or at least 4 characters of the id';

interface AccountLists extends Pick<PoolAdmin, 'listAccounts'> {
  getAccount(id: string): Promise<Account>;
}

const mostShown = 10;
const wholeId = /^[\w.:-]{1,128}$/;
/** With or without what every id begins with. */
const partOfId = /^(?:acc_)?([0-9a-f][0-9a-f-]{3,35})$/i;

/**
 * The one account that a person means: by its whole id, else by its e-mail address (in any case) or its label (spelled the
 * same), else by how its id begins. Throws UsageError with the candidates where there are several.
 */
export async function findAccount(admin: AccountLists, name: string): Promise<Account> {
  if (name.trim() === '') throw new UsageError(`Name an account: ${accountWords}.`);
  const exact = wholeId.test(name) ? await accountOfId(admin, name) : undefined;
  if (exact !== undefined) return exact;
  const [byEmail, byLabel] = await Promise.all([
    admin.listAccounts({ email: name, limit: mostShown }),
    admin.listAccounts({ label: name, limit: mostShown }),
  ]);
  const named = new Map([...byEmail.accounts, ...byLabel.accounts].map((account) => [account.id, account]));
  if (named.size > 0) {
    const isAll = byEmail.next_after === null && byLabel.next_after === null;
    return onlyOne(name, [...named.values()], isAll);
  }
  const [, part] = partOfId.exec(name) ?? [];
  if (part !== undefined) {
    const id_begins = `acc_${part.toLowerCase()}`;
    const { accounts, next_after } = await admin.listAccounts({ id_begins, limit: mostShown });
    if (accounts.length > 0) return onlyOne(name, accounts, next_after === null);
  }
  throw new Error(
    `No account has the e-mail address, the label or the id "${name}"; "warp2api account list" shows them all.`,
  );
}

async function accountOfId(admin: AccountLists, id: string): Promise<Account | undefined> {
  try {
    return await admin.getAccount(id);
  } catch (error) {
    if (error instanceof PoolError && error.code === 'account_not_found') return undefined;
    throw error;
  }
}

function onlyOne(name: string, accounts: readonly Account[], isAll: boolean): Account {
  const [first, ...others] = accounts;
  if (first !== undefined && others.length === 0 && isAll) return first;
  const table = formatTable(accounts, [
    ['id', ({ id }) => id],
    ['provider', ({ provider }) => provider],
    ['email', ({ email }) => email],
    ['label', ({ label }) => label],
  ]);
  const count = isAll ? String(accounts.length) : `more than ${accounts.length}`;
  throw new UsageError(`"${name}" may be any of ${count} accounts; name one by its id:\n${table.trimEnd()}`);
}
