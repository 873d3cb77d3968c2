import type { Command } from 'commander';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import { type AccountChange, accountChange } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { commaList, lendOption, mustFit, UsageError, wholeNumber } from '../option-values.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatAccount, formatDetails, formatJson, mustNotBeRefused } from './view.ts';

/** What a command found or did, for programs and for people. */
type Shown = readonly [json: unknown, text: string];

export function addAccountShow(parent: Command, actions: CliActions): void {
  const description = 'show all there is to know about an account, except its credential';
  addVerb(parent, actions, 'show', description, async (admin, id) => {
    const account = await admin.getAccount(id);
    return [account, formatDetails(account)];
  });
}

/** `account enable` and `account disable`. */
export function addAccountEnable(parent: Command, actions: CliActions): void {
  const change = async (admin: PoolAdmin, id: string, enabled: boolean): Promise<Shown> => {
    const account = await admin.changeAccount(id, { enabled });
    if (enabled) mustNotBeRefused(account, 'The account was tried again');
    return [account, `Account ${id} is now ${account.status}.\n`];
  };
  addVerb(parent, actions, 'enable', 'let an account be used again', (admin, id) => change(admin, id, true));
  addVerb(parent, actions, 'disable', 'stop using an account, but keep it', (admin, id) =>
    change(admin, id, false),
  );
}

export function addAccountRemove(parent: Command, actions: CliActions): void {
  const description = 'forget an account and its credential; it stays as it is at its provider';
  const remove = async (admin: PoolAdmin, id: string): Promise<Shown> => {
    await admin.removeAccount(id);
    return [{ removed: id }, `Account ${id} is removed.\n`];
  };
  addVerb(parent, actions, 'remove', description, remove, 'print {"removed": id}');
}

/** A command that needs nothing but an account. */
function addVerb(
  parent: Command,
  actions: CliActions,
  verb: string,
  description: string,
  run: (admin: PoolAdmin, id: string) => Promise<Shown>,
  jsonWords = 'print the account as JSON',
): void {
  parent
    .command(verb)
    .description(description)
    .argument('<account>', accountWords)
    .option('--json', jsonWords)
    .addHelpText('after', `\nExample:\n  warp2api account ${verb} me@example.com`)
    .action(async (name: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const [json, text] = await run(admin, (await findAccount(admin, name)).id);
      actions.write(options.json ? formatJson(json) : text);
    });
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
  parent
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
    .addHelpText('after', help)
    .action(async (name: string, options: SetOptions) => {
      const change = changeFrom(options);
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, name);
      const account = await admin.changeAccount(id, change);
      actions.write(options.json ? formatJson(account) : `Changed this account:\n${formatAccount(account)}`);
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
