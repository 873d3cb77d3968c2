/**
 * Whether memory stays flat: many turns of all kinds, and the heap after a collection at a fifth, three fifths and the end.
 * Exits 1 where it goes on growing. See README.md beside this file.
 *
 *   npm run soak                          50,000 turns, pool and gateway in one process
 *   npm run soak -- --mode apart          pool and gateway as two processes; `both` for one run of each
 *   npm run soak -- --turns 5000          fewer of them; --only chat: of some kinds; --callers 8: fewer at a time
 *   npm run soak -- --snapshots FOLDER    heap snapshots at each measurement, for a browser's developer tools
 */
import {
  copyFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { show, table } from './figures.ts';
import { Inspector, type Memory } from './inspector.ts';
import { cpuUs, residentKib } from './proc.ts';
import { addAccount, createPrograms, nodeOptions, type Program, urlOf } from './programs.ts';
import { openCaller, turnKinds } from './soak-turns.ts';

const { values: options } = parseArgs({
  options: {
    turns: { type: 'string', default: '50000' },
    mode: { type: 'string', default: 'one' },
    callers: { type: 'string', default: '16' },
    minutes: { type: 'string', default: '20' },
    only: { type: 'string' },
    snapshots: { type: 'string' },
  },
});
const turns = Number(options.turns);
const callers = Number(options.callers);
const modes = options.mode === 'both' ? ['one', 'apart'] : [options.mode];
const kinds = turnKinds.filter(({ name }) => options.only === undefined || name.includes(options.only));
if (!Number.isSafeInteger(turns) || turns < 100) throw new Error('--turns takes a number from 100.');
if (!modes.every((mode) => mode === 'one' || mode === 'apart'))
  throw new Error('--mode takes one, apart or both.');
if (process.platform !== 'linux')
  throw new Error('Resident memory is read from /proc, which only Linux has.');

/** How much more the last measurement may find than the second. */
const mostGrowth = 3 * 1024 * 1024;
/** Until then remembered conversations fill the memory they may have, which lies outside of the heap. */
const turnsUntilFull = 20_000;
/** Of the turns, when it is measured. */
const measuredAt = [0.2, 0.6, 1];
/** What goes on after the last answer: reports, what is remembered, the log. */
const settleMs = 3_000;
const apiKeys = ['soak-client-key-1', 'soak-client-key-2'];
const adminKey = 'soak-admin-key';
const poolApiKey = 'soak-pool-key';
/** Those behind a point always fail so. */
const accounts = ['1', '2', '3', '4', '5.429', '6.500'];
const deadline = Date.now() + Number(options.minutes) * 60_000;

interface Service {
  readonly name: string;
  readonly program: Program;
  readonly inspector: Inspector;
}

interface Measurement extends Memory {
  readonly turns: number;
  /** KiB, before the collection: what an operator sees. */
  readonly resident: number;
  readonly peak: number;
  readonly cpuSeconds: number;
}

const programs = createPrograms();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    programs.killNow();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
}
try {
  console.log(
    `Node ${process.versions.node}, ${availableParallelism()} cores, ${turns} turns from ${callers} callers\n`,
  );
  for (const mode of modes) await soak(mode);
} catch (error) {
  process.exitCode = 1;
  console.error(error instanceof Error ? error.message : error);
} finally {
  await programs.close();
}

async function soak(mode: string): Promise<void> {
  const folder = join(programs.folder, mode);
  const upstream = await programs.start({
    name: `upstream-${mode}`,
    command: ['src/main.ts', 'sandbox', '--port', '0'],
    awaited: ['the sandbox listens'],
  });
  const environment = {
    DATA_DIR: folder,
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    API_KEYS: apiKeys.join(','),
    ADMIN_KEY: adminKey,
    POOL_API_KEY: poolApiKey,
    WARP_SERVER_URL: urlOf(upstream),
    SANDBOX: 'off',
    LOG_LEVEL: 'INFO',
    // As `npm start` has it.
    MALLOC_MMAP_THRESHOLD_: String(1024 * 1024),
    MALLOC_ARENA_MAX: '2',
  };
  const services: Service[] = [];
  const start = (name: string, words: readonly string[], awaited: readonly string[], more = {}) =>
    programs.start({
      name,
      command: ['--inspect=127.0.0.1:0', ...nodeOptions, 'bin/warp2api.js', 'serve', ...words],
      environment: { ...environment, ...more },
      awaited,
    });
  const serve = async (...how: Parameters<typeof start>) => {
    // A checkout's first start strips the types, and keeps the stripper in memory.
    await (await start(...how)).stop();
    const program = await start(...how);
    const [name] = how;
    services.push({ name, program, inspector: await Inspector.connect(inspectorUrl(name)) });
    return program;
  };
  let poolUrl: string;
  let gatewayUrl: string;
  if (mode === 'one') {
    const both = await serve('pool and gateway', [], ['the account pool listens', 'the gateway listens']);
    [poolUrl, gatewayUrl] = both.urls as [string, string];
  } else {
    poolUrl = urlOf(await serve('pool', ['pool'], ['the account pool listens']));
    const gateway = await serve('gateway', ['gateway'], ['the gateway listens'], {
      POOL_SERVICE_URL: poolUrl,
    });
    gatewayUrl = urlOf(gateway);
  }
  for (const number of accounts) await addAccount(poolUrl, adminKey, `wk-soak-${number}`, 20);

  const found = new Map<Service, Measurement[]>(services.map((service) => [service, []]));
  const rows: Map<string, number>[] = [];
  const startedAt = performance.now();
  const load = startLoad(gatewayUrl);
  for (const part of measuredAt) {
    const sent = await load.runTo(Math.round(turns * part));
    const seconds = (performance.now() - startedAt) / 1000;
    note(`${mode}: ${sent} turns after ${Math.round(seconds)} s`);
    await delay(settleMs);
    for (const service of services) {
      found.get(service)?.push(await measure(service, sent));
      if (options.snapshots)
        await saveSnapshot(service, `${mode}-${service.name.replaceAll(' ', '-')}-${sent}`);
    }
    rows.push(countRows(folder));
  }
  await load.close();

  for (const [{ name }, measurements] of found) report(name, measurements);
  reportRows(rows, [...found.values()][0]?.map((one) => one.turns) ?? []);
  for (const { inspector } of services) inspector.close();
  await Promise.all([...services.map(({ program }) => program.stop()), upstream.stop()]);
}

