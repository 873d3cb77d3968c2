import type { Command } from 'commander';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs } from './table.ts';

/** For start_services.sh and stop_services.sh, which must see the settings as the services do; left out of the help. */
export function addConfig(parent: Command, actions: CliActions): void {
  parent
    .command('config', { hidden: true })
    .description('show the settings scripts need; no secrets')
    .option('--json', 'print them as JSON')
    .option('--start', 'and what runs; fail where the services would refuse to start')
    .option('--services', 'only what runs and where it logs, also where the settings are faulty')
    .action((options: { json?: true; start?: true; services?: true }) => {
      const shown = shownBy(actions, options);
      actions.write(options.json ? formatJson(shown) : formatPairs(Object.entries(shown)));
    });
}

function shownBy(actions: CliActions, { start, services }: { start?: true; services?: true }) {
  if (services === true) return actions.runningServices();
  const settings = actions.resolvedSettings({ isForStart: start === true });
  return start === true ? { ...settings, services: actions.runningServices().services } : settings;
}
