import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { actions, add, finished, init, output, stream } from '../src/protocols/warp/testing/events.ts';
import { raw } from '../src/protocols/warp/testing/wire.ts';
import { startTestServices, type TestServices, userTurn } from './support/services.ts';

/** Answers chat turns by hand and passes everything else on to the test's own sandbox. */
let answerTurn: (response: ServerResponse, bearer: string) => void;
let turns = 0;
let sandboxUrl = '';
const front = createServer(async (request, response) => {
  const body = await buffer(request).catch(() => undefined);
  if (body === undefined) return;
  if (request.url === '/ai/multi-agent') {
    turns += 1;
    answerTurn(response, request.headers.authorization ?? '');
    return;
  }
  const passed = await fetch(`${sandboxUrl}${request.url}`, {
    method: request.method ?? 'GET',
    headers: {
      'content-type': request.headers['content-type'] ?? '',
      authorization: request.headers.authorization ?? '',
    },
    body: body,
  }).catch(() => undefined);
  // The services end before all that they ask of it does.
  if (passed === undefined) return;
  response.writeHead(passed.status, { 'content-type': passed.headers.get('content-type') ?? '' });
  response.end(Buffer.from(await passed.arrayBuffer()));
});

let services: TestServices;
const accounts = 10;
beforeAll(async () => {
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  const warpUrl = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  services = await startTestServices({ WARP_SERVER_URL: warpUrl });
  sandboxUrl = services.upstream.url;
  for (let index = 0; index < accounts; index++) await services.addAccount(`wk-${index}.good`);
});
afterEach(() => {
  turns = 0;
});
afterAll(async () => {
  await services.close();
  front.closeAllConnections();
  front.close();
});

const streamed = (text: string) => (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
const internalError = (text: string) => streamed(stream(init(), raw([3, raw([7, raw([1, text])])])));
const refusal =
  (status: number, type: string, body: string, headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, { 'content-type': type, ...headers }).end(body);

async function standings(): Promise<string[]> {
  const { accounts: list } = (await services.pool('/api/accounts?limit=100')) as {
    accounts: { status: string }[];
  };
  return list.map(({ status }) => status);
}

const page = '<html><head><title>403 Forbidden</title></head></html>';

describe('ten accounts stay active after twenty turns that fail for', () => {
  it.each<[string, (response: ServerResponse, bearer: string) => void, number, number]>([
    ['an internal error', internalError('boom'), 502, 2],
    ["a vendor's 400", internalError('400 {"type":"invalid_request_error","message":"pages"}'), 400, 1],
    ["a vendor's 429", internalError('status code: 429'), 503, 2],
    ["a vendor's account without credits", internalError('team has used all available credits'), 503, 2],
    ['a context that is too long', internalError('context_length_exceeded'), 400, 1],
    [
      'an end of an unknown reason',
      streamed(stream(init(), actions(add('T', output('m1', 'Hi'))), finished(15))),
      502,
      2,
    ],
    ['an end without anything', streamed(stream(init(), raw([3, raw()]))), 502, 2],
    ['a request that is too large', refusal(413, 'text/html', page), 413, 1],
    ['a bad request', refusal(400, 'application/json', '{"error":"bad"}'), 400, 1],
    ['an upstream that is down for all', refusal(503, 'application/json', '{"error":"down"}'), 502, 5],
    ['an answer that cannot be decoded', streamed('data: !!\n\n'), 502, 5],
    ['a connection that breaks', (response) => response.destroy(), 502, 4],
    ['a page of an edge', refusal(403, 'text/html', page), 502, 2],
    ['a captive portal', refusal(200, 'text/html', page), 502, 2],
    ['a proxy that requires a login', refusal(407, 'text/plain', ''), 502, 2],
    ['a limit of the edge', refusal(429, 'text/plain', 'Rate exceeded.'), 429, 1],
    [
      'a model that is not allowed',
      refusal(
        400,
        'application/json',
        '{"error":"the requested base model (x) is not allowed for your account"}',
      ),
      404,
      10,
    ],
  ])('%s', async (name, answer, status, mostCalls) => {
    answerTurn = answer;
    const model = name === 'a model that is not allowed' ? 'sandbox-echo' : 'sandbox';
    for (let count = 0; count < 20; count++) {
      turns = 0;
      const answered = await services.chat(userTurn(model, `Hello ${count}`));
      const body = await answered.text();
      expect(answered.status, body).toBe(status);
      expect(turns).toBeLessThanOrEqual(mostCalls);
    }
    expect(await standings()).toEqual(Array.from({ length: accounts }, () => 'active'));
  });
});
