/**
 * What the gateway costs, against the least a gateway in Node can cost. See README.md beside this file.
 *
 *   npm run bench                        everything, in some twelve minutes
 *   npm run bench -- --quick             fewer rounds, in some five minutes
 *   npm run bench -- --only json,store   some of the workloads (`workloads.ts`), ledger, idle, store
 *   npm run bench -- --h2                the gateways' upstream over TLS and HTTP/2; floor and relay stay on plain http
 *   npm run bench -- --cpu-prof FOLDER   CPU profiles of gateway and floor
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startPostgresServer } from '../src/db/testing/postgres-server.ts';
import { median, quantile, ratios, show, showSpread, table } from './figures.ts';
import { openStreams, runLoad } from './load.ts';
import { cpuUs, residentKib } from './proc.ts';
import { addAccount, createPrograms, floorOptions, nodeOptions, type Program, urlOf } from './programs.ts';
import { fillPostgres, fillSqlite, measureStores, showStores } from './stores.ts';
import {
  clientRequests,
  faultInAnswer,
  faultInUpstreamAnswer,
  upstreamRequests,
  type Workload,
  workloads,
} from './workloads.ts';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    sizes: { type: 'string' },
    h2: { type: 'boolean', default: false },
    'cpu-prof': { type: 'string' },
  },
});
const service = [...nodeOptions, 'bin/warp2api.js', 'serve'];

const parts = [...workloads.map(({ name }) => name), 'ledger', 'idle', 'store'];
const wanted = new Set<string>(options.only?.split(',') ?? parts);
for (const name of wanted) {
  if (!parts.includes(name)) throw new Error(`--only takes ${parts.join(', ')}, not ${name}`);
}
if (process.platform !== 'linux') throw new Error('CPU time is read from /proc, which only Linux has.');

const rounds = options.quick ? 3 : 7;
const apiKey = 'bench-client-key';
const adminKey = 'bench-admin-key';
const poolApiKey = 'bench-pool-key';
const accounts = 4;
const accountCapacity = 1_000;
const settleMs = 50;
/** Until the usage ledger has the turns. */
const writtenMs = 1_000;
/** Until V8 has compiled for good what runs once a turn: a process is measured that has been running. */
const warmTurns = 8_000;
/** Until what was put off is done as well: a remembered conversation is written after five seconds. */
const laterMs = 6_500;
/** Until a service has given back what only its start has needed. */
const shrunkMs = 6_500;

interface Target {
  readonly name: string;
  readonly program: Program;
  readonly url: string;
  readonly kind: 'gateway' | 'warp-floor' | 'json-floor' | 'relay';
}

interface Sample {
  readonly cpuPerUnit: number;
  readonly turnsPerSecond: number;
  readonly latencies: readonly number[];
}

const requestMakers = new Map<string, () => Buffer>();
const programs = createPrograms();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    programs.killNow();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
}
const startedAt = Date.now();
try {
  console.log(
    `Node ${process.versions.node}, ${availableParallelism()} cores, ${new Date().toISOString().slice(0, 10)}, ` +
      `${rounds} interleaved rounds${options.h2 ? ', gateways over TLS and HTTP/2' : ''}\n`,
  );
  if ([...wanted].some((name) => name !== 'store')) await measureServices();
  if (wanted.has('store')) await reportStores();
  note(`took ${Math.round((Date.now() - startedAt) / 1000)} s`);
} finally {
  await programs.close();
}

