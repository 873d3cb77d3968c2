/**
 * Drives real command-line clients against the gateway on the sandbox: each must read a file through a tool call.
 * `npm run clients -- codex opencode` drives those whose names begin so. They are installed into a temporary folder,
 * never into the project, and run where nothing can leave the machine, if it allows a network namespace.
 * With `--faults` they are refused instead, and it is told what they show of the gateway's words.
 */
import { join } from 'node:path';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { claudeCodes } from './clients/claude-code.ts';
import type { Client } from './clients/client.ts';
import { clines } from './clients/cline.ts';
import { codexes } from './clients/codex.ts';
import { continues } from './clients/continue.ts';
import { copilots } from './clients/copilot.ts';
import { tellFaults } from './clients/faults.ts';
import { geminiCli } from './clients/gemini-cli.ts';
import { opencodes } from './clients/opencode.ts';
import { pis } from './clients/pi.ts';
import { qwenCode } from './clients/qwen-code.ts';
import { type Access, runClient, secret } from './clients/run-client.ts';
import { type WatchedGateway, watchGateway } from './clients/watched-gateway.ts';
import { runClosed, wordsGiven } from './closed-run.ts';

const all: readonly Client[] = [
  ...codexes,
  ...claudeCodes,
  ...opencodes,
  ...pis,
  qwenCode,
  geminiCli,
  ...continues,
  ...clines,
  ...copilots,
];
const runLimitMs = 90_000;
const wholeLimitMs = 15 * 60_000;
const account = 'wk-clients.plain';

const words = wordsGiven();
const wantsFaults = words.includes('--faults');
const wanted = words.filter((word) => word !== '--faults');
const unknown = wanted.find((word) => !all.some(({ name }) => name.startsWith(word)));
const chosen = all.filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.startsWith(word)));

if (unknown !== undefined) {
  console.log(`There is no client "${unknown}". There are ${all.map(({ name }) => name).join(', ')}.`);
  process.exitCode = 1;
} else {
  const packages = [...new Set(chosen.map(({ packageName }) => packageName))];
  process.exitCode = await runClosed({ script: import.meta.filename, packages, drive });
}

async function drive(folder: string, missing: readonly string[]): Promise<number> {
  const upstream = await startSandbox();
  const key = 'client-key';
  const config = loadConfig(
    {
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: join(folder, 'data'),
      WARP_SERVER_URL: upstream.url,
      WARP_API_KEY: account,
      API_KEYS: key,
      SHUTDOWN_SECONDS: '0',
    },
    folder,
  );
  const services = await startServices(config, 'both', createLogger('FATAL'), (error) => {
    throw error;
  });
  const gateway = await watchGateway(services.gatewayUrl ?? '');
  const access = { gatewayUrl: gateway.url, key, model: 'sandbox' };
  const endAt = Date.now() + wholeLimitMs;
  let failed = 0;
  try {
    for (const client of chosen.filter(({ packageName }) => !missing.includes(packageName))) {
      const title = `${client.name} (${client.dialect})`;
      if (wantsFaults) {
        await tellFaults(client, folder, access, upstream, account);
        continue;
      }
      if (Date.now() + runLimitMs > endAt) {
        failed += 1;
        console.log(`FAILED  ${title}: there was no time left to run it`);
        continue;
      }
      const startedAt = Date.now();
      const before = upstream.turns.length;
      const fault = await faultOf(client, folder, access, { gateway, upstream });
      if (fault !== undefined) failed += 1;
      const seconds = ((Date.now() - startedAt) / 1_000).toFixed(1);
      // A folded history holds the result as text: what came as a result went on with a remembered conversation.
      const wentOn = upstream.turns.slice(before).some(({ toolResults }) => toolResults.length > 0);
      const memory = wentOn ? 'the conversation went on' : 'the whole history was resent';
      console.log(
        fault === undefined ? `ok      ${title}: ${seconds} s, ${memory}` : `FAILED  ${title}: ${fault}`,
      );
    }
  } finally {
    gateway.close();
    await services.close();
    await upstream.close();
  }
  return failed === 0 ? 0 : 1;
}

/** What is wrong with how a client did its task; undefined when nothing is. */
async function faultOf(
  client: Client,
  folder: string,
  access: Access,
  { gateway, upstream }: { gateway: WatchedGateway; upstream: Sandbox },
): Promise<string | undefined> {
  const before = upstream.turns.length;
  const socketsBefore = gateway.socketCount();
  const compressedBefore = gateway.compressedCount();
  const output = await runClient(client, folder, access, runLimitMs);
  if (output === undefined) return 'could not be run';

  const turns = upstream.turns.slice(before);
  const tools = [...new Set(turns.flatMap((turn) => turn.toolNames))].join(', ');
  const problems = turns.flatMap((turn) => turn.problems);
  const shows = client.shows ?? secret;
  if (!output.includes(shows)) {
    return `did not show ${JSON.stringify(shows)}, in ${turns.length} turns with the tools ${tools}:\n${output.slice(-1_500)}`;
  }
  if (problems.length > 0) return `broke rules of the wire: ${problems.join('; ')}`;
  if (client.isOverWebSocket && gateway.socketCount() === socketsBefore) {
    return 'fell back to HTTP instead of a WebSocket';
  }
  if (client.isCompressed && gateway.compressedCount() === compressedBefore) return 'compressed no body';
  const warning = output.split('\n').find((line) => client.warnings?.test(line));
  if (warning !== undefined) return `warned: ${warning}`;
  return turns.length === client.turns
    ? undefined
    : `took ${turns.length} turns instead of ${client.turns}: it may have repeated a broken stream`;
}
