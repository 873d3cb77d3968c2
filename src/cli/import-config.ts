import type { Command } from 'commander';
import type { CliActions } from './actions.ts';

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
