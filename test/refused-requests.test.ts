import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually, startTestServices, type TestServices } from './support/services.ts';

/** What both services do with requests that show no key, or have no use for their body, while that is still on its way. */

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({
    API_KEYS: 'a-key-of-a-client',
    ADMIN_KEY: 'the-key-of-the-owner',
    POOL_API_KEY: 'a-key-to-borrow-with',
  });
  const headers = { authorization: 'Bearer the-key-of-the-owner' };
  const account = JSON.stringify({ provider: 'warp', api_key: 'wk-1' });
  await fetch(`${services.poolUrl}/api/accounts`, { method: 'POST', headers, body: account });
});
afterAll(() => services.close());

const declared = 30 * 1024 * 1024;
const forms: Record<string, string> = {
  'a length': `content-length: ${declared}\r\n\r\n[[[[`,
  chunks: `transfer-encoding: chunked\r\n\r\n${declared.toString(16)}\r\n[[[[`,
  compression: `content-encoding: gzip\r\ncontent-length: ${declared}\r\n\r\n\x1f\x8b\x08`,
};

interface Given {
  readonly url: string;
  readonly line: string;
  readonly form: string;
  readonly key?: string | undefined;
}

/** The head of the answer to a request of whose body only the first bytes are sent. */
async function answerTo({ url, line, form, key }: Given): Promise<string> {
  const { hostname, port, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  const shown = key === undefined ? '' : `authorization: Bearer ${key}\r\n`;
  socket.write(`${line} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n${shown}`);
  socket.write(forms[form] ?? form, 'latin1');
  let answer = '';
  for await (const chunk of socket) {
    answer += chunk;
    if (answer.includes('\r\n\r\n')) break;
  }
  return answer.split('\r\n\r\n', 1)[0] ?? '';
}

describe.each(Object.keys(forms))('a body that comes with %s', (form) => {
  it.each([
    ['POST /health', 405],
    ['POST /nope', 404],
    ['POST /v1/nope', 401],
    ['POST //v1//messages', 401],
    ['POST /V1/messages', 404],
    ['POST /v1/%63hat/completions', 401],
    ['POST http://elsewhere/v1/messages', 401],
    ['POST http://elsewhere/v1/nope', 401],
    ['POST /v1/responses/one/cancel', 401],
    ['POST /v1beta/models/m:generateContent', 401],
    ['POST /v1beta/nope', 401],
    ['GET /v1beta/models', 401],
    ['POST /metrics', 405],
    ['POST /%zz', 404],
    ['GET /metrics', 401],
    ['GET /v1/models', 401],
    ['DELETE /v1/responses/one', 401],
    ['PUT /v1/messages', 401],
    ['OPTIONS /docs', 405],
    ['GET /health', 200],
    ['HEAD /health', 200],
  ])('is not waited for by the gateway: %s without a key is %i', async (line, status) => {
    expect(await answerTo({ url: services.gatewayUrl, line, form })).toMatch(`HTTP/1.1 ${status} `);
  });

  it.each([
    ['POST /health', 405],
    ['POST /nope', 404],
    ['POST /api/accounts/allocate', 401],
    ['POST //api/accounts/import/', 401],
    ['POST http://elsewhere/api/accounts', 401],
    ['PATCH /api/accounts/one', 401],
    ['DELETE /api/accounts/one', 401],
    ['GET /api/events', 401],
    ['POST /v1/messages', 404],
    ['GET /health', 200],
  ])('is not waited for by the pool: %s without a key is %i', async (line, status) => {
    expect(await answerTo({ url: services.poolUrl, line, form })).toMatch(`HTTP/1.1 ${status} `);
  });

  it('is not waited for where a route has no use for one, whether or not a key is shown', async () => {
    const client = { url: services.gatewayUrl, form, key: 'a-key-of-a-client' };
    const owner = { url: services.poolUrl, form, key: 'the-key-of-the-owner' };
    for (const line of ['GET /v1/models', 'HEAD /v1/models'])
      expect(await answerTo({ ...client, line })).toMatch('HTTP/1.1 200 ');
    for (const line of ['DELETE /v1/responses/one', 'POST /v1/responses/one/cancel', 'POST /v1/nope'])
      expect(await answerTo({ ...client, line })).toMatch('HTTP/1.1 404 ');
    expect(await answerTo({ ...owner, line: 'GET /api/accounts' })).toMatch('HTTP/1.1 200 ');
    expect(await answerTo({ ...owner, line: 'DELETE /api/accounts/one' })).toMatch('HTTP/1.1 404 ');
    expect(await answerTo({ ...owner, line: 'POST /api/accounts', key: 'a-key-to-borrow-with' })).toMatch(
      'HTTP/1.1 403 ',
    );
  });
});

describe('a method that no route has', () => {
  it.each([
    ['gateway', 'QUERY /v1/messages', 405, 'POST'],
    ['gateway', 'M-SEARCH /v1/responses/one', 405, 'GET, DELETE'],
    ['gateway', 'TRACE /health', 405, 'GET'],
    ['gateway', 'QUERY /v1beta/models', 405, 'GET'],
    ['gateway', 'FROB /v1beta/models/m:generateContent', 405, 'POST, GET'],
    ['gateway', 'OPTIONS /v1/chat/completions', 405, 'POST'],
    ['gateway', 'PURGE /nope', 404, undefined],
    ['gateway', 'FROB /v1/messages', 405, 'POST'],
    ['gateway', 'CONNECT example.com:443', 405, 'GET, POST, DELETE, PATCH'],
    ['pool', 'QUERY /api/accounts', 405, 'GET, POST'],
    ['pool', 'PROPFIND /api/accounts/one', 405, 'GET, PATCH, DELETE'],
    ['pool', 'FROB /api/accounts/allocate', 405, 'POST'],
    ['pool', 'CONNECT example.com:443', 405, 'GET, POST, DELETE, PATCH'],
  ])('learns which ones there are: %s, %s', async (service, line, status, allow) => {
    const url = service === 'gateway' ? services.gatewayUrl : services.poolUrl;
    const key = service === 'gateway' ? 'a-key-of-a-client' : 'the-key-of-the-owner';
    for (const form of Object.keys(forms)) {
      const head = await answerTo({ url, line, form, key });
      expect(head).toMatch(`HTTP/1.1 ${status} `);
      expect(/^allow: (.*)$/m.exec(head)?.[1]?.trim()).toBe(allow);
      expect(head).toMatch(/^x-request-id: \S/m);
    }
  });

  it("is refused in the words of its path's dialect, also where HTTP does not know it", async () => {
    const ask = async (url: string, line: string) => {
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname);
      socket.write(`${line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`);
      let answer = '';
      for await (const chunk of socket) answer += chunk;
      return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
    };
    expect(await ask(services.gatewayUrl, 'FROB /v1/messages')).toMatchObject({ type: 'error' });
    expect(await ask(services.gatewayUrl, 'FROB /v1/responses')).toMatchObject({
      error: { type: 'invalid_request_error', code: 'method_not_allowed' },
    });
    expect(await ask(services.gatewayUrl, 'FROB /v1beta/models/m:generateContent')).toMatchObject({
      error: { code: 405, status: 'UNIMPLEMENTED' },
    });
    expect(await ask(services.poolUrl, 'FROB /api/accounts')).toMatchObject({
      success: false,
      error: { code: 'method_not_allowed' },
    });
  });
});

