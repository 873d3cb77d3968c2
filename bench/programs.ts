import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';

export interface Program {
  readonly pid: number;
  /** Where it listens, by the beginning of the log line that says so. */
  readonly urls: readonly string[];
  readonly readyMs: number;
  stop(): Promise<void>;
}

export interface ProgramOptions {
  readonly name: string;
  /** Node's own options, the script below the project's root, and its arguments. */
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Beginnings of the log lines that say it listens. */
  readonly awaited: readonly string[];
}

/** Services as users start them; whatever is compared with them has the same memory to work in. */
export const nodeOptions = ['--max-semi-space-size=8'];
/** With what the service asks of V8 itself. */
export const floorOptions = [...nodeOptions, '--invocation-count-for-turbofan=500'];

const root = resolve(import.meta.dirname, '..');
const startMs = 15_000;
const stopMs = 10_000;

/** The processes under measurement and their folder. Everything ends and goes with `close`. */
export function createPrograms() {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-bench-'));
  const children = new Set<ChildProcess>();

  return {
    folder,

    async start(options: ProgramOptions): Promise<Program> {
      const { name, environment = {}, awaited } = options;
      const log = join(folder, `${name}.log`);
      const output = openSync(log, 'w');
      const command = options.command.map((word) => (/\.[jt]s$/.test(word) ? resolve(root, word) : word));
      const startedAt = performance.now();
      const child = spawn(process.execPath, command, {
        // Elsewhere, so that no .env of the checkout takes part.
        cwd: folder,
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment },
        stdio: ['ignore', output, output],
      });
      closeSync(output);
      children.add(child);
      child.once('exit', () => children.delete(child));

      for (;;) {
        const urls = awaited.map((beginning) => urlIn(readFileSync(log, 'utf8'), beginning));
        if (child.pid !== undefined && urls.every((url) => url !== undefined)) {
          return {
            pid: child.pid,
            urls: urls.filter((url) => url !== undefined),
            readyMs: performance.now() - startedAt,
            stop: () => stop(child),
          };
        }
        if (!children.has(child) || performance.now() - startedAt > startMs) {
          throw new Error(`${name} did not start:\n${readFileSync(log, 'utf8').slice(-2000)}`);
        }
        await delay(10);
      }
    },

    async close(): Promise<void> {
      await Promise.all([...children].map(stop));
      rmSync(folder, { recursive: true, force: true });
    },

    /** For a process that has no time left. */
    killNow(): void {
      for (const child of children) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(timer);
}

function urlIn(log: string, beginning: string): string | undefined {
  const line = log.split('\n').find((text) => text.includes(`"msg":"${beginning}`));
  return line === undefined ? undefined : /"url":"([^"]+)"/.exec(line)?.[1];
}

/** Where it listens first. */
export function urlOf({ urls: [url] }: Program): string {
  if (url === undefined) throw new Error('the program does not listen');
  return url;
}

export async function addAccount(
  poolUrl: string,
  adminKey: string,
  apiKey: string,
  capacity: number,
  provider = 'warp',
): Promise<void> {
  const answer = await request(`${poolUrl}/api/accounts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ provider, api_key: apiKey, capacity }),
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 201) throw new Error(`the pool took no account: ${text.slice(0, 300)}`);
}
