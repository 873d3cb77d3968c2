import type { Command } from 'commander';
import { findAccount, formatDetails, formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';

export function addAccountShow(parent: Command, actions: CliActions): void {
  parent
    .command('show')
    .description('show all there is to know about an account, except its credential')
    .argument('<account>', 'its id or e-mail address')
    .option('--json', 'print the account as JSON')
    .addHelpText('after', '\nExample:\n  warp2api account show me@example.com')
    .action(async (idOrEmail: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, idOrEmail);
      const account = await admin.getAccount(id);
      actions.write(options.json ? formatJson(account) : formatDetails(account));
    });
}