describe('a declared length over the limit of its route', () => {
  it.each([
    ['gateway', 'POST /v1/messages', 32 * 1024 * 1024],
    ['gateway', 'POST /v1/responses', 32 * 1024 * 1024],
    ['pool', 'POST /api/accounts/allocate', 512 * 1024],
    ['pool', 'POST /api/accounts/release', 1024 * 1024],
    ['pool', 'POST /api/accounts/report', 1024 * 1024],
    ['pool', 'POST /api/accounts/replenish', 16 * 1024],
    ['pool', 'POST /api/accounts/refresh-tokens', 16 * 1024],
    ['pool', 'POST /api/accounts/export', 16 * 1024],
    ['pool', 'POST /api/accounts/import', 16 * 1024 * 1024],
    ['pool', 'POST /api/accounts', 512 * 1024],
    ['pool', 'PATCH /api/accounts/one', 512 * 1024],
    ['pool', 'POST /api/logins', 512 * 1024],
  ])('is refused before the body comes: %s, %s takes %i bytes', async (service, line, limit) => {
    const url = service === 'gateway' ? services.gatewayUrl : services.poolUrl;
    const key = service === 'gateway' ? 'a-key-of-a-client' : 'the-key-of-the-owner';
    const given = { url, line, key };
    expect(await answerTo({ ...given, form: `content-length: ${limit + 1}\r\n\r\n` })).toMatch(
      'HTTP/1.1 413 ',
    );
    const asks = `expect: 100-continue\r\ncontent-length: ${limit}\r\n\r\n`;
    expect(await answerTo({ ...given, form: asks })).toBe('HTTP/1.1 100 Continue');
  });
});

it('a client that closes its sending side has left, and its turn ends', async () => {
  const { hostname, port } = new URL(services.gatewayUrl);
  const body = JSON.stringify({
    model: 'sandbox-drip',
    stream: true,
    messages: [{ role: 'user', content: 'x' }],
  });
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer a-key-of-a-client\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  socket.resume();
  await eventually('the turn is under way', () => services.upstream.counts().open === 1);
  socket.end();
  await eventually('the turn has ended', () => services.upstream.counts().open === 0);
});
