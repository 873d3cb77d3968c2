import { type ClientRequest, request as httpRequest } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { eventually, startTestServices, type TestServices, userTurn } from './support/services.ts';

const mib = 1024 * 1024;
const adminKey = 'the-admin-key-of-the-test';

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({ ADMIN_KEY: adminKey }, (config) => ({
    ...config,
    bodiesMaxBytes: 11 * mib,
  }));
});
afterAll(() => services.close());

const large = (bytes: number, model = 'sandbox') => userTurn(model, 'a'.repeat(bytes));
const headers = { 'content-type': 'application/json', authorization: `Bearer ${adminKey}` };

interface Refusal {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: Record<string, unknown>;
}

async function post(url: string, body: unknown, more: Record<string, string> = {}): Promise<Refusal> {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...headers, ...more },
    body: new Uint8Array(bytes),
  });
  const retryAfter = answer.headers.get('retry-after');
  return { status: answer.status, retryAfter, body: (await answer.json()) as Record<string, unknown> };
}

const gateway = (path: string) => `${services.gatewayUrl}${path}`;
const statusOf = async (bytes: number) => (await post(gateway('/v1/chat/completions'), large(bytes))).status;

async function heldBytes(): Promise<number> {
  const answer = await fetch(gateway('/metrics'), { headers });
  const line = /^warp2api_gateway_request_body_bytes (\d+)$/m.exec(await answer.text());
  return Number(line?.[1]);
}

/** A client that has sent so much of its body and does not go on. Resolves when the service holds it. */
async function halfSent(bytes: number): Promise<ClientRequest> {
  const request = httpRequest(gateway('/v1/chat/completions'), {
    method: 'POST',
    headers: { ...headers, 'content-length': bytes + 1000 },
  });
  request.on('error', () => {});
  onTestFinished(async () => {
    request.destroy();
    await eventually('the service holds nothing', async () => (await heldBytes()) === 0);
  });
  request.write(Buffer.alloc(bytes, ' '));
  await eventually('the service holds it', async () => (await heldBytes()) === bytes);
  return request;
}

it('a large request beyond the ceiling gets a 503 with Retry-After in its dialect, and small ones are answered', async () => {
  const held = await halfSent(mib);
  const chat = await post(gateway('/v1/chat/completions'), large(1_200_000));
  expect(chat).toMatchObject({ status: 503, body: { error: { type: 'server_error', code: 'overloaded' } } });
  expect(Number(chat.retryAfter)).toBeGreaterThan(0);
  const responses = await post(gateway('/v1/responses'), { model: 'sandbox', input: 'a'.repeat(1_200_000) });
  expect(responses).toMatchObject({ status: 503, body: { error: { code: 'overloaded' } } });
  const messages = await post(gateway('/v1/messages'), { ...large(1_200_000), max_tokens: 10 });
  expect(messages).toMatchObject({
    status: 529,
    body: { type: 'error', error: { type: 'overloaded_error' } },
  });
  const pool = await post(`${services.poolUrl}/api/accounts/import`, { accounts: 'a'.repeat(1_200_000) });
  expect(pool).toMatchObject({ status: 503, body: { error: { code: 'overloaded' } } });
  expect(Number(pool.retryAfter)).toBeGreaterThan(0);

  expect(await statusOf(40_000)).toBe(200);
  held.destroy();
  await eventually('the service holds nothing', async () => (await heldBytes()) === 0);
  expect(await statusOf(1_200_000)).toBe(200);
});

it('a compressed body counts as what it becomes', async () => {
  await halfSent(mib);
  const body = gzipSync(JSON.stringify(large(1_200_000)));
  const answer = await post(gateway('/v1/chat/completions'), body, { 'content-encoding': 'gzip' });
  expect(answer).toMatchObject({ status: 503, body: { error: { code: 'overloaded' } } });
});

it('a response in the background is held until it has ended', async () => {
  // It goes on until it is cancelled.
  const request = { model: 'sandbox-stall', input: 'a'.repeat(mib), background: true };
  const { status, body } = await post(gateway('/v1/responses'), request);
  expect([status, body['status']]).toEqual([200, 'queued']);
  expect(await statusOf(1_200_000)).toBe(503);
  await post(gateway(`/v1/responses/${body['id']}/cancel`), {});
  await eventually('its end', async () => (await heldBytes()) === 0);
  expect(await statusOf(1_200_000)).toBe(200);
});

it('a message over a WebSocket counts as it arrives', async () => {
  const socket = new WebSocket(gateway('/v1/responses').replace('http', 'ws'), { headers });
  onTestFinished(() => socket.terminate());
  const frames: Record<string, unknown>[] = [];
  socket.on('message', (data) => frames.push(JSON.parse(String(data))));
  await new Promise((resolve) => socket.once('open', resolve));
  const create = (bytes: number) =>
    socket.send(
      JSON.stringify({ type: 'response.create', model: 'sandbox', store: false, input: 'a'.repeat(bytes) }),
    );
  create(1_200_000);
  await eventually('an answer', () => frames.some(({ type }) => type === 'response.completed'));
  await halfSent(mib);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  create(1_200_000);
  await closed;
  expect(frames.at(-1)).toMatchObject({ type: 'error', error: { code: 'overloaded' } });
});

it('a stored conversation that a request continues counts like its body', async () => {
  const first = await post(gateway('/v1/responses'), { model: 'sandbox', input: 'a'.repeat(600_000) });
  const next = { model: 'sandbox', input: 'b', previous_response_id: first.body['id'] };
  expect((await post(gateway('/v1/responses'), next)).status).toBe(200);
  await halfSent(mib);
  expect(await post(gateway('/v1/responses'), next)).toMatchObject({
    status: 503,
    body: { error: { code: 'overloaded' } },
  });
});
