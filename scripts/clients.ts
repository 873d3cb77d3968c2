/**
 * Drives real command-line clients against the gateway on the sandbox: each must read a file through a tool call.
 * `npm run clients -- codex opencode` drives those whose names begin so. They are installed into a temporary folder,
 * never into the project, and run where nothing can leave the machine, if it allows a network namespace.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/lib/logger.ts';
import { claudeCode } from './clients/claude-code.ts';
import type { Call, Client, Place } from './clients/client.ts';
import { clines } from './clients/cline.ts';
import { codex } from './clients/codex.ts';
import { continues } from './clients/continue.ts';
import { copilots } from './clients/copilot.ts';
import { opencodes } from './clients/opencode.ts';
import { pis } from './clients/pi.ts';
import { qwenCode } from './clients/qwen-code.ts';
import { runClosed, wordsGiven } from './closed-run.ts';

const all: readonly Client[] = [
  codex,
  claudeCode,
  ...opencodes,
  ...pis,
  qwenCode,
  ...continues,
  ...clines,
  ...copilots,
];
const secret = 'the word is magnolia';
const runLimitMs = 90_000;
const wholeLimitMs = 15 * 60_000;

const wanted = wordsGiven();
const unknown = wanted.filter((word) => !all.some(({ name }) => name.startsWith(word)));
const chosen = all.filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.startsWith(word)));

if (unknown.length > 0) {
  console.log(`There is no client "${unknown[0]}". There are ${all.map(({ name }) => name).join(', ')}.`);
  process.exitCode = 1;
} else {
  const packages = [...new Set(chosen.map(({ packageName }) => packageName))];
  process.exitCode = await runClosed({ script: import.meta.filename, packages, drive });
}

async function drive(folder: string, missing: readonly string[]): Promise<number> {
  const upstream = await startSandbox();
  const config = loadConfig(
    {
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: join(folder, 'data'),
      WARP_SERVER_URL: upstream.url,
      WARP_API_KEY: 'wk-clients.plain',
      SHUTDOWN_SECONDS: '0',
    },
    folder,
  );
  const services = await startServices(config, 'both', createLogger('FATAL'), (error) => {
    throw error;
  });
  const endAt = Date.now() + wholeLimitMs;
  let failed = 0;
  try {
    for (const client of chosen.filter(({ packageName }) => !missing.includes(packageName))) {
      const title = `${client.name} (${client.dialect})`;
      if (Date.now() + runLimitMs > endAt) {
        failed += 1;
        console.log(`FAILED  ${title}: there was no time left to run it`);
        continue;
      }
      const startedAt = Date.now();
      const fault = await faultOf(client, folder, services.gatewayUrl ?? '', upstream);
      if (fault !== undefined) failed += 1;
      const seconds = ((Date.now() - startedAt) / 1_000).toFixed(1);
      console.log(fault === undefined ? `ok      ${title}: ${seconds} s` : `FAILED  ${title}: ${fault}`);
    }
  } finally {
    await services.close();
    await upstream.close();
  }
  return failed === 0 ? 0 : 1;
}

/** What is wrong with how a client did its task; undefined when nothing is. */
async function faultOf(
  client: Client,
  folder: string,
  gatewayUrl: string,
  upstream: Sandbox,
): Promise<string | undefined> {
  const own = join(folder, 'runs', client.name);
  rmSync(own, { recursive: true, force: true });
  const [home, work] = [join(own, 'home'), join(own, 'work')];
  for (const path of [home, work]) mkdirSync(path, { recursive: true });
  const file = join(work, 'note.txt');
  writeFileSync(file, `${secret}\n`);
  const before = upstream.turns.length;
  const place: Place = { home, work, gatewayUrl, prompt: client.prompt(file) };
  const output = await run(folder, place, client.prepare(place));
  if (output === undefined) return 'could not be run';

  const turns = upstream.turns.slice(before);
  const tools = [...new Set(turns.flatMap((turn) => turn.toolNames))].join(', ');
  const problems = turns.flatMap((turn) => turn.problems);
  if (!output.includes(secret)) {
    return `did not show what the file holds, in ${turns.length} turns with the tools ${tools}:\n${output.slice(-1_500)}`;
  }
  if (problems.length > 0) return `broke rules of the wire: ${problems.join('; ')}`;
  return turns.length === client.turns
    ? undefined
    : `took ${turns.length} turns instead of ${client.turns}: it may have repeated a broken stream`;
}

/** All that a client wrote; undefined when there is no such command. */
function run(folder: string, place: Place, call: Call): Promise<string | undefined> {
  const { command, words, environment = {}, stdin = '' } = call;
  return new Promise((done) => {
    const child = spawn(join(folder, 'node_modules', '.bin', command), words, {
      cwd: place.work,
      env: { PATH: process.env['PATH'], HOME: place.home, ...environment },
      timeout: runLimitMs,
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk).slice(-1_000_000);
      });
    }
    child.once('error', () => done(undefined));
    child.once('close', () => done(output));
    // A client that ends without reading what it is told has said why.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin);
  });
}
