import { type Command, Option } from 'commander';
import { isPoolError } from '../pool-api/errors.ts';
import { type NewAccount, newAccount } from '../pool-api/schema.ts';
import { noteOf } from './account-notes.ts';
import { formatAccount, formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';
import { commaList, wholeNumber } from './option-values.ts';
import { noKeyGiven, readSecret } from './read-secret.ts';
import { UsageError } from './usage-error.ts';

interface AddOptions {
  readonly provider: string;
  readonly apiKey?: string;
  readonly refreshToken?: string;
  readonly email?: string;
  readonly label?: string;
  readonly capacity?: number;
  readonly models?: string[];
  readonly tier?: number;
  readonly teamUid?: string;
  readonly lend?: 'any' | 'gateway';
  readonly free?: true;
  readonly standby?: true;
  readonly keep?: true;
  readonly json?: true;
}

const help = `
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
  parent
    .command('add')
    .description('put an account you own into the pool')
    .requiredOption('--provider <name>', 'who issued the account, such as warp')
    .option('--api-key <key>', 'its API key; - reads it from standard input')
    .addOption(
      new Option(
        '--refresh-token <token>',
        'its refresh token instead of a key; - reads it from standard input',
      ).conflicts('apiKey'),
    )
    .option('--email <address>', 'to tell accounts apart')
    .option('--label <text>', 'a note of yours')
    .option('--capacity <n>', 'turns it may run at a time', wholeNumber(1, 10_000))
    .option('--models <a,b>', 'upstream models it may use (default: all)', commaList)
    .option('--tier <n>', 'lower tiers are used first', wholeNumber(0, 1000))
    .option('--team-uid <uid>', 'the team that is billed (warp; default: its first team)')
    .addOption(
      new Option('--lend <to>', 'who may borrow it: any session, or only the gateway').choices([
        'any',
        'gateway',
      ]),
    )
    .option('--free', 'it is on a free plan: it never replaces another free account that is used up')
    .option('--standby', 'keep it in reserve until the pool needs it')
    .option(
      '--keep',
      'keep it also if its provider refuses the key: out of service, until it gets a good one',
    )
    .option('--json', 'print the account as JSON')
    .addHelpText('after', help)
    .action(async (options: AddOptions) => {
      const account = await readAccount(options, actions);
      await using admin = await actions.openAdmin();
      const added = await admin
        .addAccount(account, options.keep ? 'keep' : 'reject')
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

  const checked = newAccount.safeParse(account);
  if (checked.success) return account;
  const problems = checked.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new UsageError(`This account cannot be added: ${problems.join('; ')}.`);
}
