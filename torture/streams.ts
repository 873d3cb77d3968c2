import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startPostgresServer } from '../src/db/testing/postgres-server.ts';
import { createInstance, type Instance, pause } from './instances.ts';

/**
 * Two gateways on one pool and one PostgreSQL, with many streams running: a gateway is killed, the pool is killed, the database is
 * restarted. Only the killed gateway's own streams may break, each with an error that its client sees.
 */
const { values } = parseArgs({
  options: { streams: { type: 'string', default: '200' }, keep: { type: 'boolean', default: false } },
});
const streamCount = Number(values.streams);
const accountCount = 20;
const chunks = 40;
const chunkEveryMs = 200;
const adminKey = 'torture-admin-key-0123456789';
const poolKey = 'torture-pool-key-0123456789';

/** How a turn ended for its client. `false end`: it looks whole and is not. */
type Ending = 'whole' | 'error event' | 'connection lost' | 'refused' | 'false end';
interface Turn {
  readonly client: number;
  readonly gateway: number;
  readonly begunAt: number;
  ending?: Ending;
  endedAt?: number;
  status?: number;
  code?: string | undefined;
}

const folder = mkdtempSync(join(tmpdir(), 'warp2api-streams-'));
const turns: Turn[] = [];
let isStopping = false;
const say = (text: string): void =>
  console.log(`${(process.uptime() | 0).toString().padStart(4)} s  ${text}`);
process.exitCode = await storm();

async function storm(): Promise<0 | 1> {
  const upstream = await startUpstream();
  const database = await startPostgresServer();
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers:\n  slow: { type: openai_compatible, base_url: "${upstream.url}" }\n`,
  );
  const shared = {
    PATH: process.env['PATH'] ?? '',
    DATABASE_URL: database.url('postgres'),
    KEEP_URL: database.url('postgres'),
    CONFIG_FILE: join(folder, 'warp2api.yaml'),
    MASTER_KEY: '5a'.repeat(32),
    ADMIN_KEY: adminKey,
    POOL_API_KEY: poolKey,
    SANDBOX: 'off',
    MIN_POOL_SIZE: '0',
  };
  const instances: Instance[] = [];
  let isKept = true;
  try {
    const pool = await createInstance('pool', folder, { ...shared, DATA_DIR: join(folder, 'pool') });
    instances.push(pool);
    await pool.start();
    await addAccounts(pool.url);
    const gateways: Instance[] = [];
    for (const number of [0, 1]) {
      const environment = {
        ...shared,
        DATA_DIR: join(folder, `gateway-${number}`),
        POOL_SERVICE_URL: pool.url,
      };
      gateways.push(await createInstance(`gateway-${number}`, folder, environment, 'gateway'));
    }
    instances.push(...gateways);
    await Promise.all(gateways.map((gateway) => gateway.start()));
    const urls = gateways.map(({ url }) => url);
    const clients = Array.from({ length: streamCount }, (_, number) => runClient(urls, number));
    const problems: string[] = [];

    await allRunning();
    await incident('a gateway is killed', problems, 0, async () => {
      await gateways[0]?.kill();
      await pause(1_000);
      await gateways[0]?.start();
    });
    await incident('the pool is killed', problems, undefined, async () => {
      await pool.kill();
      await pause(10_000);
      await pool.start();
    });
    await incident('the database restarts', problems, undefined, async () => {
      await database.stop();
      await pause(10_000);
      await database.start();
    });
    isStopping = true;
    await Promise.all(clients);
    for (const turn of turns) if (turn.ending === 'false end') problems.push('a broken answer looked whole');
    for (const instance of [...gateways, pool]) {
      const code = await instance.stop();
      if (code !== 0) problems.push(`${instance.name} ended with ${code} after SIGTERM`);
    }
    console.log(JSON.stringify({ turns: turns.length, ...countsOf(turns) }));
    for (const problem of new Set(problems)) console.log(`PROBLEM  ${problem}`);
    console.log(
      problems.length === 0
        ? 'Only what had to break broke, and nothing looked whole that was not.'
        : 'It did not hold.',
    );
    isKept = values.keep || problems.length > 0;
    return problems.length === 0 ? 0 : 1;
  } catch (error) {
    console.log(`PROBLEM  it broke off: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    isStopping = true;
    await Promise.all(instances.map((instance) => instance.kill()));
    await database.dispose();
    upstream.close();
    if (isKept) console.log(`The logs are in ${folder}.`);
    else rmSync(folder, { recursive: true });
  }
}