/** The callers, which stop for each measurement. */
function startLoad(url: string) {
  const clients = Array.from({ length: callers }, (_, index) => ({
    dispatcher: openCaller(url),
    key: apiKeys[index % apiKeys.length] as string,
    next: index,
  }));
  let sent = 0;
  let lastNumber = 0;

  async function runClient(client: (typeof clients)[number], wanted: number): Promise<void> {
    while (sent < wanted) {
      if (Date.now() > deadline)
        throw new Error(`not done within ${options.minutes} minutes; --minutes allows more`);
      const kind = kinds[client.next % kinds.length];
      client.next += 1;
      const { dispatcher, key } = client;
      const number = () => {
        lastNumber += 1;
        return lastNumber;
      };
      const turn = () => {
        sent += 1;
      };
      try {
        await kind?.run({ url, key, dispatcher, number, turn });
      } catch (cause) {
        throw new Error(`${kind?.name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    }
  }

  return {
    async runTo(wanted: number): Promise<number> {
      await Promise.all(clients.map((client) => runClient(client, wanted)));
      return sent;
    },
    async close(): Promise<void> {
      await Promise.all(clients.map(({ dispatcher }) => dispatcher.destroy()));
    },
  };
}

async function measure({ program, inspector }: Service, sent: number): Promise<Measurement> {
  const { pid } = program;
  const resident = residentKib(pid, 'now');
  const peak = residentKib(pid, 'peak');
  const cpuSeconds = cpuUs(pid) / 1_000_000;
  return { turns: sent, resident, peak, cpuSeconds, ...(await inspector.memory()) };
}

function report(name: string, measurements: readonly Measurement[]): void {
  const mib = (bytes: number) => (bytes / 1024 / 1024).toFixed(1);
  console.log(
    `${table(
      [name, 'heap MiB', 'of', 'external', 'in buffers', 'resident', 'peak', 'handles', 'CPU us a turn'],
      measurements.map((one) => [
        `${one.turns} turns`,
        mib(one.heapUsed),
        mib(one.heapTotal),
        mib(one.external),
        mib(one.arrayBuffers),
        show(one.resident / 1024),
        show(one.peak / 1024),
        String(one.handles),
        show((one.cpuSeconds * 1_000_000) / one.turns),
      ]),
    )}\n`,
  );
  const [, second, last] = measurements;
  if (!second || !last) return;
  judge('The heap', second.heapUsed, last.heapUsed);
  if (second.turns >= turnsUntilFull) judge('Memory outside of the heap', second.external, last.external);

  function judge(what: string, before: number, after: number): void {
    if (!second || !last || after - before <= mostGrowth) return;
    process.exitCode = 1;
    console.log(
      `${what} of "${name}" grew by ${mib(after - before)} MiB from ${second.turns} to ${last.turns} turns, with garbage ` +
        `collected; at most ${mib(mostGrowth)} is fine. Something is kept for each turn: compare heap snapshots (--snapshots).\n`,
    );
  }
}

function reportRows(rows: readonly Map<string, number>[], sent: readonly number[]): void {
  const names = [...new Set(rows.flatMap((counts) => [...counts.keys()]))];
  const filled = names.map((name) => [name, ...rows.map((counts) => String(counts.get(name) ?? 0))]);
  console.log(`${table(['rows of', ...sent.map((count) => `${count} turns`)], filled)}\n`);
}

/** In a copy, since the files are held. */
function countRows(folder: string): Map<string, number> {
  const counts = new Map<string, number>();
  const copies = mkdtempSync(join(programs.folder, 'rows-'));
  for (const file of ['accounts.db', 'gateway.db']) {
    if (!existsSync(join(folder, file))) continue;
    for (const end of ['', '-wal']) {
      if (existsSync(join(folder, file + end)))
        copyFileSync(join(folder, file + end), join(copies, file + end));
    }
    const database = new DatabaseSync(join(copies, file));
    const tables = database.prepare(
      `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`,
    );
    for (const { name } of tables.all()) {
      const { count } = database.prepare(`SELECT COUNT(*) AS count FROM "${name}"`).get() ?? {};
      if (Number(count) > 0) counts.set(`${file} ${name}`, Number(count));
    }
    database.close();
  }
  rmSync(copies, { recursive: true });
  return counts;
}

async function saveSnapshot({ inspector }: Service, name: string): Promise<void> {
  const folder = resolve(options.snapshots ?? '');
  mkdirSync(folder, { recursive: true });
  const file = createWriteStream(join(folder, `${name}.heapsnapshot`));
  await inspector.snapshot((chunk) => file.write(chunk));
  await new Promise<void>((done) => file.end(done));
}

function inspectorUrl(name: string): string {
  const log = readFileSync(join(programs.folder, `${name}.log`), 'utf8');
  const url = /Debugger listening on (ws:\S+)/.exec(log)?.[1];
  if (url === undefined) throw new Error(`${name} has no inspector:\n${log.slice(0, 2_000)}`);
  return url;
}

function note(text: string): void {
  console.error(`[soak] ${text}`);
}
