import { type Command, Option } from 'commander';
import { type Account, accountStates, type ListQuery } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { wholeNumber } from '../option-values.ts';
import { collectPages } from '../pages.ts';
import { formatAccounts, formatJson } from './view.ts';

type ListOptions = ListQuery & { readonly limit: number; readonly json?: true };

export function addAccountList(parent: Command, actions: CliActions): void {
  parent
    .command('list')
    .description('show the accounts of the pool')
    .option('--provider <name>', 'only those of this provider')
    .addOption(new Option('--status <status>', 'only those in this state').choices(accountStates))
    .option('--email <address>', 'only those with this e-mail address')
    .option('--label <text>', 'only those with this label')
    .option('--source <name>', 'only those from there: api, env, or the name of a source')
    .addOption(
      new Option('--probe <result>', 'only those whose credential has, or has not, been proved').choices([
        'proved',
        'unproved',
      ]),
    )
    .option('--begins <text>', 'only those whose e-mail address or label begins so')
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 1000)
    .option('--json', 'print {"accounts": [...], "total": n}')
    .addHelpText(
      'after',
      '\nExamples:\n  warp2api account list\n  warp2api account list --status cooldown --json\n  warp2api account list --begins team-\n\nA terminal that is too narrow shows less of each; a pipe and --json get all.',
    )
    .action(async (options: ListOptions) => {
      const { limit, json, ...filters } = options;
      await using admin = await actions.openAdmin();
      let total = 0;
      const accounts = await collectPages(limit, async (pageLimit, after: string | undefined) => {
        const page = await admin.listAccounts({ ...filters, limit: pageLimit, after });
        total = page.total;
        return [page.accounts, page.next_after];
      });
      if (json) actions.write(formatJson({ accounts, total }));
      else actions.write(describe(accounts, total, actions.terminalWidth));
    });
}

function describe(accounts: readonly Account[], total: number, width: number | undefined): string {
  if (accounts.length === 0) {
    return total === 0
      ? 'No account matches. Add one of yours with "warp2api account add --help".\n'
      : `None of ${total} accounts shown.\n`;
  }
  const rest = total > accounts.length ? `\n${accounts.length} of ${total} shown; --limit shows more.\n` : '';
  return formatAccounts(accounts, width) + rest;
}
