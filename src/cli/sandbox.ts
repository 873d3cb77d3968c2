import type { Command } from 'commander';
import type { CliActions, SandboxCommand } from './actions.ts';
import { wholeNumber } from './option-values.ts';

export function addSandbox(parent: Command, actions: CliActions): void {
  parent
    .command('sandbox')
    .description('run an upstream that answers like the real ones, for trying things out without an account')
    .option('--port <n>', 'port to listen on; 0 takes a free one', wholeNumber(0, 65_535), 8020)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--tls', 'speak TLS with HTTP/2, with a certificate made at the start')
    .option(
      '--certificate <file>',
      'where --tls writes that certificate, for clients to trust (default: a new file)',
    )
    .option('--require-http2', 'answer HTTP/1.1 turns with 403, as the front of the real upstream does')
    .addHelpText(
      'after',
      `
Examples:
  warp2api sandbox --port 8020
  WARP_SERVER_URL=http://127.0.0.1:8020 warp2api serve

  warp2api sandbox --tls --certificate /tmp/sandbox.pem
  NODE_EXTRA_CA_CERTS=/tmp/sandbox.pem WARP_SERVER_URL=https://127.0.0.1:8020 warp2api serve`,
    )
    .action((options: SandboxCommand) => actions.sandbox(options));
}
