import { type Command, Option } from 'commander';
import { isPoolError } from '../../pool-api/errors.ts';
import { type AccountChange, type NewAccount, newAccount } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import {
  addSettingOptions,
  mustFit,
  noKeyGiven,
  readSecret,
  type SettingOptions,
  UsageError,
} from '../option-values.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatAccount, formatJson, noteOf } from './view.ts';

interface CredentialOptions {
  readonly apiKey?: string;
  readonly refreshToken?: string;
  readonly keep?: true;
  readonly json?: true;
}

interface AddOptions extends SettingOptions, CredentialOptions {
  readonly provider: string;
  readonly email?: string;
}

const addHelp = `
The key may also come from standard input or from the environment, so that it stays out of the shell's history:
  warp2api account add --provider warp --api-key - < key.txt
  ACCOUNT_API_KEY=... warp2api account add --provider warp

The provider is asked whether the key is good. A refused one is not added (exit code 1), unless --keep is given. Where the
provider cannot be asked, the account is added anyway and asked about again.

Examples:
  warp2api account add --provider warp --api-key wk-... --email me@example.com --label work
  warp2api account add --provider warp --api-key - --models claude-sonnet,gpt-5 --lend gateway
  warp2api account add --provider ollama                 (a server on this machine needs no key)`;

export function addAccountAdd(parent: Command, actions: CliActions): void {
  const command = parent
    .command('add')
    .description('put an account you own into the pool')
    .requiredOption('--provider <name>', 'who issued the account, such as warp')
    .option('--api-key <key>', 'its API key; - reads it from standard input')
    .addOption(refreshTokenOption('its refresh token instead of a key'))
    .option('--email <address>', 'to tell accounts apart');
  addSettingOptions(command)
    .option(
      '--keep',
      'keep it also if its provider refuses the key: out of service, until it gets a good one',
    )
    .option('--json', 'print the account as JSON')
    .addHelpText('after', addHelp)
    .action(async (options: AddOptions) => {
      const account = await readAccount(options, actions);
      await using admin = await actions.openAdmin();
      const added = await admin
        .addAccount({ ...account, on_refusal: options.keep ? 'keep' : 'reject' })
        .catch((error: unknown) => {
          const isWithout = account.api_key === undefined && account.refresh_token === undefined;
          throw isWithout && isPoolError(error, 'invalid_request') && error.param === 'api_key'
            ? new UsageError(noKeyGiven)
            : error;
        });
      actions.write(
        options.json ? formatJson(added) : `Added this account:\n${formatAccount(added)}${noteOf(added)}`,
      );
    });
}

async function readAccount(options: AddOptions, actions: CliActions): Promise<NewAccount> {
  const { apiKey, refreshToken, teamUid, keep: _keep, json: _json, ...fields } = options;
  const account: NewAccount = { ...fields, ...(teamUid !== undefined && { team_uid: teamUid }) };
  if (refreshToken !== undefined) account.refresh_token = await readSecret(refreshToken, actions);
  else {
    const given = apiKey ?? actions.accountKeyFromEnvironment();
    // The pool knows whether the provider needs a key.
    if (given !== undefined) account.api_key = await readSecret(given, actions);
  }
  mustFit(newAccount, account, 'This account cannot be added');
  return account;
}

const replaceHelp = `
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
    .addOption(refreshTokenOption('the new refresh token'))
    .option('--keep', 'replace it also if the provider refuses the new one')
    .option('--json', 'print the account as JSON')
    .addHelpText('after', replaceHelp)
    .action(async (name: string, options: CredentialOptions) => {
      const change: AccountChange =
        options.refreshToken === undefined
          ? { api_key: await readSecret(options.apiKey ?? actions.accountKeyFromEnvironment(), actions) }
          : { refresh_token: await readSecret(options.refreshToken, actions) };
      await using admin = await actions.openAdmin();
      const { id } = await findAccount(admin, name);
      const account = await admin.changeAccount(id, {
        ...change,
        on_refusal: options.keep ? 'keep' : 'reject',
      });
      actions.write(
        options.json
          ? formatJson(account)
          : `Replaced its credential:\n${formatAccount(account)}${noteOf(account)}`,
      );
    });
}

function refreshTokenOption(what: string): Option {
  return new Option('--refresh-token <token>', `${what}; - reads it from standard input`).conflicts('apiKey');
}