async function measureServices(): Promise<void> {
  const profile = options['cpu-prof'];
  const profiling = (name: string) =>
    profile === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${resolve(profile)}`, `--cpu-prof-name=${name}.cpuprofile`];
  const upstream = await programs.start({
    name: 'upstream',
    command: ['src/main.ts', 'sandbox', '--port', '0'],
    awaited: ['the sandbox listens'],
  });
  const upstreamUrl = urlOf(upstream);
  const models = await programs.start({
    name: 'model-upstream',
    command: ['bench/model-upstream.ts'],
    awaited: ['the model upstream listens'],
  });
  const configFile = `${programs.folder}/warp2api.yaml`;
  writeFileSync(
    configFile,
    [
      'providers:',
      `  local: { type: openai_compatible, base_url: "${urlOf(models)}/v1" }`,
      `  claude: { type: anthropic_compatible, base_url: "${urlOf(models)}" }`,
    ].join('\n'),
  );
  const certificate = `${programs.folder}/upstream.pem`;
  const secure = options.h2
    ? await programs.start({
        name: 'upstream-h2',
        command: ['src/main.ts', 'sandbox', '--port', '0', '--require-http2', '--certificate', certificate],
        awaited: ['the sandbox listens'],
      })
    : undefined;
  const environment = (dataFolder: string) => ({
    DATA_DIR: `${programs.folder}/${dataFolder}`,
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    API_KEYS: apiKey,
    ADMIN_KEY: adminKey,
    POOL_API_KEY: poolApiKey,
    WARP_SERVER_URL: secure ? urlOf(secure) : upstreamUrl,
    ...(secure && { NODE_EXTRA_CA_CERTS: certificate }),
    CONFIG_FILE: configFile,
    SANDBOX: 'off',
    LOG_LEVEL: 'INFO',
  });
  const poolLine = 'the account pool listens';
  const gatewayLine = 'the gateway listens';
  const pool = await programs.start({
    name: 'pool',
    command: [...service, 'pool'],
    environment: environment('apart'),
    awaited: [poolLine],
  });
  const both = await programs.start({
    name: 'both',
    command: service,
    environment: environment('both'),
    awaited: [gatewayLine, poolLine],
  });
  await addAccounts(urlOf(pool));
  await addAccounts(both.urls[1] ?? '');
  const startGateway = (name: string, profilerOptions: readonly string[] = [], settings = {}) =>
    programs.start({
      name,
      command: [...profilerOptions, ...service, 'gateway'],
      environment: { ...environment(name), POOL_SERVICE_URL: urlOf(pool), ...settings },
      awaited: [gatewayLine],
    });

  if (workloads.some(({ name }) => wanted.has(name))) {
    const gateway = await startGateway('gateway', profiling('gateway'));
    const floor = await programs.start({
      name: 'floor',
      command: [...profiling('floor'), ...floorOptions, 'bench/floor.ts', upstreamUrl],
      awaited: ['the floor listens'],
    });
    const relay = await programs.start({
      name: 'relay',
      command: [...floorOptions, 'bench/relay.ts', upstreamUrl],
      awaited: ['the relay listens'],
    });
    const jsonFloor = await programs.start({
      name: 'json-floor',
      command: [...floorOptions, 'bench/json-floor.ts', urlOf(models)],
      awaited: ['the JSON floor listens'],
    });
    const targets: Target[] = [
      { name: 'Warp floor', program: floor, url: urlOf(floor), kind: 'warp-floor' },
      { name: 'JSON floor', program: jsonFloor, url: urlOf(jsonFloor), kind: 'json-floor' },
      { name: 'gateway', program: gateway, url: urlOf(gateway), kind: 'gateway' },
      { name: 'gateway and pool in one', program: both, url: urlOf(both), kind: 'gateway' },
      { name: 'relay', program: relay, url: urlOf(relay), kind: 'relay' },
    ];
    for (const workload of workloads) if (wanted.has(workload.name)) await measure(workload, targets);
    console.log(
      `${table(
        ['process', 'ready after, ms', 'peak memory, MiB'],
        targets.map(({ name, program }) => [
          name,
          show(program.readyMs),
          show(residentKib(program.pid, 'peak') / 1024),
        ]),
      )}\n`,
    );
    await Promise.all(targets.map(({ program }) => program.stop()));
  }
  if (wanted.has('ledger')) await measureLedger((name, settings) => startGateway(name, [], settings));
  if (wanted.has('idle')) await measureIdle(await startGateway('gateway-idle'));
  await Promise.all([pool, upstream, secure, models].map((program) => program?.stop()));
}

function takesPart({ kind }: Target, { name, floor }: Workload): boolean {
  if (kind === 'relay') return floor === 'warp' && name !== 'tail';
  return kind === 'gateway' || kind === `${floor}-floor`;
}

async function measure(workload: Workload, all: readonly Target[]): Promise<void> {
  note(workload.title);
  const targets = all.filter((target) => takesPart(target, workload));
  const count = options.quick ? workload.quickCount : workload.count;
  const samples = new Map<Target, Sample[]>(targets.map((target) => [target, []]));
  for (const target of targets) await warmUp(workload, target);
  const begun = new Map(targets.map((target) => [target, cpuUs(target.program.pid)]));
  for (let round = 0; round < rounds; round += 1) {
    for (const target of targets) samples.get(target)?.push(await runOnce(workload, target, count));
  }

  await delay(laterMs);
  const units = rounds * count * workload.unitsPerTurn;
  const inAll = (target: Target): number => (cpuUs(target.program.pid) - (begun.get(target) ?? 0)) / units;
  const latenciesOf = (target: Target) => (samples.get(target) ?? []).flatMap((sample) => sample.latencies);
  const cpuOf = (target: Target): number[] => (samples.get(target) ?? []).map(({ cpuPerUnit }) => cpuPerUnit);
  const [floor] = targets;
  const rows = targets.map((target) => {
    const own = samples.get(target) ?? [];
    const latencies = latenciesOf(target);
    const p99 = quantile(latencies, 0.99);
    return [
      target.name,
      show(median(cpuOf(target))),
      floor ? showSpread(ratios(cpuOf(target), cpuOf(floor))) : '',
      show(inAll(target)),
      show(median(own.map((sample) => sample.turnsPerSecond))),
      show(quantile(latencies, 0.5)),
      show(p99),
      floor ? show(p99 / quantile(latenciesOf(floor), 0.99)) : '',
    ];
  });
  const what = workload.latency === 'first' ? 'first bytes' : 'whole answer';
  const budgeted = workload.perSecond === undefined ? 'times the floor' : "times the floor's p99";
  console.log(`${workload.title}. The gateway's budget: ${workload.budget} ${budgeted}.\n`);
  console.log(
    `${table(
      [
        'process',
        `CPU us per ${workload.unit}`,
        'times the floor',
        'with what is done later',
        'turns/s',
        `${what} p50 ms`,
        `${what} p99 ms`,
        "times the floor's",
      ],
      rows,
    )}\n`,
  );
}

