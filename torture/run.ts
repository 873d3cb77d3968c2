import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { startPostgresServer } from '../src/db/testing/postgres-server.ts';
import { type CallerFigures, runCaller } from './caller.ts';
import { createInstance, type Instance, pause } from './instances.ts';
import { createLedger } from './ledger.ts';
import { inspect } from './verdict.ts';

const { values } = parseArgs({
  options: {
    instances: { type: 'string', default: '3' },
    callers: { type: 'string', default: '32' },
    accounts: { type: 'string', default: '500' },
    kills: { type: 'string', default: '24' },
    h2: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const instanceCount = Number(values.instances);
const accountCount = Number(values.accounts);
const killCount = Number(values.kills);

const ttlSeconds = 15;
/** Longer than idle sessions last, and than a refresh may be under way before it counts as interrupted. */
const quietSeconds = 65;
/** As short as tests on this machine may have it. */
const refreshMinutes = 1;
/** A bearer outlives the ceiling, so that accounts lapse only where a refresh was lost. */
const lifetimeSeconds = 100;
/** Between the moment a token is issued and the answer's arrival: the window in which a kill loses it. */
const answerDelayMs = 300;
/** What an instance has under way at most, and so what a kill can interrupt at most. */
const refreshesAtOnce = 4;

const folder = mkdtempSync(join(tmpdir(), 'warp2api-torture-'));
const certificateFile = join(folder, 'sandbox.pem');
const say = (text: string): void =>
  console.log(`${(process.uptime() | 0).toString().padStart(4)} s  ${text}`);
process.exitCode = await torture();

async function torture(): Promise<0 | 1> {
  const sandbox = await startSandbox(values.h2 ? { tls: 'only', alpn: 'h2', requireHttp2: true } : {});
  if (sandbox.transport.certificate !== undefined) {
    writeFileSync(certificateFile, sandbox.transport.certificate);
  }
  // Intents are a whole interval apart; two answers may be somewhat closer.
  sandbox.tokens.set({ rotation: 'always', lifetimeSeconds, windowSeconds: refreshMinutes * 60 - 5 });
  const database = await startPostgresServer();
  const instances: Instance[] = [];
  let isStopping = false;
  try {
    const environment = environmentOf(sandbox, database.url('postgres'));
    for (let number = 0; number < instanceCount; number += 1) {
      instances.push(await createInstance(`pool-${number}`, folder, environment));
    }
    await Promise.all(instances.map((instance) => instance.start()));
    const urls = instances.map(({ url }) => url);
    say(`${instanceCount} instances run; adding ${accountCount} accounts`);
    await addAccounts(sandbox, urls);
    // From here on every answer is on its way for a while, so that kills fall into that window.
    sandbox.tokens.fail({
      kind: 'slow',
      delayMs: answerDelayMs,
      times: Number.MAX_SAFE_INTEGER,
      path: '/v1/token',
    });

    const ledger = createLedger(Date.now);
    const figures: CallerFigures = {
      turns: 0,
      refused: 0,
      repeated: 0,
      abandoned: 0,
      longestMs: 0,
      faults: [],
    };
    const isGood = (bearer: string): boolean => sandbox.tokens.accepts(bearer);
    const options = { urls, ledger, figures, ttlSeconds, isGood, isStopping: () => isStopping };
    const callers = Array.from({ length: Number(values.callers) }, () => runCaller(options));
    const restarts = killRandomly(instances, database);
    await Promise.race([restarts, Promise.all(callers)]);
    await restarts;
    isStopping = true;
    await Promise.all(callers);
    sandbox.tokens.clearFaults();
    say(
      `${killCount} kills and a restart of the database are over; waiting for ${quietSeconds} quiet seconds`,
    );
    await pause(quietSeconds * 1000);

    const problems = [...ledger.violations, ...figures.faults.slice(0, 20)];
    const found = await inspect({ urls, sandbox, accountCount, problems, say });
    const mostInterrupted = killCount * refreshesAtOnce;
    if (found.interrupted > mostInterrupted) {
      problems.push(`${found.interrupted} refreshes were interrupted by ${killCount} kills`);
    }
    for (const instance of instances) {
      const code = await instance.stop();
      if (code !== 0) problems.push(`an instance ended with ${code} after SIGTERM`);
    }
    const { faults, ...counts } = figures;
    console.log(JSON.stringify({ kills: killCount, grants: ledger.grants, ...counts, ...found }, null, 2));
    for (const problem of problems) console.log(`PROBLEM  ${problem}`);
    console.log(problems.length === 0 ? 'Nothing was lent twice, lost or left behind.' : 'It did not hold.');
    return problems.length === 0 ? 0 : 1;
  } catch (error) {
    console.log(`PROBLEM  it broke off: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    isStopping = true;
    await Promise.all(instances.map((instance) => instance.kill()));
    await database.dispose();
    await sandbox.close();
    if (values.keep) console.log(`The logs are in ${folder}.`);
    else rmSync(folder, { recursive: true });
  }
}

function environmentOf(sandbox: Sandbox, databaseUrl: string): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    DATABASE_URL: databaseUrl,
    DATA_DIR: folder,
    MASTER_KEY: '5a'.repeat(32),
    SANDBOX: 'off',
    MIN_POOL_SIZE: '0',
    MAX_POOL_SIZE: String(accountCount),
    REFRESH_MIN_INTERVAL_MINUTES: String(refreshMinutes),
    ...(values.h2 && { NODE_EXTRA_CA_CERTS: certificateFile }),
    WARP_SERVER_URL: sandbox.url,
    WARP_TOKEN_URL: sandbox.url,
    WARP_IDENTITY_URL: sandbox.url,
    WARP_FIREBASE_API_KEY: 'torture',
  };
}

async function addAccounts(sandbox: Sandbox, urls: readonly string[]): Promise<void> {
  let next = 0;
  const adder = async (): Promise<void> => {
    while (next < accountCount) {
      next += 1;
      const { email, refreshToken } = sandbox.tokens.addAccount();
      const answer = await fetch(`${urls[next % urls.length]}/api/accounts`, {
        method: 'POST',
        body: JSON.stringify({ provider: 'warp', email, refresh_token: refreshToken }),
      });
      if (answer.status !== 201) throw new Error(`an account was refused: ${await answer.text()}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, adder));
}

/** Kills a random instance every 3 to 5 seconds, and restarts the database once, half way. */
async function killRandomly(
  instances: readonly Instance[],
  database: { stop(): Promise<void>; start(): Promise<void> },
): Promise<void> {
  const starting = new Map<Instance, Promise<void>>();
  for (let kill = 1; kill <= killCount; kill += 1) {
    await pause(3_000 + Math.random() * 2_000);
    const number = Math.floor(Math.random() * instances.length);
    const victim = instances[number];
    if (victim === undefined) continue;
    // One that is only just starting is killed as well; what matters is that nobody waits for it.
    await victim.kill();
    await starting.get(victim)?.catch(() => {});
    say(`kill ${kill} of ${killCount}: instance ${number}`);
    if (kill === Math.ceil(killCount / 2)) {
      say('the database restarts');
      await database.stop();
      await pause(1_000);
      await database.start();
    }
    const start = victim.start();
    // Looked at when the instance is needed next; until then it must not count as unhandled.
    start.catch(() => {});
    starting.set(victim, start);
  }
  await Promise.all(starting.values());
}
