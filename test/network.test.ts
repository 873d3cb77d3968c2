import { type RequestListener, request } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { createVendorNetwork } from '../src/compose/build-pool.ts';
import { loadConfig } from '../src/config.ts';
import { examine } from '../src/doctor/doctor.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { type Certificate, makeCertificate, trust } from '../src/lib/network/testing/certificate.ts';
import { type ConnectProxy, startConnectProxy } from '../src/lib/network/testing/connect-proxy.ts';
import { type H2Server, startH2Server } from '../src/lib/network/testing/h2-server.ts';
import { createProviderHttp } from '../src/providers/http.ts';
import { testContext } from '../src/providers/testing/provider-context.ts';
import { createWarpProvider } from '../src/providers/warp/provider.ts';
import { startTestServices, type TestServices } from './support/services.ts';

const warp = 'https://app.warp.dev';
interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string } }[];
}

let certificate: Certificate;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  certificate = await makeCertificate('app.warp.dev', 'securetoken.googleapis.com', 'keys.corp.example');
  return trust(certificate);
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Carries every call to a server that speaks plain HTTP, below `prefix`. */
function forwardTo(front: H2Server, target: () => string, prefix = ''): void {
  front.answer = ({ stream, headers, body }) => {
    const path = headers[':path'] ?? '';
    if (!path.startsWith(prefix)) {
      stream.respond({ ':status': 404 });
      stream.end();
      return;
    }
    const plain = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
    const call = request(`${target()}${path.slice(prefix.length)}`, {
      method: headers[':method'],
      headers: plain,
    });
    call.on('error', () => stream.destroy());
    stream.on('close', () => call.destroy());
    call.on('response', (answer) => {
      const { connection: _c, 'keep-alive': _k, 'transfer-encoding': _t, ...rest } = answer.headers;
      stream.respond({ ':status': answer.statusCode ?? 502, ...rest });
      answer.pipe(stream);
    });
    call.end(body);
  };
}

async function startFront(): Promise<H2Server> {
  const front = await startH2Server(certificate);
  closers.push(() => front.close());
  return front;
}

/** A front that knows HTTP/1.1 only, as a proxy that inspects TLS may be. */
async function startOldFront(listener: RequestListener): Promise<{ readonly port: number }> {
  const server = createServer(certificate, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port };
}

async function startProxy(front: { readonly port: number }, ...hosts: string[]): Promise<ConnectProxy> {
  const proxy = await startConnectProxy();
  closers.push(() => proxy.close());
  for (const host of hosts) proxy.routes.set(`${host}:443`, front.port);
  return proxy;
}

async function start(
  environment: Record<string, string>,
  front?: H2Server,
  prefix?: string,
): Promise<TestServices> {
  const services = await startTestServices(environment);
  closers.push(() => services.close());
  if (front) forwardTo(front, () => services.upstream.url, prefix);
  return services;
}

const ask = (services: TestServices) =>
  services.chat({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] });

it('carries everything to Warp over HTTP/2 through the proxy, and the pool never', async () => {
  const front = await startFront();
  const proxy = await startProxy(front, 'app.warp.dev');
  const services = await start(
    {
      WARP_SERVER_URL: warp,
      HTTPS_PROXY: proxy.url.replace('//', '//me:s3cret@'),
      HTTP_PROXY: 'http://127.0.0.1:1',
    },
    front,
  );
  await services.addAccount('wk-1');
  const answer = await ask(services);
  expect([answer.status, ((await answer.json()) as { choices: unknown[] }).choices.length]).toEqual([200, 1]);
  const paths = front.calls.map(({ headers }) => headers[':path']?.split('?')[0]);
  expect(new Set(paths)).toEqual(new Set(['/graphql/v2', '/ai/multi-agent']));
  expect(new Set(proxy.asked.map(({ target }) => target))).toEqual(new Set(['app.warp.dev:443']));
  expect(services.log()).toContain('vendors are reached through a proxy');
  expect(services.log()).not.toContain('s3cret');
});

