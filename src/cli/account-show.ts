import type { Command } from 'commander';
import { formatDetails, formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';
import { accountWords, findAccount } from './find-account.ts';

export function addAccountShow(parent: Command, actions: CliActions): void {
  parent
    .command('show')
    .description('show all there is to know about an account, except its credential')
    .argument('<account>', accountWords)
    .option('--json', 'print the account as JSON')
    .addHelpText('after', '\nExample:\n  warp2api account show me@example.com')
    .action(async (name: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, name);
      const account = await admin.getAccount(id);
      actions.write(options.json ? formatJson(account) : formatDetails(account));
    });
}
