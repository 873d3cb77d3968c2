import type { Command } from 'commander';
import { formatJson } from '../account/view.ts';
import type { CliActions } from '../actions.ts';
import { wholeNumber } from '../option-values.ts';

export function addPoolReplenish(parent: Command, actions: CliActions): void {
  parent
    .command('replenish')
    .description('bring in accounts from the sources of warp2api.yaml and from those in standby, now')
    .option('--count <n>', 'so many (default: as many as are missing)', wholeNumber(1, 10_000))
    .option('--json', 'print what POST /api/accounts/replenish answers')
    .addHelpText(
      'after',
      `
Never beyond MAX_POOL_SIZE. "warp2api status" shows the sources.

Examples:
  warp2api pool replenish
  warp2api pool replenish --count 2 --json`,
    )
    .action(async ({ count, json }: { count?: number; json?: true }) => {
      await using admin = await actions.openAdmin();
      const answer = await admin.replenish(count === undefined ? {} : { count });
      const reasons = answer.reasons.map((reason) => `  ${reason}\n`).join('');
      actions.write(json ? formatJson(answer) : `${answer.message}\n${reasons}`);
      if (answer.failed > 0) throw new Error(`Accounts that could not be brought in: ${answer.failed}.`);
    });
}
