import type { Command } from 'commander';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import type { CliActions } from '../actions.ts';
import { accountWords, findAccount } from './find-account.ts';
import { formatDetails, formatJson, mustNotBeRefused } from './view.ts';

/** What a command found or did, for programs and for people. */
type Shown = readonly [json: unknown, text: string];

export function addAccountShow(parent: Command, actions: CliActions): void {
  const description = 'show all there is to know about an account, except its credential';
  addVerb(parent, actions, 'show', description, async (admin, id) => {
    const account = await admin.getAccount(id);
    return [account, formatDetails(account)];
  });
}

/** `account enable` and `account disable`. */
export function addAccountEnable(parent: Command, actions: CliActions): void {
  const change = async (admin: PoolAdmin, id: string, enabled: boolean): Promise<Shown> => {
    const account = await admin.changeAccount(id, { enabled });
    if (enabled) mustNotBeRefused(account, 'The account was tried again');
    return [account, `Account ${id} is now ${account.status}.\n`];
  };
  addVerb(parent, actions, 'enable', 'let an account be used again', (admin, id) => change(admin, id, true));
  addVerb(parent, actions, 'disable', 'stop using an account, but keep it', (admin, id) =>
    change(admin, id, false),
  );
}

export function addAccountRemove(parent: Command, actions: CliActions): void {
  const description = 'forget an account and its credential; it stays as it is at its provider';
  const remove = async (admin: PoolAdmin, id: string): Promise<Shown> => {
    await admin.removeAccount(id);
    return [{ removed: id }, `Account ${id} is removed.\n`];
  };
  addVerb(parent, actions, 'remove', description, remove, 'print {"removed": id}');
}

/** A command that needs nothing but an account. */
function addVerb(
  parent: Command,
  actions: CliActions,
  verb: string,
  description: string,
  run: (admin: PoolAdmin, id: string) => Promise<Shown>,
  jsonWords = 'print the account as JSON',
): void {
  parent
    .command(verb)
    .description(description)
    .argument('<account>', accountWords)
    .option('--json', jsonWords)
    .addHelpText('after', `\nExample:\n  warp2api account ${verb} me@example.com`)
    .action(async (name: string, options: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const [json, text] = await run(admin, (await findAccount(admin, name)).id);
      actions.write(options.json ? formatJson(json) : text);
    });
}
