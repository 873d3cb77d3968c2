import type { Command } from 'commander';
import { findAccount, formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';

export function addAccountRemove(parent: Command, actions: CliActions): void {
  parent
    .command('remove')
    .description('forget an account and its credential; it stays as it is at its provider')
    .argument('<account>', 'its id or e-mail address')
    .option('--json', 'print {"removed": id}')
    .addHelpText('after', '\nExample:\n  warp2api account remove me@example.com')
    .action(async (idOrEmail: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, idOrEmail);
      await admin.removeAccount(id);
      actions.write(options.json ? formatJson({ removed: id }) : `Account ${id} is removed.\n`);
    });
}