it('refuses turns to Warp over HTTP/1.1, names what was negotiated, and no account suffers', async () => {
  let target = '';
  const asked: (string | undefined)[] = [];
  const front = await startOldFront((incoming, response) => {
    asked.push(incoming.url?.split('?')[0]);
    const call = request(`${target}${incoming.url}`, { method: 'POST', headers: incoming.headers });
    call.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(call);
  });
  const proxy = await startProxy(front, 'app.warp.dev');
  const services = await start({ WARP_SERVER_URL: warp, HTTPS_PROXY: proxy.url });
  target = services.upstream.url;
  await services.addAccount('wk-1');
  await services.addAccount('wk-2');
  const answer = await ask(services);
  const { error } = (await answer.json()) as { error: { message: string; code: string } };
  expect([answer.status, error.code]).toEqual([502, 'upstream_unavailable']);
  expect(error.message).toMatch(/app\.warp\.dev negotiated http\/1\.1.*HTTP\/2/);
  const { accounts } = (await services.pool('/api/accounts')) as { accounts: { status: string }[] };
  expect(accounts.map(({ status }) => status)).toEqual(['active', 'active']);
  expect(new Set(asked)).toEqual(new Set(['/graphql/v2']));
});

it('gives every client one end and none a short answer while sessions are destroyed', async () => {
  const front = await startFront();
  const services = await start({ WARP_SERVER_URL: front.url, SHUTDOWN_SECONDS: '5' }, front);
  for (const key of ['wk-1', 'wk-2', 'wk-3']) await services.addAccount(key, { capacity: 100 });
  const said = 'word '.repeat(2_000).trim();
  const answers = Promise.all(
    Array.from({ length: 60 }, async () => {
      const body = { model: 'auto', stream: true, messages: [{ role: 'user', content: said }] };
      return await (await services.chat(body)).text();
    }),
  );
  for (let round = 0; round < 12; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    const open = front.sessions.filter(({ destroyed }) => !destroyed);
    open[(round * 7) % Math.max(1, open.length)]?.destroy();
  }
  const texts = await answers;
  const whole = texts.filter((text) => text.includes('data: [DONE]'));
  for (const text of whole) {
    expect(contentOf(text)).toContain(said);
    expect(text.match(/"finish_reason":"stop"/g)?.length).toBe(1);
  }
  // The others were answered with one error, in the stream or before it.
  for (const text of texts) if (!whole.includes(text)) expect(text.match(/"error":/g)?.length).toBe(1);
  // And nothing is left of it.
  const later = await services.chat({
    model: 'auto',
    stream: true,
    messages: [{ role: 'user', content: said }],
  });
  expect(contentOf(await later.text())).toContain(said);
  const { accounts } = (await services.pool('/api/accounts')) as { accounts: { status: string }[] };
  expect(accounts.map(({ status }) => status)).toEqual(['active', 'active', 'active']);
});

/** The text of a stream of Chat Completions. */
function contentOf(stream: string): string {
  return stream
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => (JSON.parse(line.slice(6)) as Chunk).choices[0]?.delta.content ?? '')
    .join('');
}

it('keeps the path of WARP_SERVER_URL before that of every call', async () => {
  const front = await startFront();
  for (const slash of ['', '/']) {
    const services = await start(
      { WARP_SERVER_URL: `${front.url}/warp/prefix${slash}` },
      front,
      '/warp/prefix',
    );
    await services.addAccount('wk-1');
    expect((await ask(services)).status).toBe(200);
    await services.addAccount('wk-2', { provider: 'oz' });
  }
  expect(front.calls.every(({ headers }) => headers[':path']?.startsWith('/warp/prefix/'))).toBe(true);
  const paths = front.calls.map(({ headers }) => headers[':path']?.split('?')[0]);
  expect(paths).toContain('/warp/prefix/api/v1/agent/models');
});

