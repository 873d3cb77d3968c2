import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import { expect, onTestFinished, test } from 'vitest';
import { startOpenaiSandbox } from '../sandbox/openai-chat/server.ts';
import { newDatabase } from '../src/db/testing/shared-postgres.ts';
import { withVendor } from './support/openai-vendor.ts';
import { startProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

const keyed = (key: string, more: Record<string, string> = {}) => ({ 'idempotency-key': key, ...more });
const idOf = async (answer: Response) => ((await answer.json()) as { id: string }).id;

test('a repeat gets the finished answer, and the upstream sees one turn', async () => {
  const { chat, vendor, gatewayUrl } = await withVendor();
  const first = await chat(userTurn('chat-text', 'Hi'), keyed('one'));
  const again = await chat(userTurn('chat-text', 'Hi'), keyed('one'));
  expect([first.status, again.status]).toEqual([200, 200]);
  expect([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')]).toEqual([
    null,
    'true',
  ]);
  expect(again.headers.get('x-request-id')).toBe(first.headers.get('x-request-id'));
  expect(await again.text()).toBe(await first.text());
  expect(vendor.turns).toHaveLength(1);
  // Another key, no key and another path are other requests.
  await chat(userTurn('chat-text', 'Hi'), keyed('two'));
  await chat(userTurn('chat-text', 'Hi'));
  const messages = new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const body = { model: 'chat-text', max_tokens: 9, messages: [{ role: 'user' as const, content: 'Hi' }] };
  const said = await messages.messages.create(body, { headers: keyed('one') });
  expect((await messages.messages.create(body, { headers: keyed('one') })).id).toBe(said.id);
  expect(vendor.turns).toHaveLength(4);
});

test('a key with another body is refused, and so is one that cannot be a key', async () => {
  const { chat, vendor } = await withVendor();
  await chat(userTurn('chat-text', 'Hi'), keyed('one'));
  const other = await chat(userTurn('chat-text', 'Ho'), keyed('one'));
  expect([other.status, await other.json()]).toMatchObject([
    422,
    { error: { code: 'idempotency_key_reused', param: 'Idempotency-Key' } },
  ]);
  const long = await chat(userTurn('chat-text', 'Hi'), keyed('x'.repeat(256)));
  expect([long.status, await long.json()]).toMatchObject([400, { error: { param: 'Idempotency-Key' } }]);
  expect(vendor.turns).toHaveLength(1);
});

test('repeats join the turn that runs, also after its client has left', async () => {
  const { gatewayUrl, vendor } = await withVendor();
  const body = JSON.stringify(userTurn('chat-slow', 'Hi', { stream: true }));
  const send = (signal?: AbortSignal) =>
    fetch(`${gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: keyed('one'),
      body,
      ...(signal && { signal }),
    });
  const leaving = new AbortController();
  const first = await send(leaving.signal);
  const reader = first.body?.getReader();
  const begun = Buffer.from((await reader?.read())?.value ?? []).toString();
  expect(begun).toMatch(/^id: 0\ndata: /);
  const second = await send();
  leaving.abort();
  const third = await send();
  expect(third.headers.get('idempotent-replayed')).toBe('true');
  const texts = await Promise.all([second.text(), third.text()]);
  expect(texts[0]).toBe(texts[1]);
  expect(texts[0]?.startsWith(begun)).toBe(true);
  expect(texts[0]).toContain('data: [DONE]');
  expect(vendor.turns).toHaveLength(1);
});

test('a stream is replayed from its beginning, or from behind the event that a client has', async () => {
  const { chat, vendor } = await withVendor();
  const body = userTurn('chat-text', 'Hi', { stream: true });
  const whole = await (await chat(body, keyed('one'))).text();
  const events = whole.split('\n\n').filter((event) => event !== '');
  expect(events.length).toBeGreaterThan(3);
  expect(events.map((event) => Number(/^id: (\d+)$/m.exec(event)?.[1]))).toEqual(
    events.map((_, index) => index),
  );
  expect(await (await chat(body, keyed('one'))).text()).toBe(whole);
  for (const none of ['', 'any'])
    expect(await (await chat(body, keyed('one', { 'last-event-id': none }))).text()).toBe(whole);
  const rest = await (await chat(body, keyed('one', { 'last-event-id': '1' }))).text();
  expect(rest).toBe(
    events
      .slice(2)
      .map((event) => `${event}\n\n`)
      .join(''),
  );
  expect(vendor.turns).toHaveLength(1);
});

test.each([
  ['chat-500', 502],
  ['chat-429', 429],
])('%s frees the key: the next try runs', async (model, status) => {
  const { chat, vendor } = await withVendor();
  expect((await chat(userTurn(model, 'Hi'), keyed('one'))).status).toBe(status);
  const before = vendor.turns.length;
  await eventually('the key is free', async () => {
    await chat(userTurn(model, 'Hi'), keyed('one'));
    return vendor.turns.length > before;
  });
});

test('a stream that broke off frees the key, and its followers see the error', async () => {
  const { chat, vendor } = await withVendor();
  const body = userTurn('chat-cut', 'Hi', { stream: true });
  const text = await (await chat(body, keyed('one'))).text();
  expect(text).toContain('"error"');
  expect(text).not.toContain('[DONE]');
  const before = vendor.turns.length;
  await eventually('the key is free', async () => {
    await (await chat(body, keyed('one'))).text();
    return vendor.turns.length > before;
  });
});

test('a request that is refused is refused again, and runs nothing', async () => {
  const { chat, vendor, gatewayUrl } = await withVendor();
  for (let time = 0; time < 2; time += 1) {
    const answer = await chat(userTurn('chat-400', 'Hi'), keyed('one'));
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param: 'temperature' } }]);
  }
  for (let time = 0; time < 2; time += 1) {
    const body = JSON.stringify({ model: 'chat-text', messages: 'none' });
    const answer = await fetch(`${gatewayUrl}/v1/messages`, { method: 'POST', headers: keyed('two'), body });
    expect([answer.status, await answer.json()]).toMatchObject([400, { type: 'error' }]);
  }
  expect(vendor.turns).toHaveLength(1);
});

test('a response in the background begins once', async () => {
  const { openai, vendor } = await withVendor();
  const client = openai();
  const body = { model: 'chat-text', input: 'Hi', background: true };
  const first = await client.responses.create(body, { headers: keyed('one') });
  const again = await client.responses.create(body, { headers: keyed('one') });
  expect(again.id).toBe(first.id);
  await eventually(
    'it is answered',
    async () => (await client.responses.retrieve(first.id)).status === 'completed',
  );
  expect(vendor.turns).toHaveLength(1);
});

/** A gateway with its pool as a process of its own, over one vendor. */
async function vendorAndFolder() {
  const vendor = await startOpenaiSandbox();
  onTestFinished(() => vendor.close());
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-once-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers:\n  local: { type: openai_compatible, base_url: "${vendor.url}" }\n`,
  );
  const environment = {
    DATA_DIR: folder,
    CONFIG_FILE: join(folder, 'warp2api.yaml'),
    POOL_SERVICE_PORT: '0',
    PORT: '0',
    SHUTDOWN_SECONDS: '1',
  };
  const send = (url: string, body: unknown, key = 'one') =>
    fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: keyed(key), body: JSON.stringify(body) });
  return { vendor, folder, environment, send };
}

