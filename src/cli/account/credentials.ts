import { type Command, Option } from 'commander';
import { renderUnicodeCompact } from 'uqr';
import {
  type AccountChange,
  type Login,
  type NewAccount,
  type NewLogin,
  newAccount,
  newLogin,
} from '../../pool-api/account-schema.ts';
import { isPoolError, PoolError } from '../../pool-api/errors.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import type { CliActions } from '../actions.ts';
import { answer, answerFromPool } from '../answers.ts';
import {
  addSettingOptions,
  mustFit,
  noKeyGiven,
  readSecret,
  type SettingOptions,
  UsageError,
} from '../option-values.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatAccount, mustNotBeRefused, noteOf } from './view.ts';

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
    .addHelpText('after', addHelp);
  answer(command, actions, async (options: AddOptions) => {
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
    return [added, `Added this account:\n${formatAccount(added)}${noteOf(added)}`];
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
  const command = parent
    .command('replace')
    .description('give an account another credential, in place of one that is dead or leaked')
    .argument('<account>', accountWords)
    .option('--api-key <key>', 'the new API key; - reads it from standard input')
    .addOption(refreshTokenOption('the new refresh token'))
    .option('--keep', 'replace it also if the provider refuses the new one')
    .option('--json', 'print the account as JSON')
    .addHelpText('after', replaceHelp);
  answer(command, actions, async (name: string, options: CredentialOptions) => {
    const change: AccountChange =
      options.refreshToken === undefined
        ? { api_key: await readSecret(options.apiKey ?? actions.accountKeyFromEnvironment(), actions) }
        : { refresh_token: await readSecret(options.refreshToken, actions) };
    await using admin = await actions.openAdmin();
    const { id } = await findAccount(admin, name);
    const on_refusal = options.keep ? 'keep' : 'reject';
    const account = await admin.changeAccount(id, { ...change, on_refusal });
    return [account, `Replaced its credential:\n${formatAccount(account)}${noteOf(account)}`];
  });
}

function refreshTokenOption(what: string): Option {
  return new Option('--refresh-token <token>', `${what}; - reads it from standard input`).conflicts('apiKey');
}

interface LoginOptions extends SettingOptions {
  readonly provider: string;
  readonly account?: string;
  readonly json?: true;
}

const help = `
Opens no browser: it shows an address and a code, you approve in a browser on any device, and the account is added.
Ctrl-C only stops waiting; while the pool runs, the login stays open until it expires.

Examples:
  warp2api account login --label work
  warp2api account login --account me@example.com      log an account in again`;

const lookEveryMs = 2_000;

export function addAccountLogin(parent: Command, actions: CliActions): void {
  const command = parent
    .command('login')
    .description('log in at a provider in the browser and put that account into the pool')
    .option('--provider <name>', 'where to log in', 'warp')
    .option('--account <account>', `log this account in again instead of adding one: ${accountWords}`);
  addSettingOptions(command)
    .option('--json', 'print the account as JSON; address and code go to standard error')
    .addHelpText('after', help);
  answerFromPool(command, actions, async (admin, options: LoginOptions) => {
    const login = await admin.startLogin(await requestOf(options, admin));
    const show = options.json ? actions.writeError : actions.write;
    show(invitation(login, actions.isTerminal && !options.json));
    const ended = await waitFor(login, admin, actions);
    if (ended.status !== 'approved' || ended.account_id === null) {
      throw new Error(`The login ended as ${ended.status}. ${ended.error ?? ''}`.trim());
    }
    const account = await admin.getAccount(ended.account_id);
    mustNotBeRefused(account, 'The login was approved');
    return [account, `Logged in. This account is in the pool:\n${formatAccount(account)}${noteOf(account)}`];
  });
}

async function requestOf(options: LoginOptions, admin: PoolAdmin): Promise<NewLogin> {
  const { account, teamUid, json: _json, ...fields } = options;
  const request: NewLogin = {
    ...fields,
    ...(teamUid !== undefined && { team_uid: teamUid }),
    ...(account === undefined ? {} : { account_id: (await findAccount(admin, account)).id }),
  };
  mustFit(newLogin, request, 'This login cannot begin');
  return request;
}

function invitation(login: Login, withQrCode: boolean): string {
  const address = login.verification_uri_complete ?? login.verification_uri;
  const picture = withQrCode ? `\n${renderUnicodeCompact(address)}\n` : '';
  return `Open this address in a browser, on any device:
  ${address}
and approve the code
  ${login.user_code}
${picture}Waiting until ${login.expires_at}; Ctrl-C only stops waiting.
`;
}

async function waitFor(login: Login, admin: PoolAdmin, actions: CliActions): Promise<Login> {
  let present = login;
  while (present.status === 'pending') {
    await actions.wait(lookEveryMs);
    try {
      present = await admin.getLogin(login.id);
    } catch (error) {
      // A service that restarts goes on with the login, so there is no reason to give up on it.
      if (!(error instanceof PoolError) || error.code !== 'pool_unavailable') throw error;
    }
  }
  return present;
}
