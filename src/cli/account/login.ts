import type { Command } from 'commander';
import { renderUnicodeCompact } from 'uqr';
import { PoolError } from '../../pool-api/errors.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import { type Login, type NewLogin, newLogin } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { addSettingOptions, mustFit, type SettingOptions } from '../option-values.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatAccount, formatJson, mustNotBeRefused, noteOf } from './view.ts';

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
    .addHelpText('after', help)
    .action(async (options: LoginOptions) => {
      await using admin = await actions.openAdmin();
      const login = await admin.startLogin(await requestOf(options, admin));
      const show = options.json ? actions.writeError : actions.write;
      show(invitation(login, actions.isTerminal && !options.json));
      const ended = await waitFor(login, admin, actions);
      if (ended.status !== 'approved' || ended.account_id === null) {
        throw new Error(`The login ended as ${ended.status}. ${ended.error ?? ''}`.trim());
      }
      const account = await admin.getAccount(ended.account_id);
      mustNotBeRefused(account, 'The login was approved');
      actions.write(
        options.json
          ? formatJson(account)
          : `Logged in. This account is in the pool:\n${formatAccount(account)}${noteOf(account)}`,
      );
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
