/**
 * Drives real command-line clients against the gateway on the sandboxes: each must read a file through a tool call.
 * `npm run clients -- codex opencode` drives those whose names begin so on Warp, `codex@anthropic` one on another
 * upstream, and `--upstream anthropic` all that are named on it: chat, responses, anthropic or gemini. Without a word
 * all run on Warp, and the best known on each upstream. They are installed into a temporary folder, never into the
 * project, and run where nothing can leave the machine, if it allows a network namespace. `KEEP_FOLDER` keeps that
 * folder, with what each upstream was asked in `runs`.
 * With `--faults` they are refused instead, and it is told what they show of the gateway's words.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startSandbox } from '../sandbox/index.ts';
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
import { type Upstream, vendorUpstream, warpUpstream } from './clients/upstream.ts';
import { type WatchedGateway, watchGateway } from './clients/watched-gateway.ts';
import { runClosed, wordsGiven } from './closed-run.ts';
import { startVendors, vendorNames } from './vendors.ts';

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
/** One for each dialect and some more: they run on every upstream. */
const travellers = ['claude-code', 'codex', 'gemini-cli', ...opencodes.map(({ name }) => name)];
const upstreamNames = ['warp', ...vendorNames];
const runLimitMs = 90_000;
const wholeLimitMs = 15 * 60_000;
const account = 'wk-clients.plain';

interface Run {
  readonly client: Client;
  readonly upstreamName: string;
}

const words = wordsGiven();
const wantsFaults = words.includes('--faults');
const upstreamAt = words.indexOf('--upstream');
const wantedUpstream = upstreamAt === -1 ? undefined : words[upstreamAt + 1];
const wanted = words.filter(
  (word, index) => !word.startsWith('--') && (upstreamAt === -1 || index !== upstreamAt + 1),
);
const unknown =
  wanted.find((word) => runsOf(word).length === 0) ??
  (upstreamAt === -1 || upstreamNames.includes(wantedUpstream ?? '') ? undefined : '--upstream');
const chosen = wanted.length > 0 ? wanted.flatMap(runsOf) : runsOfAll();

if (unknown !== undefined) {
  console.log(`There is no client or upstream for "${unknown}".`);
  console.log(`Clients: ${all.map(({ name }) => name).join(', ')}. Upstreams: ${upstreamNames.join(', ')}.`);
  process.exitCode = 1;
} else {
  const packages = [...new Set(chosen.map(({ client }) => client.packageName))];
  process.exitCode = await runClosed({ script: import.meta.filename, packages, drive });
}

function runsOf(word: string): Run[] {
  const [prefix = '', upstreamName = wantedUpstream ?? 'warp'] = word.split('@');
  if (!upstreamNames.includes(upstreamName)) return [];
  const exact = all.filter(({ name }) => name === prefix && word.includes('@'));
  const found = exact.length > 0 ? exact : all.filter(({ name }) => name.startsWith(prefix));
  return found.map((client) => ({ client, upstreamName }));
}

function runsOfAll(): Run[] {
  const travelling = all.filter(({ name }) => travellers.includes(name));
  return (wantedUpstream === undefined ? upstreamNames : [wantedUpstream]).flatMap((upstreamName) =>
    (upstreamName === 'warp' ? all : travelling).map((client) => ({ client, upstreamName })),
  );
}

async function drive(folder: string, missing: readonly string[]): Promise<number> {
  const warp = await startSandbox();
  const vendors = await startVendors(folder, vendorNames);
  const key = 'client-key';
  const config = loadConfig(
    {
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: join(folder, 'data'),
      WARP_SERVER_URL: warp.url,
      WARP_API_KEY: account,
      API_KEYS: key,
      SHUTDOWN_SECONDS: '0',
      ...vendors.environment,
    },
    folder,
  );
  const services = await startServices(config, 'both', createLogger('FATAL'), (error) => {
    throw error;
  });
  const gateway = await watchGateway(services.gatewayUrl ?? '');
  const upstreams = [
    warpUpstream(warp),
    ...vendorNames.map((name) => vendorUpstream(name, vendors.sandboxes[name])),
  ];
  const endAt = Date.now() + wholeLimitMs;
  let failed = 0;
  try {
    for (const { client, upstreamName } of chosen) {
      const upstream = upstreams.find(({ name }) => name === upstreamName);
      if (upstream === undefined || missing.includes(client.packageName)) continue;
      const access = { gatewayUrl: gateway.url, key, model: upstream.model };
      const title = `${client.name}@${upstream.name} (${client.dialect})`;
      if (wantsFaults) {
        await tellFaults(client, folder, access, warp, account);
        continue;
      }
      if (Date.now() + runLimitMs > endAt) {
        failed += 1;
        console.log(`FAILED  ${title}: there was no time left to run it`);
        continue;
      }
      const startedAt = Date.now();
      const before = upstream.turnCount();
      const fault = await faultOf(client, folder, access, { gateway, upstream });
      if (fault !== undefined) failed += 1;
      const seconds = ((Date.now() - startedAt) / 1_000).toFixed(1);
      const turns = upstream.turnCount() - before;
      const log = join(folder, 'runs', `${client.name}@${upstream.name}.json`);
      writeFileSync(log, JSON.stringify(upstream.requests(before), undefined, 1));
      console.log(
        fault === undefined
          ? `ok      ${title}: ${seconds} s, ${turns} turns, ${upstream.remark(before, client)}`
          : `FAILED  ${title}: ${seconds} s, ${turns} turns: ${fault}`,
      );
    }
  } finally {
    gateway.close();
    await services.close();
    await warp.close();
    await vendors.close();
  }
  return failed === 0 ? 0 : 1;
}

/** What is wrong with how a client did its task; undefined when nothing is. */
async function faultOf(
  client: Client,
  folder: string,
  access: Access,
  { gateway, upstream }: { gateway: WatchedGateway; upstream: Upstream },
): Promise<string | undefined> {
  const before = upstream.turnCount();
  const socketsBefore = gateway.socketCount();
  const compressedBefore = gateway.compressedCount();
  const output = await runClient(client, folder, access, runLimitMs);
  if (output === undefined) return 'could not be run';

  const turns = upstream.turnCount() - before;
  const problems = upstream.problems(before, client);
  const shows = client.shows ?? secret;
  if (problems.length > 0) return `broke rules of the upstream: ${problems.join('; ')}`;
  if (!output.includes(shows)) {
    const tools = upstream.toolNames(before).join(', ');
    return `did not show ${JSON.stringify(shows)}, with the tools ${tools}:\n${output.slice(-1_500)}`;
  }
  if (client.isOverWebSocket && gateway.socketCount() === socketsBefore) {
    return 'fell back to HTTP instead of a WebSocket';
  }
  if (client.isCompressed && gateway.compressedCount() === compressedBefore) return 'compressed no body';
  const warning = output.split('\n').find((line) => client.warnings?.test(line));
  if (warning !== undefined) return `warned: ${warning}`;
  return turns === client.turns
    ? undefined
    : `took ${turns} turns instead of ${client.turns}: it may have repeated a broken stream`;
}
