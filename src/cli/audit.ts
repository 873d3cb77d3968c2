import type { Command } from 'commander';
import type { AuditAnswer } from '../pool-api/schema.ts';
import { accountWords, findAccount } from './account/find-account.ts';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { wholeNumber } from './option-values.ts';
import { collectPages } from './pages.ts';
import { formatTable } from './table.ts';

interface AuditOptions {
  readonly account?: string;
  readonly limit: number;
  readonly json?: true;
}

type Entry = AuditAnswer['entries'][number];
const wholeId = /^acc_[0-9a-f-]{36}$/;

export function addAudit(parent: Command, actions: CliActions): void {
  parent
    .command('audit')
    .description('show who changed what, the newest first')
    .option(
      '--account <account>',
      `only what concerns this account: ${accountWords}; a removed one by its whole id`,
    )
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 50)
    .option('--json', 'print {"entries": [...]}')
    .addHelpText('after', '\nExamples:\n  warp2api audit\n  warp2api audit --account me@example.com --json')
    .action(async ({ account, limit, json }: AuditOptions) => {
      await using admin = await actions.openAdmin();
      // A removed account still has a trail, so a whole id is not looked up.
      const id =
        account === undefined || wholeId.test(account) ? account : (await findAccount(admin, account)).id;
      const entries = await collectPages(limit, async (pageLimit, before: number | undefined) => {
        const page = await admin.audit({ limit: pageLimit, account_id: id, before });
        return [page.entries, page.next_before];
      });
      actions.write(json ? formatJson({ entries }) : describe(entries));
    });
}

function describe(entries: readonly Entry[]): string {
  if (entries.length === 0) return 'Nothing is on record.\n';
  return formatTable(entries, [
    ['at', (entry) => entry.at],
    ['actor', (entry) => entry.actor],
    ['action', (entry) => entry.action],
    ['account', (entry) => entry.account_id],
    ['detail', (entry) => (Object.keys(entry.detail).length === 0 ? null : JSON.stringify(entry.detail))],
  ]);
}
