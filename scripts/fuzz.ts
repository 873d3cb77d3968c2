/**
 * Runs schemathesis against the pool and the gateway: requests made from their own OpenAPI documents, good and bad,
 * single and in sequences, and every answer held against the document. Both are processes of their own with keys set,
 * Warp is played by the sandbox. Exit code 1 when it finds something, when a service died or logged a fault of its own.
 *
 *   npm run fuzz                       both services, some minutes
 *   npm run fuzz -- pool --seconds 600 one of them, again and again until the time is up
 *   npm run fuzz -- --examples 200     more requests for each operation
 *   npm run fuzz -- --seed 7           the requests of an earlier run
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startSandbox } from '../sandbox/index.ts';
import { runClosed, wordsGiven } from './closed-run.ts';

const version = '4.32.5';
const keys = {
  ADMIN_KEY: 'fuzz-admin-key-0123456789',
  POOL_API_KEY: 'fuzz-pool-key',
  API_KEYS: 'fuzz-client-key',
};
const services = ['pool', 'gateway'] as const;
type ServiceName = (typeof services)[number];
const shownFaults = 10;
/** The configuration of schemathesis, and which of its findings are no faults here. */
const configFolder = join(import.meta.dirname, 'fuzz');

const { values, positionals } = parseArgs({
  args: wordsGiven(),
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    examples: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(randomInt(1_000_000)) },
  },
});
const wanted = services.filter((name) => positionals.length === 0 || positionals.includes(name));
const unknown = positionals.find((word) => !services.some((name) => name === word));

if (unknown !== undefined) {
  console.log(`There is no service "${unknown}". There are ${services.join(' and ')}.`);
  process.exitCode = 1;
} else {
  process.exitCode = await runClosed({
    script: import.meta.filename,
    packages: [`schemathesis==${version}`],
    registry: 'PyPI',
    drive,
  });
}

async function drive(folder: string, missing: readonly string[]): Promise<number> {
  if (missing.length > 0) {
    console.log('schemathesis could not be installed, so nothing was examined.');
    return 1;
  }
  let failed = 0;
  for (const name of wanted) {
    // Each has a pool of its own: what is done to the accounts of one must not change what the other answers.
    const upstream = await startSandbox();
    const home = mkdtempSync(join(folder, `${name}-`));
    const service = await startService(name, home, upstream.url);
    try {
      console.log(`${name} at ${service.url}, seed ${values.seed}`);
      const code = await examine(join(folder, 'python'), home, service.url);
      const faults = service.faults();
      if (code !== 0 || faults.length > 0) failed += 1;
      console.log(
        code === 0 ? `ok      ${name}` : `FAILED  ${name}: run it again with --seed ${values.seed}`,
      );
      for (const line of faults.slice(0, shownFaults)) console.log(`FAILED  ${name} logged: ${line}`);
    } finally {
      await service.close();
      await upstream.close();
    }
  }
  return failed === 0 ? 0 : 1;
}

/** Answers the exit code of schemathesis, whose words go to the screen. */
async function examine(python: string, home: string, url: string): Promise<number> {
  const words = [
    ...['--config-file', join(configFolder, 'schemathesis.toml')],
    ...['run', `${url}/openapi.json`, '--seed', values.seed, '--max-examples', values.examples],
    ...(values.seconds === undefined ? [] : ['--max-time', values.seconds]),
    '--no-color',
  ];
  const child = spawn(join(python, 'bin', 'schemathesis'), words, {
    cwd: home,
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      PYTHONPATH: configFolder,
      PYTHONDONTWRITEBYTECODE: '1',
      SCHEMATHESIS_HOOKS: 'hooks',
      ...keys,
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = await once(child, 'exit');
  return code ?? 1;
}

interface Service {
  readonly url: string;
  /** What it logged that a request must never bring about, and that it died. */
  faults(): readonly string[];
  close(): Promise<void>;
}

async function startService(name: ServiceName, folder: string, upstreamUrl: string): Promise<Service> {
  const words = [
    resolve(import.meta.dirname, '../src/main.ts'),
    'serve',
    ...(name === 'pool' ? ['pool'] : []),
  ];
  const child: ChildProcess = spawn(process.execPath, words, {
    cwd: folder,
    env: {
      ...keys,
      PATH: process.env['PATH'],
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: join(folder, 'data'),
      WARP_SERVER_URL: upstreamUrl,
      SHUTDOWN_SECONDS: '0',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const faults: string[] = [];
  const exited = once(child, 'exit');
  const kind = name === 'pool' ? 'account pool' : 'gateway';
  const url = await new Promise<string>((found, reject) => {
    child.once('exit', (code, signal) => {
      faults.push(`it ended with ${code ?? signal}`);
      reject(new Error(`The ${kind} ended before it listened.`));
    });
    createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => {
      const address = new RegExp(`"url":"([^"]+)".*the ${kind} listens`).exec(line)?.[1];
      if (address !== undefined) found(address);
      if (/"level":"(error|fatal)"/.test(line)) faults.push(line.slice(0, 2_000));
    });
  });
  return {
    url,
    faults: () => [...faults],
    async close() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
