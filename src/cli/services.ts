import { Argument, type Command } from 'commander';
import type { ShownSetting } from '../core/shown-settings.ts';
import type { CliActions, SandboxCommand } from './actions.ts';
import { answer } from './answers.ts';
import { wholeNumber } from './option-values.ts';
import { formatPairs, formatTable } from './table.ts';

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

export function addSettings(parent: Command, actions: CliActions): void {
  const command = parent
    .command('settings')
    .description('show every setting with its value and where it comes from; no secrets')
    .option('--changed', 'only those that are set')
    .option('--json', 'print them as GET /api/settings answers them')
    .addHelpText('after', '\nExamples:\n  warp2api settings\n  warp2api settings --changed --json');
  answer(command, actions, ({ changed }: { changed?: true }) => {
    const shown = actions.allSettings().filter(({ is_set }) => is_set || !changed);
    return [shown, settingsTable(shown)];
  });
}

function settingsTable(shown: readonly ShownSetting[]): string {
  return formatTable(shown, [
    ['setting', ({ name }) => name],
    ['value', ({ value, is_set, is_secret }) => value ?? (is_secret && is_set ? '(set, not shown)' : null)],
    ['from', ({ source }) => source],
  ]);
}

/** For start_services.sh and stop_services.sh, which must see the settings as the services do; left out of the help. */
export function addConfig(parent: Command, actions: CliActions): void {
  const command = parent
    .command('config', { hidden: true })
    .description('show the settings scripts need; no secrets')
    .option('--json', 'print them as JSON')
    .option('--start', 'and what runs; fail where the services would refuse to start')
    .option('--services', 'only what runs and where it logs, also where the settings are faulty');
  answer(command, actions, (options: { start?: true; services?: true }) => {
    const shown = shownBy(actions, options);
    return [shown, formatPairs(Object.entries(shown))];
  });
}

function shownBy(actions: CliActions, { start, services }: { start?: true; services?: true }) {
  if (services === true) return actions.runningServices();
  const settings = actions.resolvedSettings({ isForStart: start === true });
  return start === true ? { ...settings, services: actions.runningServices().services } : settings;
}

export function addImportConfig(parent: Command, actions: CliActions): void {
  parent
    .command('import-config')
    .description('convert the configuration of LiteLLM or claude-code-router to warp2api.yaml')
    .argument('<file>', 'config.yaml of LiteLLM, or config.json of claude-code-router')
    .addHelpText(
      'after',
      `
The file goes to the standard output, without any key. What could not be converted, and the commands that add the
keys as accounts, are shown beside it and stand as comments in it.

Example:
  warp2api import-config litellm.yaml > warp2api.yaml`,
    )
    .action(async (file: string) => {
      const { yaml, notes, commands } = await actions.importConfig(file);
      actions.write(yaml);
      const list = (title: string, lines: readonly string[]) =>
        lines.length === 0 ? '' : `${title}\n${lines.map((line) => `  ${line}\n`).join('')}`;
      actions.writeError(list('Add the keys as accounts:', commands) + list('Not converted:', notes));
    });
}
