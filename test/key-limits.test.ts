import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { beforeAll, describe, expect, it as itself, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { inOneMinute } from '../src/core/testing/one-minute.ts';
import { openPostgres } from '../src/db/postgres.ts';
import { newDatabase } from '../src/db/testing/shared-postgres.ts';
import { startProcess } from './support/process.ts';
import { eventually, type TestServices, userTurn } from './support/services.ts';
import { startUpstreams } from './support/upstreams.ts';

/** A turn of the vendor takes 21 tokens in and 7 out: 9.1 cents. */
const turnTokens = 28;
const turnCents = 9.1;
const prices = 'models:\n  "vendor/*": { price: { input: 1000, output: 10000 } }\n';

/** Limits are counted by minutes, days and months of the calendar. */
const it = (name: string, task: () => Promise<void>) => itself(name, () => inOneMinute(task));

type Gateway = Pick<TestServices, 'gatewayUrl'>;

async function api<Answer = Record<string, unknown>>(
  { gatewayUrl }: Gateway,
  path: string,
  { key, method = 'GET', body }: { key?: string; method?: string; body?: unknown } = {},
): Promise<Answer> {
  const answer = await fetch(gatewayUrl + path, {
    method,
    ...(key && { headers: { authorization: `Bearer ${key}` } }),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const read = (await answer.json()) as Answer;
  if (!answer.ok) throw new Error(`${answer.status}: ${JSON.stringify(read)}`);
  return read;
}

let keys = 0;
async function keyWith(gateway: Gateway, limits: object): Promise<{ id: string; secret: string }> {
  keys += 1;
  const asked = { name: `key ${keys}`, limits };
  const { key, secret } = await api<{ key: { id: string }; secret: string }>(gateway, '/api/keys', {
    method: 'POST',
    body: asked,
  });
  return { id: key.id, secret };
}

interface Use {
  readonly meter: string;
  readonly window: string;
  readonly used: number;
  readonly unpriced_turns?: number;
}
async function usesOf(gateway: Gateway, secret: string): Promise<readonly Use[]> {
  return (await api<{ uses: Use[] }>(gateway, '/api/keys/me', { key: secret })).uses;
}
/** How much is used of each limit, in their order. */
async function used(gateway: Gateway, secret: string): Promise<number[]> {
  return (await usesOf(gateway, secret)).map((use) => use.used);
}

function turn(gateway: Gateway, secret: string, body: object = userTurn('chat-text', 'Hello')) {
  return fetch(`${gateway.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}` },
    body: JSON.stringify(body),
  });
}

async function statusOf(answer: Promise<Response>): Promise<number> {
  const given = await answer;
  // A client that leaves would end the turn.
  await given.text();
  return given.status;
}

/** A turn waits two seconds for the database, which a busy machine may exceed: then a client asks again. */
async function statusInTheEnd(ask: () => Promise<Response>): Promise<number> {
  for (;;) {
    const status = await statusOf(ask());
    if (status !== 503) return status;
  }
}

const limitedTurns = async (gateway: Gateway): Promise<string[]> => {
  const text = await (await fetch(`${gateway.gatewayUrl}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith('warp2api_gateway_turns_limited_total'));
};

describe('two gateways on one PostgreSQL', () => {
  const gateways: TestServices[] = [];
  beforeAll(async () => {
    const environment = { GATEWAY_DATABASE_URL: await newDatabase() };
    for (let at = 0; at < 2; at += 1)
      gateways.push(await startUpstreams({ vendor: { protocol: 'chat' } }, prices, environment));
    return () => Promise.all(gateways.map((gateway) => gateway.close()));
  });

  /** By both gateways, which takes up to a second. */
  const known = (secret: string) =>
    eventually('the key is known', () => used(gateways[1] as TestServices, secret).catch(() => undefined));

  /** Parallel turns over both, some streamed. */
  async function storm(secret: string, turns: number): Promise<number[]> {
    return Promise.all(
      Array.from({ length: turns }, (_, at) => {
        const more = at % 3 === 0 ? { stream: true } : {};
        const body = userTurn('chat-text', 'Hello', { max_tokens: 7, ...more });
        return statusInTheEnd(() => turn(gateways[at % 2] as TestServices, secret, body));
      }),
    );
  }

  it('let 50 parallel turns of one key overspend by no more than turns in flight', async () => {
    const [first] = gateways as [TestServices];
    for (const [meter, limit, one] of [
      ['requests', 20, 1],
      ['tokens', 20 * turnTokens, turnTokens],
      ['cost_cents', 20 * turnCents, turnCents],
    ] as const) {
      const { secret } = await keyWith(first, { budgets: [{ meter, window: 'day', limit }] });
      await known(secret);
      const statuses = await storm(secret, 50);
      const good = () => statuses.filter((status) => status === 200).length;
      // What one gateway had reserved in vain the next turns get.
      do statuses.push(...(await storm(secret, 20)));
      while (good() < 20);
      expect(new Set(statuses)).toEqual(new Set([200, 429]));
      // Each gateway may begin one turn with less than it takes.
      expect(good()).toBeLessThanOrEqual(meter === 'requests' ? 20 : 22);
      await expect.poll(async () => (await used(first, secret))[0]).toBeCloseTo(good() * one, 5);
    }
  });

  it('count turns that run on both, and a change of the limit within a second', async () => {
    const [first, second] = gateways as [TestServices, TestServices];
    const { id, secret } = await keyWith(first, { parallel_turns: 2 });
    await known(secret);
    // They run until their clients leave.
    const endless = (gateway: TestServices) =>
      turn(gateway, secret, userTurn('chat-stall', 'Hello', { stream: true }));
    const running = [endless(first), endless(second)];
    await eventually('both run', async () => (await used(second, secret))[0] === 2);
    const refused = await turn(second, secret);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('1');
    await api(first, `/api/keys/${id}`, { method: 'PATCH', body: { limits: { parallel_turns: 3 } } });
    await eventually('the change counts', async () => (await statusOf(turn(second, secret))) === 200);
    const left = await Promise.all(running);
    expect(left.map(({ status }) => status)).toEqual([200, 200]);
    await Promise.all(left.map(({ body }) => body?.cancel()));
    await eventually('none runs', async () => (await used(second, secret))[0] === 0);
  });
});

describe('one gateway', () => {
  let services: Awaited<ReturnType<typeof startUpstreams<'vendor' | 'claude' | 'gemini' | 'gpt'>>>;
  beforeAll(async () => {
    services = await startUpstreams(
      {
        vendor: { protocol: 'chat', keys: ['sk-one-1234567890', 'sk-two-1234567890'] },
        claude: { protocol: 'messages' },
        gemini: { protocol: 'gemini' },
        gpt: { protocol: 'responses' },
      },
      prices,
      { MAX_CHOICES: '4' },
    );
    return () => services.close();
  });
  const all = {
    budgets: [
      { meter: 'requests', window: 'total', limit: 1_000 },
      { meter: 'tokens', window: 'total', limit: 1_000_000 },
    ],
  };
  const openai = (apiKey: string, maxRetries = 0) => services.openai({ apiKey, maxRetries });

  it('counts a request with several answers as one, with the tokens of all', async () => {
    const { secret } = await keyWith(services, all);
    await openai(secret).chat.completions.create(userTurn('chat-text', 'Hello', { n: 3 }));
    const [requests, tokens] = await used(services, secret);
    expect(requests).toBe(1);
    expect([turnTokens, 3 * turnTokens]).toContain(tokens);
    // Translated to another protocol, each is a turn of its own.
    await openai(secret).chat.completions.create(userTurn('claude-text', 'Hello', { n: 3 }));
    expect((await used(services, secret))[0]).toBe(2);
  });

  it('counts what is relayed, also beside the dialects', async () => {
    const { secret } = await keyWith(services, all);
    await openai(secret).completions.create({ model: 'chat-text', prompt: 'Hello' });
    expect(await used(services, secret)).toEqual([1, turnTokens]);
    const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: secret, maxRetries: 0 });
    await anthropic.messages.create({ ...userTurn('claude-text', 'Hello'), max_tokens: 50 });
    expect((await used(services, secret))[0]).toBe(2);
    // Tokens are counted for free.
    await anthropic.messages.countTokens(userTurn('claude-text', 'Hello'));
    expect((await used(services, secret))[0]).toBe(2);
  });

  it('counts a turn that another account answered as one', async () => {
    const { secret } = await keyWith(services, all);
    services.vendors.vendor.script('chat-text', ['rate-limited', 'sound']);
    const { length } = services.vendors.vendor.turns;
    expect(await statusOf(turn(services, secret))).toBe(200);
    expect(services.vendors.vendor.turns).toHaveLength(length + 2);
    expect(await used(services, secret)).toEqual([1, turnTokens]);
  });

  it('counts turns over a WebSocket and in the background, and refuses those as well', async () => {
    const { secret } = await keyWith(services, {
      budgets: [{ meter: 'requests', window: 'total', limit: 2 }],
    });
    const client = openai(secret);
    await client.responses.create({ model: 'gpt-text', input: 'Hello', background: true });
    await expect.poll(() => used(services, secret)).toEqual([1]);
    const socket = new WebSocket(`${services.gatewayUrl.replace('http', 'ws')}/v1/responses`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    onTestFinished(() => socket.terminate());
    await once(socket, 'open');
    const ask = async () => {
      const ended = new Promise<Record<string, unknown>>((resolve) => {
        socket.on('message', function listen(data) {
          const frame = JSON.parse(String(data)) as Record<string, unknown>;
          if (!/^(error|response\.(completed|failed))$/.test(String(frame['type']))) return;
          socket.off('message', listen);
          resolve(frame);
        });
      });
      socket.send(JSON.stringify({ type: 'response.create', model: 'gpt-text', input: 'Hello' }));
      return ended;
    };
    expect(await ask()).toMatchObject({ type: 'response.completed' });
    expect(await ask()).toMatchObject({
      type: 'error',
      status: 429,
      error: { code: 'insufficient_quota', headers: { 'x-should-retry': 'false' } },
    });
    await expect(
      client.responses.create({ model: 'gpt-text', input: 'Hello', background: true }),
    ).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' });
    expect(await used(services, secret)).toEqual([2]);
  });

  it('charges no budget for what reached no upstream, and a cancelled turn what was used', async () => {
    const { secret } = await keyWith(services, { requests_per_minute: 1_000, ...all });
    expect(await statusOf(turn(services, secret, userTurn('no-such-model', 'Hello')))).toBe(404);
    const [perMinute, requests, tokens] = await used(services, secret);
    expect([requests, tokens]).toEqual([0, 0]);
    expect(perMinute).toBeLessThanOrEqual(1);
    const stop = new AbortController();
    const stream = await openai(secret)
      .chat.completions.create({ ...userTurn('chat-slow', 'Hello'), stream: true }, { signal: stop.signal })
      .catch(() => undefined);
    stop.abort();
    expect(stream).toBeDefined();
    await expect.poll(async () => (await used(services, secret))[1]).toBe(1);
  });

  it('says in the dialect of the client what is left of a rate', async () => {
    const { secret } = await keyWith(services, { requests_per_minute: 100, tokens_per_minute: 100_000 });
    const chat = await turn(services, secret);
    const { headers } = chat;
    await chat.body?.cancel();
    expect(headers.get('x-ratelimit-limit-requests')).toBe('100');
    expect(Number(headers.get('x-ratelimit-remaining-requests'))).toBe(99);
    expect(headers.get('x-ratelimit-reset-requests')).toMatch(/^\d+s$/);
    expect(headers.get('x-ratelimit-limit-tokens')).toBe('100000');
    const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: secret, maxRetries: 0 });
    const { response } = await anthropic.messages
      .create({ ...userTurn('claude-text', 'Hello'), max_tokens: 50 })
      .withResponse();
    expect(response.headers.get('anthropic-ratelimit-requests-limit')).toBe('100');
    expect(Date.parse(response.headers.get('anthropic-ratelimit-tokens-reset') ?? '')).toBeGreaterThan(
      Date.now() - 60_000,
    );
    expect(response.headers.get('x-ratelimit-limit-requests')).toBeNull();
  });

  it("makes vendors' own clients stop at a spent budget, and try again where a turn may run soon", async () => {
    const { secret } = await keyWith(services, { budgets: [{ meter: 'requests', window: 'day', limit: 1 }] });
    expect(await statusOf(turn(services, secret))).toBe(200);
    const refusals = async () =>
      Number(
        (await limitedTurns(services))
          .find((line) => line.includes('requests per day'))
          ?.split(' ')
          .at(-1) ?? 0,
      );
    const before = await refusals();
    const spent = openai(secret, 2).chat.completions.create(userTurn('chat-text', 'Hello'));
    await expect(spent).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' });
    const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: secret, maxRetries: 2 });
    await expect(
      anthropic.messages.create({ ...userTurn('claude-text', 'Hello'), max_tokens: 50 }),
    ).rejects.toMatchObject({ status: 429, error: { error: { type: 'rate_limit_error' } } });
    // One request each: neither tried again.
    expect((await refusals()) - before).toBe(2);
    const genai = new GoogleGenAI({ apiKey: secret, httpOptions: { baseUrl: services.gatewayUrl } });
    const refused = await genai.models
      .generateContent({ model: 'gemini-text', contents: 'Hello' })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 429 });
    expect(String(refused)).toContain('RESOURCE_EXHAUSTED');
    expect(String(refused)).toContain('google.rpc.RetryInfo');

    const one = await keyWith(services, { parallel_turns: 1 });
    const running = await turn(services, one.secret, userTurn('chat-stall', 'Hello', { stream: true }));
    await eventually('it runs', async () => (await used(services, one.secret))[0] === 1);
    const client = new OpenAI({ baseURL: `${services.gatewayUrl}/v1`, apiKey: one.secret, maxRetries: 5 });
    const asked = client.chat.completions.create(userTurn('chat-text', 'Hello'));
    await eventually('another is refused', async () =>
      (await limitedTurns(services)).some((line) => line.includes('parallel_turns')),
    );
    await running.body?.cancel();
    expect((await asked).choices[0]?.message.content).toContain('Hello');
  });

  it('sends an event when a budget is used up', async () => {
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const events = await fetch(`${services.gatewayUrl}/api/events`, { signal: stop.signal });
    const { id, secret } = await keyWith(services, {
      budgets: [{ meter: 'tokens', window: 'week', limit: turnTokens }],
    });
    expect(await statusOf(turn(services, secret))).toBe(200);
    let heard = '';
    for await (const chunk of events.body ?? []) {
      heard += Buffer.from(chunk).toString();
      if (heard.includes('key-near-limit')) break;
    }
    const line = heard.split('\n').find((one) => one.includes('key-near-limit'));
    expect(JSON.parse(line?.replace('data: ', '') ?? '')).toMatchObject({
      key_id: id,
      budget: 'tokens per week',
      percent: 100,
      used: turnTokens,
      limit: turnTokens,
    });
  });

  it('names the limit in the log, and shows its use to the holder of the key', async () => {
    const { id, secret } = await keyWith(services, {
      tokens_per_minute: 1,
      budgets: [{ meter: 'cost_cents', window: 'month', limit: 1_000 }],
      time_zone: 'Asia/Kathmandu',
    });
    expect(await statusOf(turn(services, secret))).toBe(200);
    expect(await usesOf(services, secret)).toEqual([
      { meter: 'tokens', window: 'minute', limit: 1, used: turnTokens, resets_at: expect.any(String) },
      {
        meter: 'cost_cents',
        window: 'month',
        limit: 1_000,
        used: turnCents,
        unpriced_turns: 0,
        resets_at: expect.stringMatching(/T18:15:00\.000Z$/),
      },
    ]);
    const refused = await turn(services, secret);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect(services.log()).toContain(`"key_id":"${id}","limit":"tokens_per_minute"`);
    // A rotated key goes on with the same counts.
    const { secret: next } = await api<{ secret: string }>(services, `/api/keys/${id}/rotate`, {
      method: 'POST',
    });
    expect((await used(services, next))[1]).toBeCloseTo(turnCents, 5);
  });
});

/** What a killed gateway held is the others' after that time. */
async function passHalfAMinute(database: string): Promise<void> {
  const db = await openPostgres(database);
  await db.writing.run('UPDATE limit_gateways SET seen_at = seen_at - 30000');
  await db.close();
}

/** Whether the database knows what six turns have used, and of none that runs. */
async function isWritten(folder: string, database: string | undefined): Promise<boolean> {
  const counted = 'SELECT COUNT(*) AS n FROM key_limits WHERE spent >= 6';
  const running = 'SELECT COUNT(*) AS n FROM limit_slices WHERE reserved > 0';
  const count = async (sql: string): Promise<number> => {
    if (database !== undefined) {
      const db = await openPostgres(database);
      const row = await db.reading.get<{ n: number }>(sql);
      await db.close();
      return row?.n ?? 0;
    }
    // The gateway keeps others out. What was half written when it was copied is no database.
    const copy = mkdtempSync(join(tmpdir(), 'warp2api-limits-'));
    for (const name of ['usage.db', 'usage.db-wal']) copyFileSync(join(folder, name), join(copy, name));
    try {
      const db = new DatabaseSync(join(copy, 'usage.db'));
      const row = db.prepare(sql).get();
      db.close();
      return Number(row?.['n']);
    } catch {
      return -1;
    } finally {
      rmSync(copy, { recursive: true });
    }
  };
  return (await count(counted)) === 2 && (await count(running)) === 0;
}

test.each(['SQLite', 'PostgreSQL'])('limits in %s survive a gateway that is killed', async (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-limits-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const database = name === 'PostgreSQL' ? await newDatabase() : undefined;
  const environment: Record<string, string> = {
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    DATA_DIR: folder,
    SHUTDOWN_SECONDS: '0',
    ...(database !== undefined && { GATEWAY_DATABASE_URL: database }),
  };
  const start = async () => {
    const process = await startProcess(['serve'], environment, folder);
    return { ...process, gatewayUrl: process.url };
  };
  const first = await start();
  const { secret } = await keyWith(first, {
    budgets: [
      { meter: 'requests', window: 'month', limit: 10 },
      { meter: 'tokens', window: 'total', limit: 1_000_000 },
    ],
  });
  for (let at = 0; at < 6; at += 1) {
    const answer = await turn(first, secret, userTurn('sandbox', 'Hello'));
    expect(answer.ok ? 'good' : await answer.text()).toBe('good');
  }
  const before = await used(first, secret);
  expect(before[0]).toBe(6);
  await eventually('what turns have used is written', () => isWritten(folder, database));
  await first.kill('SIGKILL');
  if (database !== undefined) await passHalfAMinute(database);
  const second = await start();
  expect(await used(second, secret)).toEqual(before);
  let good = 0;
  await eventually('the budget is used up', async () => {
    const answer = await turn(second, secret, userTurn('sandbox', 'Hello'));
    const { error } = (await answer.json()) as { error?: { code: string } };
    if (answer.ok) good += 1;
    return error?.code === 'insufficient_quota';
  });
  expect(good).toBe(4);
  await second.kill('SIGTERM');
  const third = await start();
  expect((await used(third, secret))[0]).toBe(10);
});
