import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Call, Client } from './client.ts';

export const secret = 'the word is magnolia';

/** Where a client finds the gateway, and what it shows there. */
export interface Access {
  readonly gatewayUrl: string;
  readonly key: string;
  readonly model: string;
}

/**
 * All that a client wrote when it was told to read the file with the secret; undefined when it cannot be started. It
 * gets a home and a folder of its own, both empty.
 */
export async function runClient(
  client: Client,
  folder: string,
  access: Access,
  limitMs: number,
): Promise<string | undefined> {
  const own = join(folder, 'runs', client.name);
  rmSync(own, { recursive: true, force: true });
  const [home, work] = [join(own, 'home'), join(own, 'work')];
  for (const path of [home, work]) mkdirSync(path, { recursive: true });
  const file = join(work, 'note.txt');
  writeFileSync(file, `${secret}\n`);
  let output = '';
  for (const [index, prompt] of client.prompts(file).entries()) {
    const call = client.prepare({ ...access, home, work, prompt, isContinued: index > 0 });
    const said = await runCall(call, join(folder, 'node_modules', '.bin'), home, work, limitMs);
    if (said === undefined) return undefined;
    output += said;
  }
  return output;
}

function runCall(
  { command, words, environment = {}, stdin }: Call,
  bin: string,
  home: string,
  work: string,
  limitMs: number,
): Promise<string | undefined> {
  return new Promise((done) => {
    const child = spawn(join(bin, command), words, {
      cwd: work,
      env: { PATH: process.env['PATH'], HOME: home, ...environment },
      detached: true,
    });
    // With what it has started: turns that come late would be counted as the next client's.
    const limit = setTimeout(() => child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'), limitMs);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk).slice(-1_000_000);
      });
    }
    child.once('error', () => {
      clearTimeout(limit);
      done(undefined);
    });
    // Not `close`: what a client leaves running may hold its output open for ever.
    child.once('exit', () => {
      clearTimeout(limit);
      setTimeout(() => done(output), 200);
    });
    // A client that ends without reading what it is told has said why.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin ?? '');
  });
}