/**
 * What the usage ledger adds to a turn: gateways with and without it, several of each, since two processes that run the
 * same code differ by some per cent.
 */
async function measureLedger(
  start: (name: string, settings: Readonly<Record<string, string>>) => Promise<Program>,
): Promise<void> {
  const rows: string[][] = [];
  for (const workload of workloads.filter(({ name }) => name === 'relay-json' || name === 'json')) {
    note(`with and without the usage ledger: ${workload.title}`);
    const count = options.quick ? workload.quickCount : workload.count;
    const cpu = { with: [] as number[], without: [] as number[] };
    for (let pair = 0; pair < 3; pair += 1) {
      const begin = async (state: keyof typeof cpu, keepDays: string) => {
        const name = `${state}-ledger-${workload.name}-${pair}`;
        const program = await start(name, { USAGE_KEEP_DAYS: keepDays });
        return { state, name, program, url: urlOf(program), kind: 'gateway' } as const;
      };
      const targets = [await begin('without', '0'), await begin('with', '90')];
      for (const target of targets) await warmUp(workload, target);
      for (let round = 0; round < rounds; round += 1)
        for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
          const { cpuPerUnit } = await runOnce(workload, target, count, writtenMs);
          cpu[target.state].push(cpuPerUnit);
        }
      await Promise.all(targets.map(({ program }) => program.stop()));
    }
    const times = showSpread(ratios(cpu.with, cpu.without));
    rows.push([workload.title, show(median(cpu.without)), show(median(cpu.with)), times]);
  }
  console.log('The usage ledger. The budget: 1.05 times what a turn costs without it.\n');
  console.log(`${table(['workload', 'CPU us without', 'with', 'times'], rows)}\n`);
}

/** At full speed where the upstream does not set the pace. */
async function warmUp(workload: Workload, target: Target): Promise<void> {
  const count = workload.latency === 'first' ? workload.count : warmTurns;
  await runOnce({ ...workload, perSecond: undefined }, target, count);
}

