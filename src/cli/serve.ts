import { Argument, type Command } from 'commander';
import type { CliActions } from './actions.ts';

export function addServe(parent: Command, actions: CliActions): void {
  parent
    .command('serve')
    .description('run the account pool and the gateway, or one of them, until stopped')
    .addArgument(new Argument('[service]', 'only this one (default: both)').choices(['pool', 'gateway']))
    .addHelpText(
      'after',
      `
Settings come from the environment and from a .env file in the working folder; .env.example lists them.

Examples:
  warp2api serve                       both services in one process
  warp2api serve pool                  the pool alone, on port 8019
  POOL_SERVICE_URL=http://pool:8019 warp2api serve gateway`,
    )
    .action((service: 'pool' | 'gateway' | undefined) => actions.serve(service ?? 'both'));
}
