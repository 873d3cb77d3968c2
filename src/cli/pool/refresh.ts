import type { Command } from 'commander';
import type { RefreshTokensAnswer } from '../../pool-api/schema.ts';
import { accountWords, findAccount } from '../account/find-account.ts';
import { formatJson } from '../account/view.ts';
import type { CliActions } from '../actions.ts';
import { formatTable } from '../table.ts';

export function addPoolRefresh(parent: Command, actions: CliActions): void {
  parent
    .command('refresh')
    .description(
      'give accounts with refresh tokens new access tokens now; the pool does so automatically in time',
    )
    .argument('[account]', `only this one: ${accountWords}`)
    .option('--force', 'although less than the least time between two refreshes has passed; audited')
    .option('--json', 'print what POST /api/accounts/refresh-tokens answers')
    .addHelpText(
      'after',
      `
An account is refreshed at most once in REFRESH_MIN_INTERVAL_MINUTES; what is skipped says why and until when.

Examples:
  warp2api pool refresh
  warp2api pool refresh me@example.com --force`,
    )
    .action(async (name: string | undefined, { force = false, json }: { force?: boolean; json?: true }) => {
      await using admin = await actions.openAdmin();
      const account = name === undefined ? {} : { id: (await findAccount(admin, name)).id };
      const answer = await admin.refreshTokens({ ...account, force });
      actions.write(json ? formatJson(answer) : describe(answer));
      if (answer.failed > 0) throw new Error(`Accounts that could not be refreshed: ${answer.failed}.`);
    });
}

function describe({ results, refreshed, skipped, failed }: RefreshTokensAnswer): string {
  const table =
    results.length === 0
      ? ''
      : formatTable(results, [
          ['id', ({ id }) => id],
          ['email', ({ email }) => email],
          ['result', ({ result }) => result],
          ['next', ({ next_at }) => next_at],
          ['reason', ({ reason }) => reason],
        ]);
  return `${table}${refreshed} refreshed, ${skipped} skipped, ${failed} failed.\n`;
}
