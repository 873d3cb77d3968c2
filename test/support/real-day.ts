import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as after } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { openSqlite } from '../../src/db/sqlite.ts';
import { SqliteDatabase } from '../../src/db/sqlite-database.ts';
import { gatewayMigrations } from '../../src/gateway/database/gateway-verbs.ts';
import { hourMs, type LedgerTurn } from '../../src/gateway/usage/ledger-turn.ts';
import { openUsage } from '../../src/gateway/usage/testing/ledger-turns.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './services.ts';

/** Services as a small team has them after some days, for the pictures of the documentation. Nothing of it is real. */

const models = {
  openai: ['gpt-5-mini', 'gpt-5.2-chat-latest', 'gpt-4.1-mini'],
  openrouter: ['anthropic/claude-sonnet-4.5', 'openai/gpt-5-mini', 'deepseek/deepseek-v3.1-terminus'],
  vllm: ['qwen3-coder-30b'],
};
const yaml = (url: string) => `providers:
${Object.keys(models)
  .map((name) => `  ${name}: { type: openai_compatible, base_url: "${url}/${name}/v1" }\n`)
  .join('')}aliases:
  fast: openai/gpt-5-mini
  sonnet: openrouter/anthropic/claude-sonnet-4.5
models:
  vllm/qwen3-coder-30b: { context_window: 131072, tools: true, price: { input: 0, output: 0 } }
routes:
  - model: coding
    candidates:
      - { provider: openai, model: gpt-5.2-chat-latest, tier: 1 }
      - { provider: openrouter, model: anthropic/claude-sonnet-4.5, tier: 2 }
      - { provider: vllm, model: qwen3-coder-30b, tier: 3, when: { max_context: 100000 } }
`;

const keys = [
  {
    name: 'lena',
    owner: 'Web team',
    limits: { budgets: [{ meter: 'cost_cents', window: 'month', limit: 100 }] },
  },
  {
    name: 'marek',
    owner: 'Web team',
    limits: { parallel_turns: 4, budgets: [{ meter: 'cost_cents', window: 'day', limit: 50 }] },
  },
  {
    name: 'ci',
    owner: 'Platform',
    models: ['gpt-*', 'fast'],
    limits: { requests_per_minute: 60, budgets: [{ meter: 'requests', window: 'day', limit: 14 }] },
  },
  { name: 'support bot', owner: 'Support', labels: ['team'], limits: { tokens_per_minute: 200_000 } },
] as const;

/** How much of a day's work falls into each hour of it, in UTC. */
const hours = [1, 0, 0, 0, 1, 3, 9, 14, 17, 15, 12, 13, 18, 19, 16, 13, 9, 6, 4, 5, 4, 3, 2, 1];
const mixes = [
  { key: 0, model: 'coding', at: 'openai', answered: models.openai[1], dollars: 0.05, weight: 5 },
  {
    key: 1,
    model: 'sonnet',
    at: 'openrouter',
    answered: models.openrouter[0],
    dollars: 0.06,
    weight: 4,
  },
  { key: 2, model: 'fast', at: 'openai', answered: 'gpt-5-mini', dollars: 0.004, weight: 6 },
  { key: 3, model: 'qwen3-coder-30b', at: 'vllm', answered: 'qwen3-coder-30b', dollars: 0, weight: 3 },
  { key: 0, model: 'gpt-4.1-mini', at: 'openai', answered: 'gpt-4.1-mini', dollars: 0.003, weight: 3 },
] as const;

