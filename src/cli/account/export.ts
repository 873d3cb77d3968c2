import { open, unlink } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { errorCode } from '../../lib/errors.ts';
import { type AccountState, accountStates } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { UsageError } from '../usage-error.ts';
import { readPassphrase } from './import.ts';

interface ExportOptions {
  readonly to: string;
  readonly passphraseFile: string;
  readonly provider?: string;
  readonly status?: AccountState;
  readonly source?: string;
}

export function addAccountExport(parent: Command, actions: CliActions): void {
  parent
    .command('export')
    .description('write accounts with their credentials into a file that is sealed with a passphrase')
    .requiredOption('--to <file>', 'the file to make; an existing one is left alone')
    .requiredOption('--passphrase-file <path>', 'its first line is the passphrase, of 12 characters or more')
    .option('--provider <name>', 'only those of this provider')
    .addOption(new Option('--status <status>', 'only those in this state').choices(accountStates))
    .option('--source <name>', 'only those from there')
    .addHelpText(
      'after',
      `
To move accounts, not to copy them: a refresh token is replaced each time it is used, so of two pools that have it only
one can go on. Remove the accounts here once they are there.

Example:
  warp2api account export --to pool.export --passphrase-file pass.txt`,
    )
    .action(async ({ to, passphraseFile, ...filter }: ExportOptions) => {
      const passphrase = await readPassphrase(passphraseFile);
      await using admin = await actions.openAdmin();
      const sealed = await admin.exportAccounts({ passphrase, filter });
      await writeNew(to, sealed);
      actions.write(`The accounts are in ${to}, sealed.\n`);
    });
}

/** Makes a file that only its owner may read; leaves none when it cannot be finished. */
async function writeNew(path: string, text: AsyncIterable<string>): Promise<void> {
  const handle = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (errorCode(error) !== 'EEXIST') throw error;
    throw new UsageError(`${path} is there already: choose another name.`);
  });
  try {
    for await (const piece of text) await handle.appendFile(piece, 'utf8');
    await handle.sync();
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await handle.close();
  }
}