/** Does what happens, waits until all streams run again, and looks at those that were running when it began. */
async function incident(
  what: string,
  problems: string[],
  victim: number | undefined,
  happen: () => Promise<void>,
): Promise<void> {
  const running = turns.filter(({ ending }) => ending === undefined);
  say(`${what}, with ${running.length} streams running`);
  const begunAt = performance.now();
  await happen();
  const recoveredMs = await allRunning(begunAt);
  while (running.some(({ ending }) => ending === undefined)) await pause(100);
  const broken = running.filter(({ ending }) => ending !== 'whole');
  const others = broken.filter(({ gateway }) => gateway !== victim);
  const later = turns.filter((turn) => turn.begunAt >= begunAt && turn.ending !== undefined);
  say(
    `${what}: of ${running.length} running streams ${JSON.stringify(countsOf(running))}; of ${later.length} later turns ${JSON.stringify(countsOf(later))}; all run again after ${Math.round(recoveredMs)} ms`,
  );
  if (others.length > 0)
    problems.push(
      `${what}: ${others.length} streams broke that had nothing to do with it (${others[0]?.ending} ${others[0]?.code})`,
    );
  if (victim === undefined) {
    const odd = later.filter(
      ({ ending, status }) => ending !== 'whole' && !(ending === 'refused' && status === 503),
    );
    if (odd.length > 0)
      problems.push(`${what}: later turns ended with ${odd[0]?.ending} ${odd[0]?.status} ${odd[0]?.code}`);
  }
}

/** Resolves once every client has had a stream begin that it asked for after `since`; how long that took. */
async function allRunning(since = 0): Promise<number> {
  const end = performance.now() + 60_000;
  for (;;) {
    const begun = turns.filter(({ begunAt, status }) => begunAt >= since && status === 200);
    const served = new Set(begun.map(({ client }) => client)).size;
    if (served >= streamCount) return performance.now() - since;
    if (performance.now() > end) throw new Error(`only ${served} of ${streamCount} clients have a stream`);
    await pause(50);
  }
}

function countsOf(some: readonly Turn[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { ending = 'running', code } of some) {
    const name = code === undefined ? ending : `${ending} (${code})`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

async function runClient(urls: readonly string[], client: number): Promise<void> {
  const gateway = client % urls.length;
  while (!isStopping) {
    const turn: Turn = { client, gateway, begunAt: performance.now() };
    turns.push(turn);
    turn.ending = await streamOne(urls[gateway] ?? '', turn);
    turn.endedAt = performance.now();
    if (turn.ending !== 'whole') await pause(200 + Math.random() * 300);
  }
}

async function streamOne(url: string, turn: Turn): Promise<Ending> {
  let text = '';
  try {
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'slow/slow', stream: true, messages: [{ role: 'user', content: 'Hi' }] }),
    });
    turn.status = answer.status;
    if (answer.status !== 200) {
      const body = (await answer.json()) as { error?: { code?: string } };
      turn.code = body.error?.code;
      return 'refused';
    }
    const decoder = new TextDecoder();
    for await (const bytes of answer.body ?? []) text += decoder.decode(bytes, { stream: true });
  } catch (error) {
    turn.code = codeOf(error);
    return turn.status === undefined ? 'refused' : 'connection lost';
  }
  const isError = /^data: \{"error"/m.test(text);
  if (isError) {
    turn.code = /"code":"([^"]*)"/.exec(text)?.[1];
    return 'error event';
  }
  const words = text.match(/"content":"w"/g)?.length ?? 0;
  return words === chunks && text.endsWith('data: [DONE]\n\n') ? 'whole' : 'false end';
}

function codeOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: string } };
  return cause?.code ?? String(error);
}

async function addAccounts(url: string): Promise<void> {
  for (let number = 0; number < accountCount; number += 1) {
    const answer = await fetch(`${url}/api/accounts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminKey}` },
      body: JSON.stringify({ provider: 'slow', api_key: `sk-${number}` }),
    });
    if (answer.status !== 201) throw new Error(`an account was refused: ${await answer.text()}`);
  }
}

/** Speaks Chat Completions: every answer is a stream of eight seconds. */
async function startUpstream(): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((request, response) => {
    request.resume();
    if (request.url === '/v1/models') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'slow', object: 'model' }] }));
      return;
    }
    void answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function answer(response: ServerResponse): Promise<void> {
  const chunk = (delta: object, finish: string | null = null): string =>
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'slow', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let sent = 0; sent < chunks && !response.destroyed; sent += 1) {
    response.write(chunk({ ...(sent === 0 && { role: 'assistant' }), content: 'w' }));
    await pause(chunkEveryMs);
  }
  response.end(`${chunk({}, 'stop')}data: [DONE]\n\n`);
}
