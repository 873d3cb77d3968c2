import type { Command } from 'commander';
import { mustNotBeRefused } from './account-notes.ts';
import { formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';
import { accountWords, findAccount } from './find-account.ts';

/** `account enable` and `account disable`. */
export function addAccountEnable(parent: Command, actions: CliActions): void {
  addSwitch(parent, actions, 'enable', true, 'let an account be used again');
  addSwitch(parent, actions, 'disable', false, 'stop using an account, but keep it');
}

function addSwitch(
  parent: Command,
  actions: CliActions,
  verb: string,
  enabled: boolean,
  description: string,
): void {
  parent
    .command(verb)
    .description(description)
    .argument('<account>', accountWords)
    .option('--json', 'print the account as JSON')
    .addHelpText('after', `\nExample:\n  warp2api account ${verb} me@example.com`)
    .action(async (name: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, name);
      const account = await admin.changeAccount(id, { enabled });
      if (enabled) mustNotBeRefused(account, 'The account was tried again');
      actions.write(options.json ? formatJson(account) : `Account ${id} is now ${account.status}.\n`);
    });
}
