import { spawn } from 'node:child_process';
import { errorCode } from '../../lib/errors.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { Deliveries } from './deliveries.ts';
import { redacted, type Source, SourceError, type SourceTools } from './source.ts';

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

interface CommandCall {
  readonly command: readonly string[];
  /** All it sees of the environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
  readonly input: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

interface CommandEnd {
  /** What it printed; of an end before its time, whole lines only. At most 1 MiB. */
  readonly output: string;
  /** The beginning of what it complained. */
  readonly complaints: string;
  /** Why the output may not be all; null when the command ended well. */
  readonly fault: string | null;
}

const mostOutputBytes = 1024 * 1024;
const mostComplaintBytes = 4096;
/** How long the output may stay open after the command itself has ended. */
const lingerMs = 1000;

/**
 * Runs a command in a process group of its own and reads what it prints. Past its time, or with too much to say, the
 * whole group is killed. Never throws: even a command that failed may have printed credentials that must not be lost.
 */
export function runCommand(call: CommandCall): Promise<CommandEnd> {
  const [program = '', ...words] = call.command;
  return new Promise((resolve) => {
    const child = spawn(program, words, {
      cwd: call.folder,
      env: { ...call.environment },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const output: Buffer[] = [];
    const complaints: Buffer[] = [];
    let outputBytes = 0;
    let complaintBytes = 0;
    let fault: string | null = null;

    /** The group may be gone already. */
    const killGroup = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if (errorCode(error) !== 'ESRCH') throw error;
      }
    };
    const complained = (): string => {
      const text = Buffer.concat(complaints).toString('utf8');
      // With one character more, so that the cut goes between words where output was dropped.
      return complaintBytes > mostComplaintBytes ? beginningOf(`${text} `, text.length) : text;
    };
    const giveUp = (why: string): void => {
      fault ??= why;
      killGroup();
    };
    const timer = setTimeout(() => giveUp(`it took longer than ${call.timeoutMs / 1000} s`), call.timeoutMs);
    let lingering: NodeJS.Timeout | undefined;
    const onAbort = (): void => giveUp('the pool is closing');
    call.signal.addEventListener('abort', onAbort, { once: true });

    child.stdout.on('data', (chunk: Buffer) => {
      output.push(chunk.subarray(0, Math.max(0, mostOutputBytes - outputBytes)));
      outputBytes += chunk.length;
      if (outputBytes > mostOutputBytes) giveUp(`it printed more than ${mostOutputBytes} bytes`);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaintBytes >= mostComplaintBytes) return;
      complaints.push(chunk.subarray(0, mostComplaintBytes - complaintBytes));
      complaintBytes += chunk.length;
    });
    // A command that does not read its input is none the worse for it.
    child.stdin.on('error', () => {});
    child.stdin.end(call.input);

    const end = (): void => {
      clearTimeout(timer);
      clearTimeout(lingering);
      call.signal.removeEventListener('abort', onAbort);
      const text = Buffer.concat(output).toString('utf8');
      const whole = fault === null ? text : text.slice(0, text.lastIndexOf('\n') + 1);
      resolve({ output: whole, complaints: complained(), fault });
    };
    child.on('error', (error) => {
      const code = errorCode(error) ?? error.message;
      fault ??= `${program} cannot be started (${code})`;
      if (child.pid === undefined) end();
    });
    child.on('exit', (code, signal) => {
      if (code !== 0) fault ??= signal === null ? `it ended with code ${code}` : `it ended by ${signal}`;
      // Something it started may hold its output open for ever.
      lingering = setTimeout(killGroup, lingerMs);
    });
    child.on('close', end);
  });
}
