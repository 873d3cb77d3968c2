import { Deliveries } from './deliveries.ts';
import { redacted } from './redact.ts';
import { runCommand } from './run-command.ts';
import { type Source, SourceError, type SourceTools } from './source.ts';

export interface CommandSourceSettings {
  readonly type: 'command';
  readonly name: string;
  readonly command: readonly string[];
  readonly timeoutMs: number;
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
}

/** A command of the owner's that prints accounts in the import format, as a credential helper does. */
export function createCommandSource(settings: CommandSourceSettings, tools: SourceTools): Source {
  const { name, command, timeoutMs, environment, folder } = settings;
  const { secrets, providers } = tools.basics;
  for (const [variable, value] of Object.entries(environment)) {
    // The name of a provider is no secret, and commands may get it.
    if (!providers.has(value)) secrets.addNamed(variable, value);
  }
  secrets.addArguments(command.slice(1));
  const deliveries = new Deliveries(name, tools);
  return {
    name,
    type: settings.type,
    restsWhenEmpty: true,
    recover: () => deliveries.recover(),
    async fetch(batch) {
      const { signal } = batch;
      const input = `${JSON.stringify({ count: batch.wanted })}\n`;
      const { output, complaints, fault } = await runCommand({
        command,
        environment,
        folder,
        input,
        timeoutMs,
        signal,
      });
      await deliveries.receive(output, batch);
      if (fault === null) return;
      const said = redacted(complaints, secrets);
      throw new SourceError(`the command failed: ${fault}${said === '' ? '' : `; it said: ${said}`}`);
    },
  };
}
