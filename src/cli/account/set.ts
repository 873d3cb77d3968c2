import type { Command } from 'commander';
import { type AccountChange, accountChange } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { commaList, lendOption, mustFit, UsageError, wholeNumber } from '../option-values.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatAccount, formatJson } from './view.ts';

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
