import { type Command, Option } from 'commander';
import { plainLine } from '../../lib/shown-text.ts';
import {
  type Account,
  type AccountChange,
  accountChange,
  type ListQuery,
} from '../../pool-api/account-schema.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import { accountStates } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { answer, answerFromPool, collectPages, type Shown } from '../answers.ts';
import { commaList, lendOption, mustFit, UsageError, wholeNumber } from '../option-values.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatAccount, formatAccounts, formatDetails, mustNotBeRefused } from './view.ts';

type ListOptions = ListQuery & { readonly limit: number; readonly json?: true };

export function addAccountList(parent: Command, actions: CliActions): void {
  const command = parent
    .command('list')
    .description('show the accounts of the pool')
    .option('--provider <name>', 'only those of this provider')
    .addOption(new Option('--status <status>', 'only those in this state').choices(accountStates))
    .option('--email <address>', 'only those with this e-mail address')
    .option('--label <text>', 'only those with this label')
    .option('--source <name>', 'only those from there: api, env, or the name of a source')
    .addOption(
      new Option('--probe <result>', 'only those whose credential has, or has not, been proved').choices([
        'proved',
        'unproved',
      ]),
    )
    .option('--begins <text>', 'only those whose e-mail address or label begins so')
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 1000)
    .option('--json', 'print {"accounts": [...], "total": n}')
    .addHelpText(
      'after',
      '\nExamples:\n  warp2api account list\n  warp2api account list --status cooldown --json\n  warp2api account list --begins team-\n\nA terminal that is too narrow shows less of each; a pipe and --json get all.',
    );
  answerFromPool(command, actions, async (admin, { limit, json: _json, ...filters }: ListOptions) => {
    let total = 0;
    const accounts = await collectPages(limit, async (pageLimit, after: string | undefined) => {
      const page = await admin.listAccounts({ ...filters, limit: pageLimit, after });
      total = page.total;
      return [page.accounts, page.next_after];
    });
    return [{ accounts, total }, describe(accounts, total, actions.terminalWidth)];
  });
}

function describe(accounts: readonly Account[], total: number, width: number | undefined): string {
  if (accounts.length === 0) {
    return total === 0
      ? 'No account matches. Add one of yours with "warp2api account add --help".\n'
      : `None of ${total} accounts shown.\n`;
  }
  const rest = total > accounts.length ? `\n${accounts.length} of ${total} shown; --limit shows more.\n` : '';
  return formatAccounts(accounts, width) + rest;
}

export function addAccountShow(parent: Command, actions: CliActions): void {
  const description = 'show all there is to know about an account, except its credential';
  addVerb(parent, actions, 'show', description, async (admin, { id }) => {
    const account = await admin.getAccount(id);
    return [account, formatDetails(account)];
  });
}

/** `account enable` and `account disable`. */
export function addAccountEnable(parent: Command, actions: CliActions): void {
  const change = async (admin: PoolAdmin, named: Account, enabled: boolean): Promise<Shown> => {
    const account = await admin.changeAccount(named.id, { enabled });
    if (enabled) mustNotBeRefused(account, 'The account was tried again');
    return [account, `Account ${nameAndId(account)} is now ${account.status}.\n`];
  };
  addVerb(parent, actions, 'enable', 'let an account be used again', (admin, one) =>
    change(admin, one, true),
  );
  addVerb(parent, actions, 'disable', 'stop using an account, but keep it', (admin, one) =>
    change(admin, one, false),
  );
}

export function addAccountRemove(parent: Command, actions: CliActions): void {
  const description = 'forget an account and its credential; it stays as it is at its provider';
  const remove = async (admin: PoolAdmin, account: Account): Promise<Shown> => {
    await admin.removeAccount(account.id);
    return [{ removed: account.id }, `Account ${nameAndId(account)} is removed.\n`];
  };
  addVerb(parent, actions, 'remove', description, remove, 'print {"removed": id}');
}

function nameAndId({ id, email, label }: Account): string {
  const name = email || label;
  return name ? `${plainLine(name)} (${id})` : id;
}

/** A command that needs nothing but an account. */
function addVerb(
  parent: Command,
  actions: CliActions,
  verb: string,
  description: string,
  run: (admin: PoolAdmin, account: Account) => Promise<Shown>,
  jsonWords = 'print the account as JSON',
): void {
  const command = parent
    .command(verb)
    .description(description)
    .argument('<account>', accountWords)
    .option('--json', jsonWords)
    .addHelpText('after', `\nExample:\n  warp2api account ${verb} me@example.com`);
  answerFromPool(command, actions, async (admin, name: string) => run(admin, await findAccount(admin, name)));
}

/** What may be empty is false after `--no-…`. */
interface SetOptions {
  readonly email?: string | false;
  readonly label?: string | false;
  readonly models?: string[] | false;
  readonly teamUid?: string | false;
  readonly capacity?: number;
  readonly tier?: number;
  readonly lend?: 'any' | 'gateway';
  readonly free?: boolean;
  readonly json?: true;
}

const help = `
What is not named stays as it is. Another credential is given with "account replace".

Examples:
  warp2api account set me@example.com --capacity 4 --tier 1
  warp2api account set work --label "work, paid by the team" --lend gateway
  warp2api account set 1f3c9a2b --no-label --no-models`;

export function addAccountSet(parent: Command, actions: CliActions): void {
  const command = parent
    .command('set')
    .description('change what is said of an account')
    .argument('<account>', accountWords)
    .option('--email <address>', 'to tell accounts apart')
    .option('--no-email', 'forget the e-mail address')
    .option('--label <text>', 'a note of yours')
    .option('--no-label', 'forget the label')
    .option('--capacity <n>', 'turns it may run at a time', wholeNumber(1, 10_000))
    .option('--models <a,b>', 'upstream models it may use', commaList)
    .option('--no-models', 'it may use all models')
    .option('--tier <n>', 'lower tiers are used first', wholeNumber(0, 1000))
    .option('--team-uid <uid>', 'the team that is billed (warp)')
    .option('--no-team-uid', 'its first team is billed')
    .addOption(lendOption())
    .option('--free', 'it is on a free plan: it never replaces another free account that is used up')
    .option('--no-free', 'it is on a plan that is paid for')
    .option('--json', 'print the account as JSON')
    .addHelpText('after', help);
  answer(command, actions, async (name: string, options: SetOptions) => {
    const change = changeFrom(options);
    await using admin = await actions.openAdmin();
    const { id } = await findAccount(admin, name);
    const account = await admin.changeAccount(id, change);
    return [account, `Changed this account:\n${formatAccount(account)}`];
  });
}

function changeFrom({ json: _json, teamUid, ...options }: SetOptions): AccountChange {
  const { email, label, models, ...plain } = options;
  const emptied = Object.entries({ email, label, models, team_uid: teamUid }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value === false || value === '' ? null : value]],
  );
  const change = { ...plain, ...Object.fromEntries(emptied) } as AccountChange;
  if (Object.keys(change).length === 0) {
    throw new UsageError(
      'Say what to change, such as --label "a note"; "warp2api account set --help" lists it.',
    );
  }
  mustFit(accountChange, change, 'This cannot be set');
  return change;
}
