import { mkdtempSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { actions, add, finished, init, output, sse, stream } from '../src/protocols/warp/testing/events.ts';
import { startProcess } from './support/process.ts';
import { eventually, servicesForTest, userTurn } from './support/services.ts';

type Answer = (response: ServerResponse, bearer: string) => void;

/** Warp's chat by hand, on a port that can be left and taken again; all other questions get a 404. */
async function startWarp(answer: Answer) {
  let server: Server | undefined;
  const port = await findFreePort();
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if ((await buffer(request).catch(() => undefined)) === undefined) return;
    if (request.url === '/ai/multi-agent') answer(response, request.headers.authorization ?? '');
    else response.writeHead(404).end();
  };
  const listen = async (): Promise<void> => {
    server = createServer((request, response) => void handle(request, response));
    await new Promise<void>((resolve) => server?.listen(port, '127.0.0.1', resolve));
  };
  const leave = async (): Promise<void> => {
    const left = new Promise((resolve) => server?.close(resolve));
    server?.closeAllConnections();
    await left;
  };
  await listen();
  onTestFinished(leave);
  return { url: `http://127.0.0.1:${port}`, listen, leave };
}

const said = (id: string, text: string) => actions(add('T', output(id, text)));
const good: Answer = (response) =>
  response
    .writeHead(200, { 'content-type': 'text/event-stream' })
    .end(stream(init(), said('m1', 'Hello'), finished()));

test('a provider that cannot be reached costs no account anything, and turns go on when it can', async () => {
  const warp = await startWarp(good);
  const services = await servicesForTest({ WARP_SERVER_URL: warp.url });
  const ids: string[] = [];
  for (let index = 0; index < 3; index += 1) ids.push(await services.addAccount(`wk-${index}.good`));
  expect((await services.chat(userTurn('auto', 'Hello'))).status).toBe(200);
  await warp.leave();
  const waiting = Array.from({ length: 10 }, () => services.chat(userTurn('auto', 'Hello')));
  const health = async () =>
    (await (await fetch(`${services.gatewayUrl}/health`)).json()) as Record<string, unknown>;
  await eventually('the outage shows', async () => (await health())['status'] === 'degraded');
  expect(await health()).toMatchObject({ unreachable_providers: ['warp'] });
  await warp.listen();
  for (const turn of waiting) expect((await turn).status).toBe(200);
  expect(await health()).toMatchObject({ status: 'ok', unreachable_providers: [] });
  await warp.leave();
  // Turns wait for 10 s, and no longer.
  const late = await services.chat(userTurn('auto', 'Hello'));
  expect([late.status, late.headers.get('retry-after')]).toEqual([502, '5']);
  for (const id of ids) {
    const { account } = await services.pool(`/api/accounts/${id}`);
    expect(account).toMatchObject({ status: 'active', status_reason: null });
  }
});

test('one account rests for two seconds, another refuses: the turn waits and is answered', async () => {
  let limits = 0;
  const warp = await startWarp((response, bearer) => {
    if (bearer.includes('wk-2')) {
      response
        .writeHead(403, { 'content-type': 'application/json' })
        .end('{"error":"Your account has been blocked from using AI features"}');
    } else if (limits === 0) {
      limits += 1;
      response.writeHead(429, { 'retry-after': '2' }).end('slow down');
    } else good(response, bearer);
  });
  const services = await servicesForTest({ WARP_SERVER_URL: warp.url });
  await services.addAccount('wk-1.good');
  await services.addAccount('wk-2.good', { tier: 1 });
  const begunAt = Date.now();
  const answer = await services.chat(userTurn('auto', 'Hello'));
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('Hello')]);
  expect(Date.now() - begunAt).toBeGreaterThan(1_900);
});

test('a Retry-After of hours goes to clients as a minute, in every dialect and from the pool', async () => {
  const warp = await startWarp((response) =>
    response.writeHead(429, { 'retry-after': '18000' }).end('slow down'),
  );
  const services = await servicesForTest({ WARP_SERVER_URL: warp.url });
  const paths: [string, object][] = [
    ['/v1/chat/completions', userTurn('auto', 'Hello')],
    ['/v1/chat/completions', userTurn('auto', 'Hello', { stream: true })],
    ['/v1/responses', { model: 'auto', input: 'Hello' }],
    ['/v1/messages', { model: 'auto', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] }],
  ];
  for (const [index, [path, body]] of paths.entries()) {
    await services.addAccount(`wk-${index}.good`);
    // By the upstream's answer, and then by the pool whose accounts all rest.
    for (let turn = 0; turn < 2; turn += 1) {
      const answer = await fetch(`${services.gatewayUrl}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect([path, answer.status, answer.headers.get('retry-after')]).toEqual([path, 429, '60']);
      expect(await answer.text()).not.toMatch(/18000|5 h/);
    }
  }
});

test('a paused process reads what has arrived before it reports a silent upstream', async () => {
  let drip = (_text: string): void => {};
  const warp = await startWarp((response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    drip = (text) => void response.write(text);
    drip(stream(init(), said('m1', 'Hello')));
  });
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-test-'));
  const environment = {
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    DATA_DIR: folder,
    WARP_SERVER_URL: warp.url,
    WARP_API_KEY: 'wk-1.good',
    UPSTREAM_IDLE_SECONDS: '3',
  };
  const gateway = await startProcess(
    ['serve', 'gateway'],
    { ...environment, USE_POOL_SERVICE: 'false' },
    folder,
  );
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(userTurn('auto', 'Hello', { stream: true })),
  });
  expect(answer.status).toBe(200);
  gateway.child.kill('SIGSTOP');
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  for (let second = 0; second < 5; second += 1) {
    await pause(1_000);
    drip(sse(said(`m${second + 2}`, ` ${second}`)));
  }
  gateway.child.kill('SIGCONT');
  // Its end comes once the gateway has shown what had arrived.
  let isFinished = false;
  let text = '';
  for await (const chunk of answer.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (!text.includes(' 4"') || isFinished) continue;
    isFinished = true;
    drip(sse(finished()));
  }
  expect(text).toContain(' 4"');
  expect(text).toContain('[DONE]');
  expect(text).not.toContain('error');
});
