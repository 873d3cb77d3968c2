import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../clock.ts';
import { createNetwork, type Network } from './network.ts';
import { ProxyRules, type ProxySettings, shownProxy } from './proxy-rules.ts';
import { type Certificate, makeCertificate, trust } from './testing/certificate.ts';
import { type ConnectProxy, startConnectProxy } from './testing/connect-proxy.ts';
import { type H2Server, startH2Server } from './testing/h2-server.ts';
import { send } from './testing/send.ts';

const host = 'app.warp.test';
let certificate: Certificate;
let h2: H2Server;
let proxy: ConnectProxy;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  certificate = await makeCertificate(host);
  return trust(certificate);
});
beforeEach(async () => {
  h2 = await startH2Server(certificate, { allowHTTP1: true });
  proxy = await startConnectProxy();
  proxy.routes.set(`${host}:443`, h2.port);
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await proxy.close();
  await h2.close();
});

function through(url: string, noProxy: readonly string[] = []): Network {
  const named = { url, setting: 'HTTPS_PROXY' };
  const network = createNetwork({
    proxies: { http: named, https: named, noProxy },
    clock: systemClock,
    userAgent: 'warp2api/test',
  });
  closers.push(() => network.close());
  return network;
}
const withCredentials = (url: string): string => url.replace('//', '//us%40er:pa%3Ass@');
const authorization = `Basic ${Buffer.from('us@er:pa:ss').toString('base64')}`;

it('reaches https through a tunnel, with HTTP/2 inside, and shows the proxy its credentials', async () => {
  const network = through(withCredentials(proxy.url));
  const sent = send(network.dispatcher, `https://${host}/turn`, { needsHttp2: true });
  expect([await sent.ended, sent.body()]).toEqual([undefined, 'whole']);
  expect(proxy.asked).toEqual([{ target: `${host}:443`, authorization }]);
  expect(h2.calls[0]?.headers).not.toHaveProperty('proxy-authorization');
  const single = send(network.singleUse, `https://${host}/token`);
  expect([await single.ended, proxy.asked.length]).toEqual([undefined, 2]);
  expect(await network.probe(new URL(`https://${host}`))).toMatchObject({
    protocol: 'h2',
    proxy: { setting: 'HTTPS_PROXY' },
  });
});

it('reaches https through a proxy that is spoken to over TLS itself', async () => {
  const tlsProxy = await startConnectProxy(certificate);
  closers.push(() => tlsProxy.close());
  tlsProxy.routes.set(`${host}:443`, h2.port);
  const sent = send(through(tlsProxy.url).dispatcher, `https://${host}/turn`, { needsHttp2: true });
  expect([await sent.ended, sent.body()]).toEqual([undefined, 'whole']);
  expect(tlsProxy.asked.length).toBe(1);
});

it('sends plain http to the proxy by its whole address', async () => {
  const names: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    names.push(request.headers.host, request.headers['x-mine'] as string);
    response.end('plain');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  // Loopback addresses are reached directly, so the target needs another name.
  const forward = await startConnectProxy();
  closers.push(() => forward.close());
  const { port } = server.address() as AddressInfo;
  const network = through(withCredentials(forward.url));
  const url = `http://plain.warp.test:${port}/list?a=b`;
  forward.forwards.set(`plain.warp.test:${port}`, port);
  const sent = send(network.dispatcher, url, { headers: { 'x-mine': 'yes' } });
  expect([await sent.ended, sent.body()]).toEqual([undefined, 'plain']);
  expect(forward.asked).toEqual([{ target: url, authorization }]);
  expect(names).toEqual([`plain.warp.test:${port}`, 'yes']);
});

it('says what a proxy did, and shows no credentials', async () => {
  const network = through(withCredentials(proxy.url));
  const url = `https://${host}/turn`;
  proxy.refusal = 407;
  const refused = await send(network.dispatcher, url).ended;
  expect(refused).toMatchObject({ name: 'UnsentError', phase: 'proxy' });
  expect(refused?.message).toMatch(
    /HTTPS_PROXY .*refused to connect to app\.warp\.test:443 \(407\): give its user name/,
  );
  proxy.refusal = 403;
  expect((await send(network.dispatcher, url).ended)?.message).toMatch(
    /\(403\): ask its operator, .*NO_PROXY/,
  );
  const dead = through(withCredentials('http://127.0.0.1:1'));
  const unreachable = await send(dead.dispatcher, url).ended;
  expect(unreachable).toMatchObject({ name: 'UnsentError', phase: 'proxy' });
  expect(unreachable?.message).toMatch(/proxy of HTTPS_PROXY \(http:\/\/127\.0\.0\.1:1\) cannot be reached/);
  await expect(dead.probeProxy({ url: 'http://127.0.0.1:1', setting: 'HTTPS_PROXY' })).rejects.toThrow(
    /HTTPS_PROXY/,
  );
  await expect(network.probeProxy({ url: proxy.url, setting: 'HTTPS_PROXY' })).resolves.toBeUndefined();
  for (const error of [refused, unreachable])
    expect(JSON.stringify([error?.message, error?.stack])).not.toMatch(/pa(:|%3A)ss/);
  expect(shownProxy({ url: withCredentials(proxy.url), setting: 'ALL_PROXY' })).toBe(proxy.url);
});

