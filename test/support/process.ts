import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { eventually } from './services.ts';

/** For any process a test starts: where programs are, and where Node keeps what it compiled. */
export const childEnvironment = {
  PATH: process.env['PATH'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
};

export interface ServiceProcess {
  readonly child: ChildProcess;
  readonly url: string;
  /** Everything it wrote so far. */
  output(): string;
  /** Ends it and waits until it is gone and all it wrote is here. Answers the exit code, or the signal it died of. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string | null>;
}

/**
 * A service as a process of its own, ended with the test that asked for it; `url` is known once it listens. `entry` is what
 * it runs instead of the program.
 */
export async function startProcess(
  words: readonly string[],
  environment: Record<string, string>,
  folder: string,
  entry?: string,
): Promise<ServiceProcess> {
  const service = spawnService(words, environment, folder, entry);
  const exited = once(service.child, 'exit');
  // Gone before its folder is removed, which it would write to until then.
  onTestFinished(async () => {
    service.child.kill('SIGKILL');
    await exited;
  });
  return { ...service, url: await service.urlOf(words.at(-1) === 'pool' ? 'account pool' : 'gateway') };
}

/** A command of the program, run to its end. */
export async function runCommand(
  words: readonly string[],
  environment: Record<string, string>,
  folder: string,
  stdin = '',
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [resolve(import.meta.dirname, '../../src/main.ts'), ...words], {
    cwd: folder,
    env: { ...childEnvironment, ...environment },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stdin.end(stdin);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr };
}

/** The same, for the caller to end. */
export function spawnService(
  words: readonly string[],
  environment: Record<string, string>,
  folder: string,
  entry = resolve(import.meta.dirname, '../../src/main.ts'),
) {
  const child = spawn(process.execPath, [entry, ...words], {
    cwd: folder,
    env: { ...childEnvironment, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
  // Not its exit: after that, what it wrote last may still be on its way.
  const closed = once(child, 'close');
  return {
    child,
    output: () => output,
    /** Where it listens, once it does. */
    urlOf: (kind: 'account pool' | 'gateway' | 'sandbox') =>
      eventually(`${words.join(' ')} listens`, () => {
        if (child.exitCode !== null) throw new Error(`${words.join(' ')} ended:\n${output}`);
        return new RegExp(`"url":"([^"]+)"[^\\n]*the ${kind} listens`).exec(output)?.[1];
      }),
    async kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string | null> {
      child.kill(signal);
      const [code, died] = await closed;
      return code ?? died;
    },
  };
}