async function addAccount(output: string): Promise<void> {
  const pool = /"url":"([^"]+)"[^\n]*the account pool listens/.exec(output)?.[1];
  const body = JSON.stringify({ provider: 'local', api_key: 'sk-one-1234567890' });
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${pool}/api/accounts`, { method: 'POST', headers, body });
  expect(answer.status).toBe(201);
}

test('what a killed gateway was running is not run again, and what it had answered is there', async () => {
  const { vendor, folder, environment, send } = await vendorAndFolder();
  const first = await startProcess(['serve'], environment, folder);
  await addAccount(first.output());
  const open = userTurn('chat-open', 'Hi', { stream: true });
  const broken = await send(first.url, open);
  expect(broken.status).toBe(200);
  await first.kill('SIGKILL');

  const second = await startProcess(['serve'], environment, folder);
  const again = await send(second.url, open);
  expect([again.status, again.headers.get('x-should-retry'), await again.json()]).toMatchObject([
    502,
    'false',
    { error: { code: 'turn_interrupted' } },
  ]);
  expect(vendor.turns).toHaveLength(1);
});

test('a gateway that is stopped in order frees the key of a turn it could not end', async () => {
  const { vendor, folder, environment, send } = await vendorAndFolder();
  const first = await startProcess(['serve'], { ...environment, SHUTDOWN_SECONDS: '0' }, folder);
  await addAccount(first.output());
  const stalled = userTurn('chat-stall', 'Hi', { stream: true });
  const broken = await send(first.url, stalled);
  const text = broken.text();
  expect(await first.kill('SIGTERM')).toBe(0);
  expect(await text).toContain('"code":"shutting_down"');

  const second = await startProcess(['serve'], environment, folder);
  const again = await send(second.url, stalled);
  expect(again.status).toBe(200);
  await again.body?.cancel();
  expect(vendor.turns).toHaveLength(2);
});

test('two gateways on one database run a turn once, and a killed one is not replaced', async () => {
  const { vendor, folder, environment, send } = await vendorAndFolder();
  const shared = { ...environment, KEEP_URL: await newDatabase(), DATABASE_URL: await newDatabase() };
  const first = await startProcess(['serve'], shared, folder);
  await addAccount(first.output());
  const second = await startProcess(
    ['serve'],
    { ...shared, DATA_DIR: join(folder, 'second'), MASTER_KEY_FILE: join(folder, 'master.key') },
    folder,
  );
  const text = userTurn('chat-text', 'Hi');
  const id = await idOf(await send(first.url, text));
  await eventually('the answer is kept', async () => {
    const answer = await send(second.url, text);
    return answer.status === 200 && (await idOf(answer)) === id;
  });
  expect(vendor.turns).toHaveLength(1);

  const open = userTurn('chat-open', 'Hi', { stream: true });
  const running = await send(first.url, open, 'two');
  expect(running.status).toBe(200);
  const elsewhere = await send(second.url, open, 'two');
  expect([elsewhere.status, elsewhere.headers.get('retry-after'), await elsewhere.json()]).toMatchObject([
    409,
    '5',
    { error: { code: 'turn_running_elsewhere' } },
  ]);
  await first.kill('SIGKILL');
  await eventually('the holder counts as dead', async () => {
    const { status } = await send(second.url, open, 'two');
    return status === 502;
  });
  expect(vendor.turns).toHaveLength(2);
});
