import type { Command } from 'commander';
import type { CliActions } from './actions.ts';
import { wholeNumber } from './option-values.ts';

export function addSandbox(parent: Command, actions: CliActions): void {
  parent
    .command('sandbox')
    .description('run an upstream that answers like the real ones, for trying things out without an account')
    .option('--port <n>', 'port to listen on; 0 takes a free one', wholeNumber(0, 65_535), 8020)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .addHelpText(
      'after',
      `
Examples:
  warp2api sandbox --port 8020
  WARP_SERVER_URL=http://127.0.0.1:8020 warp2api serve`,
    )
    .action((options: { port: number; host: string }) => actions.sandbox(options));
}