/** The same numbers in each run. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

export async function servicesWithRealDay(): Promise<TestServices> {
  const vendor = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => vendor.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void vendor.close().closeAllConnections());
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-day-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'warp2api.yaml');
  writeFileSync(file, yaml(`http://127.0.0.1:${(vendor.address() as AddressInfo).port}`));
  const environment = { DATA_DIR: folder, CONFIG_FILE: file, WARP_FIREBASE_API_KEY: 'K' };
  const before = await servicesForTest(environment);
  const made = await makeKeys(before);
  await before.close();
  await noteDays(
    join(folder, 'usage.db'),
    made.map(({ id }) => id),
  );
  const services = await servicesForTest(environment);
  await addAccounts(services);
  await eventually('the lists of models are known', async () => {
    const answered = await fetch(`${services.gatewayUrl}/api/models`);
    const { models: listed } = (await answered.json()) as { models: { is_proven: boolean }[] };
    return listed.length > 8 && listed.every(({ is_proven }) => is_proven);
  });
  await askTurns(
    services,
    made.map(({ secret }) => secret),
  );
  return services;
}

async function addAccounts(services: TestServices): Promise<void> {
  const { upstream } = services;
  upstream.setModels([{ id: 'auto' }, { id: 'claude-4-sonnet' }, { id: 'gpt-5', contextWindow: 400_000 }]);
  upstream.setCredits('wk-one-0123456789', { limit: 2_500, used: 830 });
  upstream.setCredits('wk-two-0123456789', { limit: 1_000, used: 930 });
  await services.addAccount('wk-one-0123456789', { email: 'lena@example.com', label: 'team' });
  await services.addAccount('wk-two-0123456789', { email: 'marek@example.com', label: 'team', tier: 1 });
  await services.addAccount('wk-three.spent', { email: 'trial@example.org', free: true });
  await services.pool('/api/accounts', {
    provider: 'warp',
    refresh_token: 'rt-dead',
    email: 'sofia@example.net',
  });
  await services.addAccount('sk-web-1234567890', { provider: 'openai', label: 'web team' });
  await services.addAccount('sk-batch-1234567890', { provider: 'openai', label: 'batch jobs', tier: 1 });
  await services.addAccount('sk-or-1234567890', {
    provider: 'openrouter',
    label: 'shared',
  });
  await services.addAccount('sk-own-1234567890', { provider: 'vllm', label: 'GPU server' });
  await services.addAccount('sk-limited-1234567890', { provider: 'openrouter', label: 'side project' });
  const off = await services.addAccount('sk-old-1234567890', { provider: 'openrouter', label: 'old laptop' });
  await services.pool(`/api/accounts/${off}`, { enabled: false }, 'PATCH');
}

async function makeKeys(services: TestServices): Promise<{ id: string; secret: string }[]> {
  const made = [];
  for (const body of keys) {
    const answered = await fetch(`${services.gatewayUrl}/api/keys`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    const { key, secret } = (await answered.json()) as { key: { id: string }; secret: string };
    made.push({ id: key.id, secret });
  }
  return made;
}

/** The turns of the last 15 days go to the ledger as if they had happened. */
async function noteDays(path: string, ids: string[]): Promise<void> {
  const random = dice(7);
  const turns: LedgerTurn[] = [];
  const now = Date.now();
  for (let hour = now - 15 * 24 * hourMs; hour < now - hourMs; hour += hourMs) {
    const date = new Date(hour);
    const share = date.getUTCDay() % 6 === 0 ? 0.25 : 1;
    for (const { key, model, at, answered, dollars, weight } of mixes) {
      const count = Math.round((hours[date.getUTCHours()] ?? 0) * share * weight * (0.25 + random() / 4));
      for (let turn = 0; turn < count; turn += 1) {
        const isError = random() < 0.02;
        const size = 0.3 + random() * 2;
        turns.push({
          at: Math.floor(hour + random() * hourMs),
          requestId: `day-${turns.length}`,
          keyId: ids[key] ?? '',
          keyName: keys[key].name,
          model,
          answeredModel: answered ?? null,
          provider: at,
          accountId: null,
          dialect: key === 1 ? 'messages' : 'chat',
          outcome: isError ? 'upstream_unavailable' : 'success',
          isStream: true,
          status: isError ? 502 : 200,
          attempts: 1,
          inputTokens: isError ? null : Math.round(9_000 * size),
          outputTokens: isError ? null : Math.round(700 * size),
          cachedTokens: isError ? null : Math.round(5_000 * size),
          cacheWriteTokens: null,
          reasoningTokens: null,
          costNanos: isError ? null : Math.round(dollars * size * 1e9),
          creditMicros: null,
          isEstimated: false,
          firstContentMs: isError ? null : Math.round(400 + random() * 900),
          durationMs: Math.round(1_500 + random() * 9_000),
        });
      }
    }
  }
  const db = new SqliteDatabase(openSqlite(path, gatewayMigrations('sqlite'), now));
  const { noteTurns } = openUsage(db);
  for (let at = 0; at < turns.length; at += 2_000)
    await noteTurns({ id: `day-${at}`, turns: turns.slice(at, at + 2_000) });
  await db.close();
}

/** Names for which the next answer of OpenAI is a failure. */
const failing = new Set<string>();

async function askTurns(services: TestServices, secrets: string[]): Promise<void> {
  const ask = async (key: number, model: string, id?: string) => {
    const headers = { authorization: `Bearer ${secrets[key]}`, ...(id ? { 'x-request-id': id } : {}) };
    await (await services.chat(userTurn(model, 'Hello', { stream: true }), headers)).text();
  };
  const asked: [number, string][] = [
    [2, 'fast'],
    [0, 'coding'],
    [2, 'fast'],
    [1, 'sonnet'],
    [3, 'claude-4-sonnet'],
    [2, 'gpt-4.1-mini'],
    [0, 'coding'],
    [1, 'sonnet'],
    [3, 'gpt-5'],
  ];
  for (let round = 0; round < 2; round += 1) await Promise.all(asked.map(([key, model]) => ask(key, model)));
  for (let turn = 0; turn < 7; turn += 1) await ask(2, 'fast');
  failing.add('gpt-5.2-chat-latest');
  await ask(0, 'coding', 'moved');
  failing.clear();
  await ask(0, 'coding');
  await ask(1, 'sonnet');
}

/** What all three vendors speak. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, provider = ''] = (request.url ?? '').split('/');
  if (request.method === 'GET') {
    const list = models[provider as keyof typeof models] ?? [];
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ object: 'list', data: list.map((id) => ({ id, object: 'model' })) }));
    return;
  }
  const { model } = (await json(request)) as { model: string };
  if (request.headers.authorization?.includes('limited')) {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '1500' });
    response.end(
      '{"error":{"message":"Rate limit reached.","type":"requests","code":"rate_limit_exceeded"}}',
    );
    return;
  }
  if (failing.has(model)) {
    await after(180);
    response.writeHead(503, { 'content-type': 'application/json' });
    response.end('{"error":{"message":"The engine is overloaded.","type":"server_error","code":null}}');
    return;
  }
  await after(350);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const chunk = (choices: unknown[], more = {}) =>
    response.write(
      `data: ${JSON.stringify({ id: 'c1', object: 'chat.completion.chunk', created: 1, model, choices, ...more })}\n\n`,
    );
  for (const word of ['Hello', ', how', ' can I', ' help?']) {
    chunk([{ index: 0, delta: { role: 'assistant', content: word }, finish_reason: null }]);
    await after(120);
  }
  chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]);
  const usage = {
    prompt_tokens: 31_400,
    completion_tokens: 1_240,
    total_tokens: 32_640,
    prompt_tokens_details: { cached_tokens: 12_000 },
  };
  chunk([], { usage });
  response.end('data: [DONE]\n\n');
}
