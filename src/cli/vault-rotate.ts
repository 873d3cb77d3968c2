import type { Command } from 'commander';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';

export function addVault(parent: Command, actions: CliActions): void {
  parent
    .command('vault')
    .description('the key that seals the credentials')
    .helpCommand(false)
    .command('rotate')
    .description('seal every credential anew under another master key, while no service runs')
    .option('--new-key-file <path>', 'take the new key from this file instead of making one')
    .option('--json', 'print what was done as JSON')
    .addHelpText(
      'after',
      `
The former key stays in a file that ends in .old: backups of the database made before need it.

Example:
  ./stop_services.sh && warp2api vault rotate && ./start_services.sh`,
    )
    .action(async ({ newKeyFile, json }: { newKeyFile?: string; json?: true }) => {
      const rotation = await actions.rotateKey(newKeyFile === undefined ? {} : { newKeyFile });
      const { accounts, keyId, formerKeyId, keyFile, isInEnvironment } = rotation;
      if (json) {
        actions.write(formatJson({ accounts, key_id: keyId, former_key_id: formerKeyId, key_file: keyFile }));
        return;
      }
      actions.write(`The credentials of ${accounts} accounts are sealed with key ${keyId} now.\n`);
      actions.write(
        isInEnvironment
          ? `MASTER_KEY still names the former key: set it to the one in ${keyFile} and delete that file, ` +
              'or remove MASTER_KEY and the next start takes the key from there.\n'
          : `It is in ${keyFile}; the former one is in ${keyFile}.old. Keep that as long as a backup needs it, no longer.\n`,
      );
    });
}