it('says that a proxy is none when it closes or does not speak HTTP', async () => {
  const silent = createServer();
  silent.on('connection', (socket) => socket.destroy());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  closers.push(() => silent.close());
  const network = through(`http://127.0.0.1:${(silent.address() as AddressInfo).port}`);
  expect(await send(network.dispatcher, `https://${host}/`).ended).toMatchObject({
    phase: 'proxy',
    message: expect.stringContaining('is it an HTTP proxy?'),
  });
});

it('never sends this machine to a proxy, nor what is excepted', async () => {
  const network = through(proxy.url);
  for (const url of [h2.url, `https://localhost:${h2.port}`]) {
    expect(await send(network.dispatcher, `${url}/`).ended).toBeUndefined();
  }
  expect(proxy.asked).toEqual([]);
});

it.each([
  // Excepted, target, whether it goes directly.
  ['example.com', 'https://example.com/', true],
  ['example.com', 'https://api.example.com/', true],
  ['example.com', 'https://notexample.com/', false],
  ['.example.com', 'https://api.example.com/', true],
  ['*.example.com', 'https://api.example.com/', true],
  ['EXAMPLE.com.', 'https://example.COM/', true],
  ['example.com:8443', 'https://example.com:8443/', true],
  ['example.com:8443', 'https://example.com/', false],
  ['example.com:443', 'https://example.com/', true],
  ['example.com:80', 'http://example.com/', true],
  ['10.0.0.0/8', 'https://10.1.2.3/', true],
  ['10.0.0.0/8', 'https://11.1.2.3/', false],
  ['10.0.0.0/8', 'https://name.that.is.not.resolved/', false],
  ['10.1.2.3', 'https://10.1.2.3:9000/', true],
  ['10.1.2.3:9001', 'https://10.1.2.3:9000/', false],
  ['fd00::/8', 'https://[fd00::1]/', true],
  ['fd00::1', 'https://[fd00:0::1]/', true],
  ['[fd00::1]:444', 'https://[fd00::1]/', false],
  ['https://example.com', 'https://example.com/', true],
  ['http://example.com:8443/', 'https://api.example.com:8443/', true],
  ['10.1.*', 'https://10.1.2.3/', true],
  ['10.1.*', 'https://10.2.2.3/', false],
  ['*example.com', 'https://notexample.com/', true],
  ['api-*.example.com:443', 'https://api-1.example.com/', true],
  ['api-*.example.com', 'https://api.example.com/', false],
  ['*', 'https://anything.example/', true],
  ['', 'https://anything.example/', false],
  ['::::', 'https://anything.example/', false],
])('takes the exception %j for %s: %s', (entry, target, isDirect) => {
  const named = { url: 'http://proxy.example:3128', setting: 'ALL_PROXY' };
  const settings: ProxySettings = { http: named, https: named, noProxy: [entry] };
  expect(new ProxyRules(settings).proxyFor(new URL(target))).toBe(isDirect ? undefined : named);
});

it.each([
  'http://localhost:1/',
  'http://a.localhost/',
  'https://127.9.9.9/',
  'https://[::1]:4/',
  'https://[::ffff:127.0.0.1]/',
])('reaches %s directly', (target) => {
  const named = { url: 'http://proxy.example:3128', setting: 'ALL_PROXY' };
  const rules = new ProxyRules({ http: named, https: named, noProxy: [] });
  expect(rules.proxyFor(new URL(target))).toBeUndefined();
});

it('an error in the tunnel of a proxy names both proxy and host, and a page in it is no fault of the host', async () => {
  const answers = createTcpServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (first) => {
      if (!String(first).startsWith('CONNECT ')) socket.destroy();
      const page = String(first).includes('page.test') ? '<html>Blocked</html>' : '';
      socket.end(`HTTP/1.1 200 OK\r\n\r\n${page}`);
    });
  });
  await new Promise<void>((resolve) => answers.listen(0, '127.0.0.1', resolve));
  closers.push(() => answers.close());
  const { dispatcher } = through(`http://127.0.0.1:${(answers.address() as AddressInfo).port}`);
  for (const name of ['page.test', 'end.test']) {
    const error = await send(dispatcher, `https://${name}/turn`).ended;
    expect(error).toMatchObject({ name: 'UnsentError' });
    expect(error?.message).toMatch(
      new RegExp(
        `^${name}, reached through the proxy of HTTPS_PROXY \\(http://127.* TLS handshake .* operator`,
      ),
    );
  }
});