it('sends token requests through the proxy too, each over its own tunnel', async () => {
  const front = await startFront();
  const proxy = await startProxy(front, 'securetoken.googleapis.com');
  front.answer = ({ stream }) => {
    stream.respond({ ':status': 200, 'content-type': 'application/json' });
    stream.end(JSON.stringify({ id_token: 'x.y.z', refresh_token: 'next', expires_in: '3600' }));
  };
  const config = loadConfig({ HTTPS_PROXY: proxy.url, WARP_FIREBASE_API_KEY: 'k' });
  const network = createVendorNetwork(config);
  closers.push(() => network.close());
  const warpProvider = createWarpProvider(
    {
      ...testContext,
      http: createProviderHttp(network.dispatcher),
      tokenHttp: createProviderHttp(network.singleUse),
    },
    {
      WARP_SERVER_URL: 'https://app.warp.dev',
      WARP_FIREBASE_API_KEY: 'k',
      WARP_IDENTITY_URL: String(config.providerSettings['WARP_IDENTITY_URL']),
      WARP_TOKEN_URL: String(config.providerSettings['WARP_TOKEN_URL']),
    },
  );
  for (let refresh = 0; refresh < 2; refresh += 1) await warpProvider.tokens?.refresh('token');
  expect(front.calls.map(({ headers }) => headers[':path'])).toEqual(['/v1/token?key=k', '/v1/token?key=k']);
  expect([proxy.asked.length, front.sessions.length]).toEqual([2, 2]);

  proxy.refusal = 403;
  await expect(warpProvider.tokens?.refresh('token')).rejects.toMatchObject({
    failure: 'unsent',
    message: expect.stringMatching(/^WARP_TOKEN_URL was not reached: The proxy of HTTPS_PROXY .*\(403\)/),
  });
});

it('doctor names the proxy and the HTTP version, and what to do', async () => {
  const look = async (environment: Record<string, string>) => {
    const findings = await examine({
      misspeltSettings: () => [],
      loadConfig: () =>
        loadConfig({ DATA_DIR: '/tmp/warp2api-none', PORT: '0', POOL_SERVICE_PORT: '0', ...environment }),
      logger: createLogger('FATAL'),
      wantsAnswer: false,
    });
    return (name: string) =>
      findings
        .filter((finding) => finding.name === name)
        .map(({ result, message }) => `${result}: ${message}`);
  };
  const front = await startFront();
  front.answer = ({ stream }) => {
    stream.respond({ ':status': 404 });
    stream.end();
  };
  const proxy = await startProxy(front, 'app.warp.dev');
  const url = proxy.url.replace('//', '//me:s3cret@');
  const good = await look({ HTTPS_PROXY: url, NO_PROXY: 'corp.example' });
  expect(good('proxy')).toEqual([
    `ok: https goes through ${proxy.url} (HTTPS_PROXY); not for corp.example (NO_PROXY)`,
  ]);
  expect(good('HTTP version')).toEqual([`ok: app.warp.dev negotiates h2 through ${proxy.url}`]);

  const old = await startOldFront((_incoming, response) => response.end());
  proxy.routes.set('app.warp.dev:443', old.port);
  const bad = await look({ ALL_PROXY: url });
  expect(bad('proxy')).toEqual([`ok: http and https goes through ${proxy.url} (ALL_PROXY)`]);
  expect(bad('HTTP version')[0]).toMatch(/^problem: app\.warp\.dev negotiates http\/1\.1 through .*need h2/);

  const dead = await look({ HTTPS_PROXY: 'http://me:s3cret@127.0.0.1:1' });
  expect(dead('proxy')[0]).toMatch(
    /^problem: The proxy of HTTPS_PROXY \(http:\/\/127\.0\.0\.1:1\) cannot be reached/,
  );
  expect(dead('HTTP version')).toEqual(['skipped: not known while app.warp.dev cannot be reached']);
  expect(dead('provider warp')[0]).toMatch(/^problem: .*proxy of HTTPS_PROXY/);
});
