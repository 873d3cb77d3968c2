import type { Command } from 'commander';
import { formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';
import { accountWords, findAccount } from './find-account.ts';

export function addAccountRemove(parent: Command, actions: CliActions): void {
  parent
    .command('remove')
    .description('forget an account and its credential; it stays as it is at its provider')
    .argument('<account>', accountWords)
    .option('--json', 'print {"removed": id}')
    .addHelpText('after', '\nExample:\n  warp2api account remove me@example.com')
    .action(async (name: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, name);
      await admin.removeAccount(id);
      actions.write(options.json ? formatJson({ removed: id }) : `Account ${id} is removed.\n`);
    });
}
