import type { Command } from 'commander';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs } from './table.ts';

export function addMigrate(parent: Command, actions: CliActions): void {
  parent
    .command('migrate')
    .description('move the whole pool from SQLite to PostgreSQL, while no service runs')
    .requiredOption(
      '--to <url>',
      'postgres://user:password@host/database, or - to read it from standard input',
    )
    .option('--from <url>', 'sqlite: and a file (default: the one DATABASE_URL names)')
    .option('--json', 'print how many rows were moved, by table, as JSON')
    .addHelpText(
      'after',
      `
The database must be there and hold no account. All is moved or nothing; the SQLite file stays as it is.

Example:
  ./stop_services.sh
  warp2api migrate --to postgres://warp2api:password@db.example.com/warp2api`,
    )
    .action(async ({ to, from, json }: { to: string; from?: string; json?: true }) => {
      const url = to === '-' ? (await actions.readStdin()).trim() : to;
      const moved = await actions.migrate({ to: url, ...(from === undefined ? {} : { from }) });
      if (json) {
        actions.write(formatJson(moved));
        return;
      }
      actions.write(formatPairs(Object.entries(moved)));
      actions.write(
        `All ${moved['accounts'] ?? 0} accounts are there. Set DATABASE_URL to it, keep the master key, and start the services.\n` +
          'The SQLite file is as it was: delete it once you are content, for its credentials go on working.\n',
      );
    });
}
