import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { findFreePort } from '../src/core/testing/free-port.ts';

/** One service, killed and started again on the same port. */
export interface Instance {
  readonly name: string;
  readonly url: string;
  /** Resolves when it answers. */
  start(): Promise<void>;
  /** Ends it at once; resolves when it is gone. */
  kill(): Promise<void>;
  /** Asks it to end. Answers its exit code, or the signal it died of. */
  stop(): Promise<number | string | null>;
}

/** A start of a busy machine takes half a minute, and how long it takes is not what is looked at here. */
const readyWithinMs = 180_000;

export async function createInstance(
  name: string,
  folder: string,
  environment: Readonly<Record<string, string>>,
  service: 'pool' | 'gateway' = 'pool',
): Promise<Instance> {
  // None that the system gives to a connection of the callers while the service is down.
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const log = createWriteStream(join(folder, `${name}.log`), { flags: 'a' });
  let child: ChildProcess | undefined;
  let gone: Promise<unknown[]> = Promise.resolve([null, null]);

  return {
    name,
    url,
    async start() {
      const started = spawn(
        process.execPath,
        [resolve(import.meta.dirname, '../src/main.ts'), 'serve', service],
        {
          cwd: folder,
          env: { ...environment, [service === 'pool' ? 'POOL_SERVICE_PORT' : 'PORT']: String(port) },
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      started.stdout.pipe(log, { end: false });
      started.stderr.pipe(log, { end: false });
      child = started;
      gone = once(started, 'exit');
      const end = Date.now() + readyWithinMs;
      while (!(await answers(url))) {
        if (started.exitCode !== null || started.signalCode !== null) {
          throw new Error(`${name} ended at its start; see ${name}.log`);
        }
        if (Date.now() > end) throw new Error(`${name} did not answer within ${readyWithinMs} ms`);
        await pause(50);
      }
    },
    async kill() {
      child?.kill('SIGKILL');
      await gone;
    },
    async stop() {
      child?.kill('SIGTERM');
      const [code, signal] = await gone;
      return (code ?? signal ?? null) as number | string | null;
    },
  };
}

export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`)).ok;
  } catch {
    return false;
  }
}
