import type { Command } from 'commander';
import { formatJson } from './account-view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs } from './table.ts';

/** For scripts such as start_services.sh, which must see the settings as the services do; left out of the help. */
export function addConfig(parent: Command, actions: CliActions): void {
  parent
    .command('config', { hidden: true })
    .description('show the settings scripts need; no secrets')
    .option('--json', 'print them as JSON')
    .action((options: { json?: true }) => {
      const settings = actions.resolvedSettings();
      actions.write(options.json ? formatJson(settings) : formatPairs(Object.entries(settings)));
    });
}