async function runOnce(
  workload: Workload,
  target: Target,
  count: number,
  untilMs = settleMs,
): Promise<Sample> {
  const { connections, unitsPerTurn, perSecond } = workload;
  const before = cpuUs(target.program.pid);
  const result = await runLoad({
    url: target.url,
    nextRequest: requestsFor(target, workload),
    perSecond,
    faultIn: target.kind === 'relay' ? faultInUpstreamAnswer(workload) : faultInAnswer(workload),
    connections,
    count,
  });
  await delay(untilMs);
  const spent = cpuUs(target.program.pid) - before;
  return {
    cpuPerUnit: spent / (count * unitsPerTurn),
    turnsPerSecond: (count * 1000) / result.elapsedMs,
    latencies: workload.latency === 'first' ? result.firstMs : result.wholeMs,
  };
}

/** One numbering for all rounds of a target: what was asked before would be remembered. */
function requestsFor({ name: targetName, kind }: Target, workload: Workload): () => Buffer {
  const { isStream, dialect } = workload;
  // Only the gateway knows providers.
  const model = kind === 'gateway' ? workload.model : workload.model.replace(/^\w+\//, '');
  const name = `${targetName} ${dialect} ${model}`;
  const known = requestMakers.get(name);
  if (known) return known;
  const made = kind === 'relay' ? upstreamRequests(model) : clientRequests(model, isStream, apiKey, dialect);
  requestMakers.set(name, made);
  return made;
}

/** What a stream costs that is open and says nothing. On a fresh gateway: memory once taken is seldom given back. */
async function measureIdle(gateway: Program): Promise<void> {
  const count = options.quick ? 300 : 1_000;
  note(`${count} idle streams`);
  const url = urlOf(gateway);
  await delay(shrunkMs);
  const fresh = residentKib(gateway.pid, 'now');
  const target = { name: 'gateway-idle', program: gateway, url, kind: 'gateway' } as const;
  for (const workload of workloads.filter(({ name }) => name === 'json' || name === 'burst'))
    await runOnce(workload, target, workload.quickCount);
  await delay(1_000);
  const before = residentKib(gateway.pid, 'now');
  const streams = await openStreams({
    url,
    nextRequest: clientRequests('sandbox-stall', true, apiKey),
    count,
  });
  await delay(1_000);
  const opened = residentKib(gateway.pid, 'now');
  const cpuBefore = cpuUs(gateway.pid);
  const laterMs = options.quick ? 2_000 : 6_000;
  await delay(laterMs);
  const later = residentKib(gateway.pid, 'now');
  const cpuPerSecond = ((cpuUs(gateway.pid) - cpuBefore) * 1000) / laterMs;
  streams.close();
  console.log(`${count} open streams that say nothing. The budget: 25 MB more for 1,000, and flat.\n`);
  console.log(
    `${table(
      [
        'just started, MiB',
        'after some turns, MiB',
        'open, MiB',
        `${laterMs / 1000} s later, MiB`,
        'KiB per stream',
        'CPU ms per second',
      ],
      [
        [
          show(fresh / 1024),
          show(before / 1024),
          show(opened / 1024),
          show(later / 1024),
          show((later - before) / count),
          show(cpuPerSecond / 1000),
        ],
      ],
    )}\n`,
  );
  await gateway.stop();
}

async function reportStores(): Promise<void> {
  const sizes = options.sizes?.split(',').map(Number) ?? (options.quick ? [1_000, 20_000] : [1_000, 100_000]);
  const how = { rounds, count: options.quick ? 500 : 2_000 };
  console.log(
    'Accounts lent and given back, on the store as the pool runs it. The budget: status under 5 ms, and at most ' +
      'twice the time on the larger store.\n',
  );
  note(`SQLite stores of ${sizes.join(' and ')} accounts`);
  showStores('SQLite', await measureStores(fillSqlite(programs.folder), sizes, how));
  note(`PostgreSQL stores of ${sizes.join(' and ')} accounts`);
  const server = await startPostgresServer();
  try {
    showStores('PostgreSQL', await measureStores(fillPostgres(server.url), sizes, how));
  } finally {
    await server.dispose();
  }
}

async function addAccounts(poolUrl: string): Promise<void> {
  for (let number = 1; number <= accounts; number += 1) {
    await addAccount(poolUrl, adminKey, `wk-bench-${number}`, accountCapacity);
    await addAccount(poolUrl, adminKey, `sk-bench-${number}`, accountCapacity, 'local');
    await addAccount(poolUrl, adminKey, `sk-claude-${number}`, accountCapacity, 'claude');
  }
}

function note(text: string): void {
  console.error(`[bench] ${text}`);
}
