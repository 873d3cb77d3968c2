import { type Command, Option } from 'commander';
import type { AccountChange } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { readSecret } from '../read-secret.ts';
import { accountWords, findAccount } from './find-account.ts';
import { noteOf } from './notes.ts';
import { formatAccount, formatJson } from './view.ts';

interface ReplaceOptions {
  readonly apiKey?: string;
  readonly refreshToken?: string;
  readonly keep?: true;
  readonly json?: true;
}

const help = `
The account keeps its id, settings and figures; one that needed a new login is used again. A key that the provider refuses
is not taken (exit code 1), unless --keep is given.

Examples:
  warp2api account replace me@example.com --api-key - < key.txt
  warp2api account replace me@example.com --refresh-token -`;

export function addAccountReplace(parent: Command, actions: CliActions): void {
  parent
    .command('replace')
    .description('give an account another credential, in place of one that is dead or leaked')
    .argument('<account>', accountWords)
    .option('--api-key <key>', 'the new API key; - reads it from standard input')
    .addOption(
      new Option(
        '--refresh-token <token>',
        'the new refresh token; - reads it from standard input',
      ).conflicts('apiKey'),
    )
    .option('--keep', 'replace it also if the provider refuses the new one')
    .option('--json', 'print the account as JSON')
    .addHelpText('after', help)
    .action(async (name: string, options: ReplaceOptions) => {
      const change: AccountChange =
        options.refreshToken === undefined
          ? { api_key: await readSecret(options.apiKey ?? actions.accountKeyFromEnvironment(), actions) }
          : { refresh_token: await readSecret(options.refreshToken, actions) };
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, name);
      const account = await admin.changeAccount(id, change, options.keep ? 'keep' : 'reject');
      actions.write(
        options.json
          ? formatJson(account)
          : `Replaced its credential:\n${formatAccount(account)}${noteOf(account)}`,
      );
    });
}
